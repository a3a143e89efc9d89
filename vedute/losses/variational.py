"""Terms of the variational bound, per sample."""

from __future__ import annotations

from torch import Tensor


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of N(mu, exp(logvar)) from N(0, 1), for each latent dimension.

    Source: Kingma & Welling 2014, https://arxiv.org/abs/1312.6114, appendix B.

    Args:
        mu: (N, Z) means.
        logvar: (N, Z) logarithms of the variances.

    Returns:
        (N, Z), in nats; its sum over Z is the KL divergence of each sample.
    """
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1)


def free_bits(kl: Tensor, minimum: float) -> Tensor:
    """Sum of KL divergences over dimensions, each counted as ``minimum`` where it is below that.

    A dimension that carries less is not pushed further down, so that the decoder can learn to use
    it: dimensions collapse less. With a minimum of 0 this is the KL divergence itself.

    Source: Kingma et al. 2016, https://arxiv.org/abs/1606.04934, appendix C.8; here per sample
    instead of per batch, so that a sample's loss does not depend on the others.

    Args:
        kl: (N, Z) KL divergences of the dimensions, in nats; see :func:`kl_per_dimension`.
        minimum: Nats per dimension, at least 0.

    Returns:
        (N,), in nats, at least ``Z * minimum``.
    """
    return kl.clamp_min(minimum).sum(dim=1)
