"""A grid of samples while training goes on."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute.batch import Condition
from vedute.callbacks.intervals import is_due
from vedute.callbacks.pictures import save_picture
from vedute.promises import Generator, ImageData, as_generator, as_image_data
from vedute.report.grid import image_grid
from vedute.rows import beside_conditions
from vedute.sampling.conditions import image_rows, spread, vector_rows


class SampleGrid(Callback):
    """Draws a row of samples per condition, always with the same seeds, during validation.

    A row is a class, low or high scores of all raters or of one, or a mask of the validation split,
    which stands in the first column, the real image in the second. The picture goes to ``samples/`` in
    the run folder and to every logger. A module that encodes also gets ``reconstructions``: validation
    images above what comes back.
    """

    def __init__(self, every_n_epochs: int = 5, columns: int = 8, seed: int = 0, rows: int = 12) -> None:
        """Say when and how much.

        Args:
            every_n_epochs: Epochs between two grids; the last epoch always has one.
            columns: Samples per condition.
            seed: Seed of the first column; the next columns count up.
            rows: At most this many conditions.
        """
        if every_n_epochs < 1 or columns < 1 or rows < 1:
            raise ValueError("SampleGrid needs every_n_epochs, columns and rows >= 1")
        self.every_n_epochs = every_n_epochs
        self.columns = columns
        self.seed = seed
        self.rows = rows

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw when due; here because EMA weights are in place until ``on_validation_end``."""
        if not trainer.is_global_zero or not is_due(trainer, self.every_n_epochs):
            return
        generator, data = as_generator(pl_module), as_image_data(getattr(trainer, "datamodule", None))
        file_name = f"epoch_{trainer.current_epoch + 1:04d}.png"
        picture = image_grid(*self._samples(generator, data))
        save_picture(trainer, picture, "samples", file_name)
        if generator.has_encoder:
            batch = data.batch("val", spread(data.size("val"), self.columns)).to(generator.device)
            pairs = torch.cat([batch.image, generator.reconstruct(batch)])
            picture = image_grid(pairs, len(batch), ["real", "reconstructed"])
            save_picture(trainer, picture, "reconstructions", f"reconstructions_{file_name}")

    def _samples(
        self, generator: Generator, data: ImageData
    ) -> tuple[Tensor, int, list[str] | None, list[str]]:
        """Return the images of a grid, its columns, the titles of its rows and of its first columns."""
        if generator.condition_kind == "none":
            seeds = torch.arange(self.seed, self.seed + self.columns**2)
            return generator.sample(Condition(), seeds), self.columns, None, []
        if generator.condition_kind == "image":
            titles, condition, real = image_rows(generator, data, "val", self.rows)
            columns = self.columns if generator.stochastic else 1
            images = self._rows_of(generator, condition, columns)
            assert condition.image is not None
            pictures = beside_conditions(images, condition.image, real)
            return pictures, columns + 2, titles, ["condition", "real"]
        titles, condition = vector_rows(generator, self.rows)
        return self._rows_of(generator, condition, self.columns), self.columns, titles, []

    def _rows_of(self, generator: Generator, condition: Condition, columns: int) -> Tensor:
        """Return as many samples of each of R conditions, (R * columns, C, H, W)."""
        repeated = condition.map(lambda tensor: tensor.repeat_interleave(columns, dim=0))
        seeds = torch.arange(self.seed, self.seed + columns).repeat(len(condition))
        return generator.sample(repeated.to(generator.device), seeds)
