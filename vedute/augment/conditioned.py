"""Augmentation whose parameters the network is told, so that generated images show none of it.

Here: geometric changes of image batches, each image's own. Not here: augmentation of the data
(``vedute.augment``), whose images are generated too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vedute.errors import ConfigurationError

_PARAMETERS = 8


class ConditionedAugmentation:
    """Flips, turns, stretches and shifts images, and says what it did to each.

    A generator of a few thousand images learns them by heart. Shown changed images it would generate changed
    ones; told by how much an image was changed, and later that nothing was, it generates plain ones.

    Each kind of change is made with a probability of its own draw. What comes in at the borders is mirrored.

    Source: Karras et al. 2022 (EDM), https://arxiv.org/abs/2206.00364, appendix F.2, after Jun et al. 2020,
    https://proceedings.mlr.press/v119/jun20a.html.
    """

    size = _PARAMETERS
    """Number A of values that describe an augmentation; all 0: there was none."""

    def __init__(
        self,
        probability: float = 0.12,
        flip: bool = True,
        upside_down: bool = False,
        rotation: float = 180.0,
        stretch: float = 0.2,
        shift: float = 0.125,
    ) -> None:
        """Say how often and how much.

        Args:
            probability: Of each kind of change, in [0, 1].
            flip: Whether images are mirrored left to right (with a probability of one half).
            upside_down: Whether they are mirrored top to bottom.
            rotation: Degrees by which they are turned at most.
            stretch: Standard deviation of the logarithm (of 2) of the scale, and of unequal stretching.
            shift: Standard deviation of shifts, as a share of the image's side.

        Raises:
            ConfigurationError: A number is out of its range.
        """
        if not 0 <= probability <= 1 or min(rotation, stretch, shift) < 0:
            raise ConfigurationError(
                "ConditionedAugmentation needs a probability in [0, 1] and amounts of at least 0, got "
                f"{probability:g}, {rotation:g}, {stretch:g}, {shift:g}."
            )
        self.probability = probability
        self.flip, self.upside_down = flip, upside_down
        self.rotation, self.stretch, self.shift = rotation, stretch, shift

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Change images.

        Args:
            image: (N, C, H, W) in [0, 1].

        Returns:
            (N, C, H, W) in [0, 1], and (N, 8) float32 that describe what was done to each.
        """
        count, device = len(image), image.device

        def drawn(kind: int) -> Tensor:
            return (torch.rand(count, device=device) < self.probability) * torch.randn(count, device=device)

        chance = torch.rand(3, count, device=device)
        mirrored = (chance[0] < 0.5) & self.flip
        overturned = (chance[1] < self.probability) & self.upside_down
        turned = torch.where(
            chance[2] < self.probability,
            math.radians(self.rotation) * (2 * torch.rand_like(chance[2]) - 1),
            0.0,
        )
        scale, unequal, right, down = (drawn(kind) for kind in range(4))
        described = torch.stack(
            [
                mirrored.float(),
                overturned.float(),
                turned.cos() - 1,
                turned.sin(),
                scale,
                unequal,
                right,
                down,
            ],
            dim=1,
        )
        height, width = image.shape[-2:]
        # From places in the output to places in the input, in pixels around the middle.
        wide = torch.exp2(self.stretch * (scale + unequal)) * torch.where(mirrored, -1.0, 1.0)
        high = torch.exp2(self.stretch * (scale - unequal)) * torch.where(overturned, -1.0, 1.0)
        cos, sin = turned.cos(), turned.sin()
        aspect = height / width
        matrix = torch.stack(
            [
                torch.stack([wide * cos, wide * sin * aspect, 2 * self.shift * right], dim=1),
                torch.stack([-high * sin / aspect, high * cos, 2 * self.shift * down], dim=1),
            ],
            dim=1,
        )  # (N, 2, 3)
        grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
        changed = F.grid_sample(
            image.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
        touched = described.any(dim=1)
        changed = torch.where(touched[:, None, None, None], changed.clamp(0, 1), image.float())
        return changed, described
