"""Any of kornia's augmentations, from YAML. kornia itself is only imported by whoever names it.

The augmentations of this package are written in plain torch, because importing kornia takes
seconds that every start of a training would pay.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from vedute.augment.base import Augmentation, move_pixels
from vedute.batch import Batch
from vedute.errors import ConfigurationError


class Kornia(Augmentation):
    """Applies one of kornia's 2D image augmentations with draws per image.

    Where it moves pixels (rotation, affine, crops), target and condition image move with the image;
    where it changes colours, only the image changes. See https://kornia.readthedocs.io.
    """

    def __init__(self, transform: nn.Module) -> None:
        """Wrap a transform.

        Args:
            transform: For example ``{class_path: kornia.augmentation.ColorJiggle, init_args: {...}}``.

        Raises:
            ConfigurationError: It is none of kornia's 2D augmentations, or changes the image's size.
        """
        super().__init__()
        from kornia.augmentation import AugmentationBase2D, GeometricAugmentationBase2D

        if not isinstance(transform, AugmentationBase2D):
            raise ConfigurationError(
                f"Kornia needs one of kornia's 2D augmentations as transform, got {type(transform).__name__}."
            )
        self.transform = transform
        self._moves = isinstance(transform, GeometricAugmentationBase2D)

    def forward(self, batch: Batch) -> Batch:
        """Transform each image of the batch by its own draw; images stay in [0, 1]."""
        parameters = self.transform.forward_parameters(batch.image.shape)

        def transformed(image: Tensor) -> Tensor:
            result: Tensor = self.transform(image, params=parameters)
            if result.shape != image.shape:
                raise ConfigurationError(
                    f"{type(self.transform).__name__} changes the size of images from "
                    f"{tuple(image.shape[-2:])} to {tuple(result.shape[-2:])}; choose its size accordingly."
                )
            return result.clamp(0, 1)

        return (
            move_pixels(batch, transformed) if self._moves else replace(batch, image=transformed(batch.image))
        )
