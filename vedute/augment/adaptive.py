"""How often images before a discriminator are augmented, found while training.

Here: the probability and the rule that moves it. Not here: what is augmented
(``vedute.augment.differentiable``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vedute.distributed import summed
from vedute.errors import ConfigurationError

_SIGNS, _JUDGEMENTS, _IMAGES, _BATCHES = range(4)


class AdaptiveProbability(nn.Module):
    """A probability that rises while the discriminator is too sure of real images, and falls otherwise.

    A discriminator that learns its training images by heart calls nearly all of them real. The sign of
    what it says of real images is averaged over a few batches: 0 means that it cannot tell, 1 that it is
    always sure. Above the target the probability rises, below it falls; by how much depends on the
    number of images seen, not on the batch size.

    The state are whole numbers in buffers: a resumed run goes on exactly, lower precision loses nothing,
    and all processes have the same value, that of one process with all their images.

    Source: Karras et al. 2020 (ADA), "Training Generative Adversarial Networks with Limited Data",
    https://arxiv.org/abs/2006.06676, section 3.1: target 0.6, every 4 batches, and above a probability of
    0.8 augmentations may leak into generated images.
    """

    level: Tensor
    """() int64 in [0, limit * images]: the probability is ``level / images``."""
    pending: Tensor
    """(4,) int64: sum of signs, judgements, images and batches since the probability moved last."""

    def __init__(
        self,
        target: float = 0.6,
        images: int = 100_000,
        every: int = 4,
        start: float = 0.0,
        limit: float = 0.8,
    ) -> None:
        """Say where to, and how fast.

        Args:
            target: Mean sign of the judgements on real images, in (-1, 1), at which the probability stays.
            images: Real images in which the probability goes from 0 to 1 at most. The source has 500,000
                in trainings of 25 million, and 100,000 to fine-tune.
            every: Batches between two moves.
            start: The probability at first, in [0, ``limit``].
            limit: The largest probability, in (0, 1].

        Raises:
            ConfigurationError: A number is out of its range.
        """
        super().__init__()
        if not -1 < target < 1 or images < 1 or every < 1 or not 0 <= start <= limit <= 1 or not limit > 0:
            raise ConfigurationError(
                "AdaptiveProbability needs target in (-1, 1), images and every of at least 1, and "
                f"0 <= start <= limit <= 1, limit above 0; got {target:g}, {images}, {every}, {start:g} and "
                f"{limit:g}."
            )
        self.target = target
        self.images = images
        self.every = every
        self.limit = limit
        self.register_buffer("level", torch.tensor(round(start * images)))
        self.register_buffer("pending", torch.zeros(4, dtype=torch.int64))

    @property
    def probability(self) -> Tensor:
        """The probability, () float32 in [0, ``limit``], on the device."""
        return self.level.float() / self.images

    @torch.no_grad()
    def update(self, real_logits: Tensor) -> None:
        """Count what the discriminator says of real images, and move the probability when it is time.

        Every process must call it as often. Nothing waits for a GPU.

        Args:
            real_logits: (N, K) logits of (augmented) real images, positive: judged real. Where the
                loss has another zero or compares images, as a relativistic one, the margins of
                ``AdversarialLoss.margins``.
        """
        signs = (real_logits > 0).sum() - (real_logits < 0).sum()  # NaN counts as 0
        # Filled on the device: a tensor made of Python's numbers would wait for the GPU.
        judgements, images = (torch.full_like(signs, n) for n in (real_logits.numel(), len(real_logits)))
        counts = summed(torch.stack([signs, judgements, images]))
        pending = self.pending + torch.cat([counts, torch.ones_like(counts[:1])])
        excess = pending[_SIGNS] / pending[_JUDGEMENTS].clamp_min(1) - self.target
        moved = self.level + excess.sign().long() * pending[_IMAGES]
        due = pending[_BATCHES] >= self.every
        highest = round(self.limit * self.images)
        self.level.copy_(torch.where(due, moved.clamp(0, highest), self.level))
        self.pending.copy_(torch.where(due, 0, pending))
