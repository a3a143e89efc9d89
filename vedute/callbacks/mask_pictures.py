"""Images beside their masks and what a segmenter finds, while training goes on."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute.callbacks.intervals import is_due
from vedute.callbacks.pictures import save_picture
from vedute.errors import named
from vedute.promises import as_image_data
from vedute.report.grid import image_grid
from vedute.sampling.conditions import spread

_MISSED, _INVENTED = (0.86, 0.20, 0.18), (0.16, 0.45, 0.85)


@runtime_checkable
class HasMasks(Protocol):
    """A module that finds masks."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""

    def segment(self, image: Tensor) -> Tensor:
        """Return masks (N, 1, H, W) in {0, 1} of images (N, C, H, W) in [0, 1]."""


class MaskPictures(Callback):
    """Draws validation images above their masks, the masks found, and where the two differ.

    To ``samples/masks_epoch_<n>.png`` in the run folder and to every logger. In the last row red is
    foreground that was missed, blue what was taken for it.
    """

    def __init__(self, every_n_epochs: int = 5, columns: int = 8) -> None:
        """Say when and how much.

        Args:
            every_n_epochs: Epochs between two pictures; the last epoch always has one.
            columns: Images, evenly spread over the validation split.
        """
        if every_n_epochs < 1 or columns < 1:
            raise ValueError("MaskPictures needs every_n_epochs and columns >= 1")
        self.every_n_epochs = every_n_epochs
        self.columns = columns

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw when due; here because EMA weights are in place until ``on_validation_end``."""
        if not trainer.is_global_zero or not is_due(trainer, self.every_n_epochs):
            return
        data = as_image_data(getattr(trainer, "datamodule", None))
        if not isinstance(pl_module, HasMasks):
            raise TypeError(f"MaskPictures needs a segmenter, got {named(type(pl_module))}")
        batch = data.batch("val", spread(data.size("val"), self.columns))
        mask = batch.condition.image
        if mask is None:
            raise TypeError("MaskPictures needs data with masks")
        found = pl_module.segment(batch.image.to(pl_module.device)).float().cpu()
        image, wanted, seen = (_colour(value) for value in (batch.image, mask, found))
        rows = torch.cat([image, wanted, seen, differences(image, mask, found)])
        picture = image_grid(rows, len(batch), ["image", "mask", "found", "difference"])
        save_picture(trainer, picture, "masks", f"masks_epoch_{trainer.current_epoch + 1:04d}.png")


def differences(image: Tensor, mask: Tensor, found: Tensor) -> Tensor:
    """Return pale grey images with missed foreground red and invented foreground blue.

    Args:
        image: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W) in {0, 1}: given.
        found: (N, 1, H, W) in {0, 1}.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    pale = 0.5 + 0.5 * image.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    missed, invented = mask > found, found > mask
    for wrong, colour in ((missed, _MISSED), (invented, _INVENTED)):
        pale = torch.where(wrong, pale.new_tensor(colour).view(1, 3, 1, 1), pale)
    return pale


def _colour(image: Tensor) -> Tensor:
    """Return (N, 3, H, W): one or two channels as grey, of more the first three."""
    return image[:, :3] if image.shape[1] >= 3 else image[:, :1].expand(-1, 3, -1, -1)
