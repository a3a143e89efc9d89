"""What the latent dimensions carry, and which of them say the same, while training goes on."""

from __future__ import annotations

import math
from typing import Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute.callbacks.intervals import is_due
from vedute.callbacks.latents import HasLatents
from vedute.callbacks.pictures import save_picture
from vedute.errors import ConfigurationError
from vedute.metrics.latent_correlation import LatentCorrelation
from vedute.promises import Generator, as_generator, as_image_data
from vedute.report.latent_monitor import latent_picture
from vedute.sampling.conditions import spread

_STAGES = {"train": "training", "val": "validation"}


class LatentMonitor(Callback):
    """Draws correlations, variances and KL divergences of the latent dimensions, and counts two faults.

    During validation, of what ``embed`` gives for images of a split (a VAE's posterior means; averaged
    weights where there are any). The picture goes to ``samples/latents_epoch_XXXX.png`` in the run folder
    and to every logger; logged are ``val/low_variance_dimensions`` and ``val/correlated_pairs`` (with
    ``split: train``: ``train/...``). KL divergences are those of the whole epoch, which modules with
    ``latent_statistics`` collect anyway.
    """

    def __init__(
        self,
        every_n_epochs: int = 10,
        split: Literal["val", "train"] = "val",
        low_variance: float = 0.01,
        high_correlation: float = 0.9,
        images: int = 4096,
        dimensions: int = 1024,
        batch_size: int = 64,
    ) -> None:
        """Say when, of what, and what is a fault.

        Args:
            every_n_epochs: Epochs between two pictures; the last epoch always has one.
            split: Whose images are encoded.
            low_variance: A dimension whose variance is at most this says nothing about the image. The same
                bound as for active units (Burda et al. 2016, https://arxiv.org/abs/1509.00519).
            high_correlation: A pair of other dimensions with a stronger correlation is one too many.
            images: At most this many, evenly spread over the split: a correlation of 4,096 is exact to
                about 0.02, and the time it takes does not grow with the data.
            dimensions: At most this many, evenly spread: time and memory grow with their square.
            batch_size: Images encoded at a time.

        Raises:
            ConfigurationError: A number is out of its range.
        """
        for name, value, least in (
            ("every_n_epochs", every_n_epochs, 1),
            ("images", images, 2),
            ("dimensions", dimensions, 1),
            ("batch_size", batch_size, 1),
        ):
            if value < least:
                raise ConfigurationError(f"LatentMonitor: {name} must be at least {least}, got {value}.")
        if not 0 <= low_variance < math.inf or not 0 < high_correlation < 1:
            raise ConfigurationError(
                "LatentMonitor: low_variance must be at least 0 and high_correlation between 0 and 1, got "
                f"{low_variance} and {high_correlation}."
            )
        self.every_n_epochs = every_n_epochs
        self.split = split
        self.low_variance = low_variance
        self.high_correlation = high_correlation
        self.images = images
        self.dimensions = dimensions
        self.batch_size = batch_size

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make sure that there are latent vectors.

        Raises:
            ConfigurationError: The module has no encoder.
        """
        if not (isinstance(pl_module, Generator) and pl_module.has_encoder):
            raise ConfigurationError(
                f"LatentMonitor looks at latent vectors, but {type(pl_module).__name__} has no encoder: "
                "leave it out of trainer.callbacks."
            )

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and count when due; here because EMA weights are in place until ``on_validation_end``."""
        if not is_due(trainer, self.every_n_epochs):
            return
        data = as_image_data(getattr(trainer, "datamodule", None))
        rows = spread(data.size(self.split), self.images)
        generator = as_generator(pl_module)

        def embed(chosen: list[int]) -> Tensor:
            return generator.embed(data.batch(self.split, chosen).to(generator.device))

        size = embed(rows[:1]).shape[1]  # every process knows it so, even one without a share of the rows
        chosen = spread(size, self.dimensions)
        metric = LatentCorrelation(len(chosen)).to(generator.device)
        own = rows[trainer.global_rank :: trainer.world_size]
        for start in range(0, len(own), self.batch_size):
            metric.update(embed(own[start : start + self.batch_size])[:, chosen])
        if not own:
            metric.update(torch.zeros(0, len(chosen), device=generator.device))
        correlation = metric.correlation()
        low = correlation.low_variance(self.low_variance)
        pairs = correlation.correlated_pairs(self.high_correlation, self.low_variance)
        counts = {"low_variance_dimensions": float(low), "correlated_pairs": float(pairs)}
        for name, value in counts.items():
            pl_module.log(f"{self.split}/{name}", value, sync_dist=True)  # equal on all ranks
        kl = _divergences(pl_module, size, chosen)  # all ranks take part
        if not trainer.is_global_zero:
            return
        shown = f"{len(chosen)} dimensions" if len(chosen) == size else f"{len(chosen)} of {size} dimensions"
        title = (
            f"Epoch {trainer.current_epoch + 1}, {len(rows):,} {_STAGES[self.split]} images, {shown}: "
            f"{low} of low variance, {pairs} {'pair' if pairs == 1 else 'pairs'} with |r| > "
            f"{self.high_correlation:g}"
        )
        picture = latent_picture(correlation, title, self.low_variance, kl)
        save_picture(trainer, picture, "latents", f"latents_epoch_{trainer.current_epoch + 1:04d}.png")


def _divergences(module: LightningModule, size: int, chosen: list[int]) -> dict[str, Tensor]:
    """Return the mean KL divergence of each chosen dimension, of the stages where it was collected."""
    found: dict[str, Tensor] = {}
    if not isinstance(module, HasLatents):
        return found
    for stage, name in _STAGES.items():
        statistics = module.latent_statistics[f"{stage}_latents"]
        # The verb `validate` has no statistics of training on any rank, but of validation at least on one.
        if stage == "train" and not float(statistics.count):
            continue
        values = statistics.compute()[0].reshape(-1).float().cpu()
        if len(values) == size and bool(torch.isfinite(values).all()) and float(values.abs().sum()) > 0:
            found[name] = values[chosen]
    return found
