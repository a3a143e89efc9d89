"""What ``test``, ``validate`` and ``predict`` leave in a run folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute import __version__
from vedute.batch import Batch
from vedute.files import whole
from vedute.promises import as_image_data
from vedute.report.grid import to_pil
from vedute.run_folder import run_folder, shown


class ScoreWriter(Callback):
    """Writes ``test_metrics.json`` or ``validate_metrics.json`` and prints the scores."""

    def __init__(self, checkpoint: Path, verb: Literal["test", "validate"] | str) -> None:
        """Name the checkpoint that is scored and the verb that scores it."""
        self.checkpoint = checkpoint
        self.verb = verb

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the test split's scores."""
        self._write(trainer, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the validation split's scores."""
        self._write(trainer, "val")

    def _write(self, trainer: Trainer, split: str) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        scores = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        report = {
            "checkpoint": str(self.checkpoint),
            "split": split,
            "images": as_image_data(getattr(trainer, "datamodule", None)).size(split),
            "seed": int(os.environ.get("PL_GLOBAL_SEED", "0")),
            "precision": trainer.precision,
            "metrics": scores,
            "versions": {
                "vedute": __version__,
                "torch": torch.__version__,
                "lightning": lightning.__version__,
            },
        }
        path = run_folder(trainer) / f"{self.verb}_metrics.json"
        with whole(path) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        width = max(map(len, scores), default=0)
        for name, score in scores.items():
            print(f"{name:<{width}}  {score:.6g}")
        print(f"Written to {shown(path)}", flush=True)


class PredictionWriter(Callback):
    """Writes each generated image to ``predictions/<checkpoint>/`` as PNG, named by row and class."""

    def __init__(self, checkpoint: Path) -> None:
        """Name the checkpoint that generates."""
        self.checkpoint = checkpoint
        self._count = 0

    def _folder(self, trainer: Trainer) -> Path:
        return run_folder(trainer) / "predictions" / self.checkpoint.stem

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write a batch."""
        folder = self._folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        rows = (
            batch.index if batch.index is not None else torch.arange(self._count, self._count + len(outputs))
        )
        names: list[str] = getattr(pl_module, "condition_names", [])
        vector = batch.condition.vector if getattr(pl_module, "condition_kind", "none") == "class" else None
        for position, image in enumerate(outputs.float().cpu()):
            label = "" if vector is None else f"_{names[int(vector[position].argmax())]}"
            path = folder / f"{int(rows[position]):06d}{label}.png"
            with whole(path) as temporary:
                to_pil(image).save(temporary, format="PNG")
        self._count += len(outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the images are."""
        if trainer.is_global_zero:
            print(f"{self._count} images written to {shown(self._folder(trainer))}", flush=True)
