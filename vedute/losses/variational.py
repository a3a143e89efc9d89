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
