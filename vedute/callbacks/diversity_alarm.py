"""Whether a generator repeats itself, while training goes on."""

from __future__ import annotations

import logging

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute.callbacks.intervals import is_due
from vedute.callbacks.measuring import measure_generated, measure_real, training_instruments
from vedute.errors import ConfigurationError
from vedute.metrics.chosen import drawn, some_of_each
from vedute.metrics.diversity import Diversity
from vedute.metrics.sets import Instruments, Measured, wanted_images
from vedute.promises import ImageData, as_generator, as_image_data

_log = logging.getLogger("vedute.diversity")

_SPLIT = "train"
"""Real images come from here: the largest split, and a generator that copies them is diverse enough."""

GAN_ADVICE = (
    "In a GAN the usual cause is a discriminator that has learned a small training set by heart. Change one "
    "thing at a time: augment what it sees (model.augment, with vedute.augment.differentiable.Colour, "
    "Translation and Cutout), raise model.penalty_weight, compare real and generated images in pairs "
    "(model.adversarial vedute.losses.adversarial.RelativisticPaired), or lower the learning rate in "
    "model.discriminator_optimizer. Go back to an earlier checkpoint: a lost variety rarely returns."
)
OTHER_ADVICE = (
    "The model makes the mean of many images: train longer, give it more capacity (the widths of its "
    "network), or lower the weight that draws its latent vectors together (model.kl_weight)."
)


class DiversityAlarm(Callback):
    """Compares the distances between generated images of a class with those between real ones.

    Logs ``val/diversity_ratio`` (mean pairwise distance inside a class, generated over real, the mean over
    the classes) and ``val/diversity_ratio/<class>``, on the weights that validation uses. Where the ratio
    of all or of one class is below the limit several times in a row, one warning says what to change.
    Above 1 generated images differ more than real ones: noise, or classes mixed up.

    Without classes all images are one class. For models that make images from images the variety is that
    of their conditions, and it is refused.
    """

    def __init__(
        self,
        classifier: str | None = None,
        every_n_epochs: int = 5,
        count: int = 32,
        limit: float = 0.5,
        patience: int = 2,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        """Say how it is measured, and what is too little.

        Args:
            classifier: Checkpoint of a trained classifier with the same classes, in whose features distances
                are measured; null: pixels of images shrunk to 8x8.
            every_n_epochs: Epochs between two measurements; the last planned epoch always has one.
            count: Images per class, generated and real (as far as there are); in total without classes.
            limit: Ratio below which the alarm is due, in (0, 1].
            patience: Measurements in a row below the limit before the warning: young models have little
                variety.
            batch_size: Images computed at a time.
            seed: Seed of the first image; the next count up.

        Raises:
            ConfigurationError: A number is out of its range.
        """
        if min(every_n_epochs, batch_size, patience) < 1 or count < 2 or not 0 < limit <= 1:
            raise ConfigurationError(
                "DiversityAlarm needs every_n_epochs, patience and batch_size of at least 1, count of at "
                f"least 2 and limit in (0, 1]; got {every_n_epochs}, {patience}, {batch_size}, {count}, "
                f"{limit:g}."
            )
        self.classifier = classifier
        self.every_n_epochs = every_n_epochs
        self.count = count
        self.limit = limit
        self.patience = patience
        self.batch_size = batch_size
        self.seed = seed
        self._instruments: Instruments | None = None
        self._real: Tensor | None = None
        self._below = 0
        self._warned = False

    @property
    def state_key(self) -> str:
        """Where a checkpoint keeps this callback's state, whatever its options."""
        return type(self).__name__

    def state_dict(self) -> dict[str, int]:
        """Return how often the ratio was too low, and whether that has been said."""
        return {"below": self._below, "warned": int(self._warned)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from a checkpoint."""
        self._below, self._warned = state_dict["below"], bool(state_dict["warned"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the judge and check that it fits, before any training.

        Raises:
            ConfigurationError: The model makes images from images.
            CheckpointError: The judge cannot be used for this generator.
        """
        if stage not in ("fit", "validate") or self._instruments is not None:
            return
        generator = as_generator(pl_module)
        if generator.condition_kind == "image":
            raise ConfigurationError(
                f"DiversityAlarm measures the variety of what is made under one condition, but "
                f"{type(pl_module).__name__} makes one image from each condition image: leave it out of "
                "trainer.callbacks."
            )
        self._instruments = training_instruments(generator, self.classifier, trainer.strategy.root_device)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure when due; here because EMA weights are in place until ``on_validation_end``."""
        if self._instruments is None or not is_due(trainer, self.every_n_epochs):
            return
        generator, data = as_generator(pl_module), as_image_data(getattr(trainer, "datamodule", None))
        wanted = wanted_images(generator, data, _SPLIT, self.count, self.seed)
        generated = self._distances(
            measure_generated(trainer, pl_module, self._instruments, wanted, self.batch_size)
        )
        if self._real is None:
            chosen = _real_rows(data, self._instruments.names, self.count, self.seed)
            self._real = self._distances(
                measure_real(trainer, pl_module, self._instruments, data, _SPLIT, chosen, self.batch_size)
            )
        ratios = generated / self._real  # (D,), the same on every rank
        known = ratios.isfinite()  # a class with one image, or of equal images, has none
        if not known.any():
            return
        values = {"val/diversity_ratio": float(ratios[known].mean())}
        for name, ratio in zip(self._instruments.names, ratios.tolist(), strict=False):
            values[f"val/diversity_ratio/{name}"] = ratio
        for name, value in values.items():
            pl_module.log(name, value, batch_size=1, sync_dist=True)
        self._judge(trainer, pl_module, torch.where(known, ratios, torch.inf))

    def _distances(self, measured: Measured) -> Tensor:
        """Return the mean pairwise distance of each class, (D,) or (1,)."""
        assert self._instruments is not None
        metric = Diversity(len(self._instruments.names), sync_on_compute=False)
        metric.update(measured.features[self._instruments.extractors[0].name], measured.labels)
        return metric.compute().reshape(-1)

    def _judge(self, trainer: Trainer, module: LightningModule, ratios: Tensor) -> None:
        """Warn once when the ratio of a class was below the limit ``patience`` times."""
        low = (ratios < self.limit).nonzero().flatten().tolist()
        self._below = self._below + 1 if low else 0
        if self._below < self.patience or self._warned:
            return
        self._warned = True
        if not trainer.is_global_zero:
            return
        assert self._instruments is not None
        names = self._instruments.names
        each = ", ".join(f"{names[row]} {float(ratios[row]):.2f}" for row in low) if names else ""
        what = f" of the same class: {each}" if names else f": {float(ratios.min()):.2f}"
        _log.warning(
            "Little variety after epoch %d. Distances between generated images%s of those between real ones "
            "(below %g, %d times in a row). %s",
            trainer.current_epoch + 1,
            what,
            self.limit,
            self._below,
            GAN_ADVICE if hasattr(module, "discriminator") else OTHER_ADVICE,
        )


def _real_rows(data: ImageData, names: list[str], count: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """Choose at most ``count`` rows of each class; return them with their classes."""
    if not names:
        return drawn(data.size(_SPLIT), count, seed), None
    labels = torch.from_numpy(data.labels(_SPLIT))
    rows = some_of_each(labels, count, seed)
    return rows, labels[rows]
