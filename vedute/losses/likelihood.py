"""Reconstruction as the negative log likelihood of a decoder with a variance of its own."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.losses.pixel import mean_squared_error
from vedute.losses.terms import ImageLoss

Variance = Literal["optimal", "learned"]
"""Where the decoder's variance comes from; see :class:`GaussianLikelihood`."""

_LEAST_LOG_DEVIATION = math.log(1 / 255)  # one step of an 8-bit image: finer is not in the data


class GaussianLikelihood(ImageLoss):
    """Negative log likelihood of an image under N(decoded image, variance), in nats per image.

    A squared error with a fixed weight silently fixes the decoder's variance, and a wrong one makes
    the KL divergence weigh too much (blur, unused latents) or too little (the prior is missed): that is
    what one otherwise tunes a KL weight for. Here the variance is what the errors say it is, one number
    for all pixels, so that this term and the KL divergence in nats are the two parts of one bound: with
    ``kl_weight`` 1, weight 1 here, and every other reconstruction term off
    (``reconstruction_weight: 0``), the objective is the variational bound itself.

    * ``optimal``: the variance that maximises the likelihood of the batch, its mean squared error.
      Nothing is learned; a sample's value then depends on its batch (of its process). Its gradient
      is that of (C H W / 2) * log(mean squared error).
    * ``learned``: one parameter, trained with the network; needs some hundred steps to settle.

    The deviation is kept softly above 1/255. The value is negative when errors are small (densities
    exceed 1): a balance that expects positive losses (``Uncertainty``) should leave it out.

    Source: Rybkin et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders" (sigma-VAE),
    https://arxiv.org/abs/2006.13202.
    """

    def __init__(self, variance: Variance = "optimal", start: float = 0.2, weight: float = 1.0) -> None:
        """Choose where the variance comes from.

        Args:
            variance: ``optimal`` or ``learned``.
            start: Standard deviation that learning starts from, in units of images in [0, 1].
            weight: Weight of the term; 1 for a variational bound.

        Raises:
            ConfigurationError: A value out of its range.
        """
        super().__init__(weight)
        if variance not in get_args(Variance):
            raise ConfigurationError(
                f"A decoder's variance is one of {', '.join(get_args(Variance))}, not '{variance}'."
            )
        if start <= 1 / 255:
            raise ConfigurationError(f"start must be a standard deviation above 1/255, got {start}.")
        self.variance = variance
        self.log_deviation: nn.Parameter | None = None
        if variance == "learned":
            self.log_deviation = nn.Parameter(torch.tensor(math.log(start)))

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,) negative log likelihoods of ``target``, in nats."""
        error = mean_squared_error(image.float(), target.float())  # (N,)
        if self.log_deviation is None:
            # The gradient through the optimum is zero: it need not be followed.
            log_deviation = 0.5 * error.detach().mean().clamp_min(1e-12).log()
        else:
            log_deviation = self.log_deviation.float()
        # Softly bounded, as in the source; at the bound the gradient does not vanish at once.
        log_deviation = _LEAST_LOG_DEVIATION + F.softplus(log_deviation - _LEAST_LOG_DEVIATION)
        values = target[0].numel()
        nats = 0.5 * error * torch.exp(-2 * log_deviation) + log_deviation + 0.5 * math.log(2 * math.pi)
        return values * nats
