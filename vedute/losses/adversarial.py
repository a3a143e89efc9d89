"""Losses of generator and discriminator on logits, one value per sample.

Here: the losses, the gradient penalties, the distance in a discriminator's features, and the
adaptive weight. Not here: discriminators (``vedute.networks.discriminators``) and who is trained
when (``lightning_modules``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from vedute.errors import ConfigurationError
from vedute.losses.gradients import gradient_norms, ratio_of_norms
from vedute.losses.objective import check_names
from vedute.losses.terms import LossBalance


class AdversarialLoss(ABC):
    """What discriminator and generator minimise, given the logits of real and of generated images.

    Logits are (N, K): K judgements of an image, 1 or one for each patch; positive means real. Losses
    are computed in float32. Instances keep no state.
    """

    compares: ClassVar[bool] = False
    """Whether the generator's loss looks at real images, too."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's loss.

        Args:
            real: (N, K) logits of real images.
            fake: (N, K) logits of generated images; under the same conditions where the loss compares them.

        Returns:
            (N,) float32.
        """

    @abstractmethod
    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the generator's loss.

        Args:
            real: (N, K) logits of real images; only relativistic losses use them.
            fake: (N, K) logits of generated images.

        Returns:
            (N,) float32.
        """

    def margins(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much the discriminator is right, (N, K) of real and of generated images.

        Positive where it is right. Losses that compare images have nothing to say of one alone.

        Args:
            real: (N, K) logits of real images.
            fake: (N, K) logits of generated images.
        """
        return real, -fake

    def correct(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return how often the discriminator is right, (N,) in [0, 1]; 0.5 is chance.

        Args:
            real: (N, K) logits of real images.
            fake: (N, K) logits of generated images.
        """
        margins = self.margins(real, fake)
        return _per_sample(0.5 * ((margins[0] > 0).float() + (margins[1] > 0).float()))


class NonSaturating(AdversarialLoss):
    """Cross-entropy; the generator maximises the logarithm of the probability that a fake is real.

    Source: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 3.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return -log D(real) - log(1 - D(fake)), (N,)."""
        return _per_sample(F.softplus(-real.float()) + F.softplus(fake.float()))

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return -log D(fake), (N,)."""
        return _per_sample(F.softplus(-fake.float()))


class Hinge(AdversarialLoss):
    """The discriminator learns only from logits inside the margin.

    Source: Lim & Ye 2017, "Geometric GAN", https://arxiv.org/abs/1705.02894; Miyato et al. 2018,
    https://arxiv.org/abs/1802.05957.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return max(0, 1 - real) + max(0, 1 + fake), (N,)."""
        return _per_sample(F.relu(1 - real.float()) + F.relu(1 + fake.float()))

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the negative logit of the fake, (N,)."""
        return _per_sample(-fake.float())


class LeastSquares(AdversarialLoss):
    """Squared distance of the logits to 1 (real) and 0 (generated); what lies beyond is pulled back too.

    Gradients do not vanish where the discriminator is sure. Logits above 0.5 mean real.

    Source: Mao et al. 2017 (LSGAN), https://arxiv.org/abs/1611.04076, equation 9; usual for image to
    image translation.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return half of (real - 1)^2 + fake^2, (N,)."""
        return _per_sample(0.5 * ((real.float() - 1).square() + fake.float().square()))

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return (fake - 1)^2, (N,)."""
        return _per_sample((fake.float() - 1).square())

    def margins(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances to 0.5, (N, K) each; see the base class."""
        return real - 0.5, 0.5 - fake


class RelativisticAverage(AdversarialLoss):
    """Judges how much more real an image looks than the other kind's images of the batch on average.

    The generator also learns from the real images. The average is over the images (and their K
    judgements) of one process.

    Source: Jolicoeur-Martineau 2019, https://arxiv.org/abs/1807.00734; Wang et al. 2018 (ESRGAN),
    https://arxiv.org/abs/1809.00219. Half of the papers' sums, like the program of ESRGAN's authors, to
    which the usual weight of 0.005 belongs.
    """

    compares: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean of softplus(mean fake - real) and softplus(fake - mean real), (N,)."""
        ahead, behind = self.margins(real, fake)
        return _per_sample(0.5 * (F.softplus(-ahead) + F.softplus(-behind)))

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean of softplus(real - mean fake) and softplus(mean real - fake), (N,)."""
        ahead, behind = self.margins(real, fake)
        return _per_sample(0.5 * (F.softplus(ahead) + F.softplus(behind)))

    def margins(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances to the other kind's average, (N, K) each; see the base class."""
        real, fake = real.float(), fake.float()
        return real - fake.mean(), real.mean() - fake


class RelativisticPaired(AdversarialLoss):
    """Judges how much more real a real image looks than a generated one under the same condition.

    Has no state in which the generator drops a part of the data unnoticed. Needs a gradient penalty.

    Source: Jolicoeur-Martineau 2019, https://arxiv.org/abs/1807.00734; Huang et al. 2024 (R3GAN),
    https://arxiv.org/abs/2501.05441.
    """

    compares: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return softplus(fake - real), (N,)."""
        return _per_sample(F.softplus(fake.float() - real.float()))

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return softplus(real - fake), (N,)."""
        return _per_sample(F.softplus(real.float() - fake.float()))

    def margins(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much the real image of a pair is preferred, (N, K) twice; see the base class."""
        return real - fake, real - fake


def _per_sample(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1)


def gradient_penalty(logits: Tensor, image: Tensor) -> Tensor:
    """Squared norm of the gradient of the logits by the image; R1 when the images are real.

    Call outside autocast: second derivatives of bfloat16 are noise.

    Source: Mescheder et al. 2018, https://arxiv.org/abs/1801.04406.

    Args:
        logits: (N, K) float32; the gradient of their mean over K is taken.
        image: (N, C, H, W) float32 in [0, 1], requires a gradient. (On images in [-1, 1] the same
            discriminator has a penalty of a quarter.)

    Returns:
        (N,), differentiable by the discriminator's weights.
    """
    (gradient,) = torch.autograd.grad(logits.flatten(1).mean(dim=1).sum(), image, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)


def zero_centred_penalty(judge: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Squared norm of a discriminator's gradient at images: R1 at real ones, R2 at generated ones.

    Computed in float32 whatever the precision around it. Both together keep the relativistic losses
    stable (Huang et al. 2024, https://arxiv.org/abs/2501.05441, with half of each times one weight).

    Args:
        judge: From images (N, C, H, W) to logits (N, K), e.g. with the conditions filled in.
        image: (N, C, H, W) in [0, 1]; no gradient flows back to where they come from.

    Returns:
        (N,) float32, differentiable by the discriminator's weights; see :func:`gradient_penalty`.
    """
    with torch.autocast(image.device.type, enabled=False):
        image = image.detach().float().requires_grad_()
        return gradient_penalty(judge(image), image)


def feature_distance(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Squared distance of feature vectors of unit length, averaged over positions and layers.

    Reconstruction error in a discriminator's features (Larsen et al. 2016,
    https://arxiv.org/abs/1512.09300). Features are normalised over their channels, as in LPIPS
    (Zhang et al. 2018, https://arxiv.org/abs/1801.03924): their scale drifts while the
    discriminator learns, and the balance with other losses would drift with it.

    Args:
        features: For each layer (N, C, H, W).
        targets: The same shapes.

    Returns:
        (N,) float32 in [0, 4].
    """
    distances = [
        (_unit(feature) - _unit(target)).square().sum(dim=1).flatten(1).mean(dim=1)
        for feature, target in zip(features, targets, strict=True)
    ]
    return torch.stack(distances).mean(dim=0)


def _unit(feature: Tensor) -> Tensor:
    """Return (N, C, H, W) float32, vectors along C of length 1."""
    feature = feature.float()
    length: Tensor = torch.linalg.vector_norm(feature, dim=1, keepdim=True)
    return feature / (length + 1e-6)


class AdversarialBalance(LossBalance):
    """Lets an adversarial term pull as strongly at generated images as all other terms together.

    Its weight is then a share: 1 is as strong, 0.5 half as strong, whatever the scales of the losses.
    Where no other term that is on depends on the images (``kl`` alone does not), it keeps its weight.
    Several processes average what they measure, and have the same multiplier.

    Source: Esser et al. 2021 (VQGAN), https://arxiv.org/abs/2012.09841, equation 7, with gradients in the
    images instead of the last layer's weights: any network has images.
    """

    def __init__(self, term: str = "adversarial", limit: float = 1e4) -> None:
        """Say which term.

        Args:
            term: Name of the adversarial term.
            limit: Largest multiplier.

        Raises:
            ConfigurationError: The limit is not above 0.
        """
        super().__init__()
        if not 0 < limit < math.inf:
            raise ConfigurationError(f"AdversarialBalance needs a limit above 0, got {limit}.")
        self.term = term
        self.limit = limit

    def prepare(self, weights: Mapping[str, float]) -> None:
        """Check that the term exists; see the base class."""
        check_names([self.term], weights, type(self).__name__)

    def forward(
        self, losses: Mapping[str, Tensor], weights: Mapping[str, float], image: Tensor | None = None
    ) -> tuple[dict[str, Tensor | float], Tensor | float]:
        """Return the term's multiplier; see the base class."""
        others = [losses[name] * weight for name, weight in weights.items() if weight and name != self.term]
        if not others or not weights[self.term]:
            return {}, 0.0
        norms = gradient_norms({"others": torch.stack(others).sum(), "own": losses[self.term]}, image)
        if len(norms) < 2:
            return {}, 0.0
        return {self.term: ratio_of_norms(norms["others"], norms["own"], 0.0, self.limit)}, 0.0
