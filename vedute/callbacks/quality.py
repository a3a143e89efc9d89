"""How good generated images are, while training goes on."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vedute.callbacks.intervals import is_due
from vedute.callbacks.measuring import measure_generated, measure_real, training_instruments
from vedute.errors import ConfigurationError
from vedute.metrics.fidelity import compare
from vedute.metrics.sets import (
    Instruments,
    Measured,
    distances,
    matched_rows,
    wanted_images,
)
from vedute.promises import as_generator, as_image_data

_SPLIT = "val"


class GenerationMetrics(Callback):
    """Scores images of every class during validation, on the weights that validation uses.

    With a classifier: ``val/q`` and ``val/q/<class>`` (the share recognised), and
    ``val/fd_classifier``, ``val/kd_classifier``. Without one, or without classes: distances in
    the pixels of shrunken images, ``val/fd_pixels``, ``val/kd_pixels``, and in colours and details,
    ``val/fd_details``, ``val/kd_details`` (``vedute.metrics.details``). Distances are to
    validation images, with as many on both sides. ``manifold`` adds ``val/precision_...``,
    ``val/recall_...``, ``val/density_...`` and ``val/coverage_...`` in the same features.

    A metric that decides ``best.ckpt`` must exist at every validation: set ``every_n_epochs``
    to 1 then.
    """

    def __init__(
        self,
        classifier: str | None = None,
        every_n_epochs: int = 5,
        count: int = 32,
        batch_size: int = 64,
        seed: int = 0,
        manifold: bool = False,
    ) -> None:
        """Say what judges, when, and how many images.

        Args:
            classifier: Checkpoint of a trained classifier with the same classes; null: none.
            every_n_epochs: Epochs between two scores; the last planned epoch always has one.
            count: Images per class; in total where there are no classes.
            batch_size: Images computed at a time.
            seed: Seed of the first image; the next count up.
            manifold: Log precision, recall, density and coverage too (``val/recall_details``, ...).

        Raises:
            ConfigurationError: A number is below 1, or ``count`` below 2.
        """
        if min(every_n_epochs, batch_size) < 1 or count < 2:
            raise ConfigurationError(
                "GenerationMetrics needs every_n_epochs and batch_size of at least 1, count of at least 2; "
                f"got {every_n_epochs}, {batch_size}, {count}."
            )
        self.classifier = classifier
        self.every_n_epochs = every_n_epochs
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.manifold = manifold
        # Plain attributes of a callback: none of this enters a checkpoint.
        self._instruments: Instruments | None = None
        self._real: Measured | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the judge and check that it fits, before any training.

        Raises:
            CheckpointError: It cannot be used for this generator.
        """
        if stage not in ("fit", "validate") or self._instruments is not None:
            return
        device = trainer.strategy.root_device
        self._instruments = training_instruments(as_generator(pl_module), self.classifier, device)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score when due; here because EMA weights are in place until ``on_validation_end``."""
        if self._instruments is None or not is_due(trainer, self.every_n_epochs):
            return
        generator, data = as_generator(pl_module), as_image_data(getattr(trainer, "datamodule", None))
        wanted = wanted_images(generator, data, _SPLIT, self.count, self.seed)
        _, labels, seeds = wanted
        classes = generator.condition_kind == "class"
        real_labels = torch.from_numpy(data.labels(_SPLIT)) if classes else None
        # Seeded, so every rank and every epoch takes the same rows.
        rows, real_rows = matched_rows([labels, real_labels], [len(seeds), data.size(_SPLIT)], self.seed)
        generated = measure_generated(trainer, pl_module, self._instruments, wanted, self.batch_size)
        if self._real is None:
            chosen = real_rows, None if real_labels is None else real_labels[real_rows]
            self._real = measure_real(
                trainer, pl_module, self._instruments, data, _SPLIT, chosen, self.batch_size
            )
        extractors = self._instruments.extractors
        if self.manifold:
            found = compare(generated[rows], self._real, extractors, intervals=False)
            scores = {**found.distances, **found.manifold}
        else:
            scores = distances(generated[rows], self._real, extractors)
        quality = self._instruments.quality(generated)
        if quality is not None:
            scores["q"] = float(quality.mean)
            for name, value in zip(generator.condition_names, quality.per_class.tolist(), strict=True):
                scores[f"q/{name}"] = value
        for name, value in scores.items():
            # Every rank has the same value.
            pl_module.log(f"val/{name}", value, prog_bar=name == "q", batch_size=1, sync_dist=True)
