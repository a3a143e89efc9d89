"""Trains nothing in several processes and writes down which rows each was given.

Run as a script: ``recorder.py OPTIONS.json FOLDER`` (the options are a class path, its arguments, and
how many epochs); launched by Lightning once more for each further process.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from vedute.batch import Batch


class Recorder(LightningModule):
    """Keeps the index of every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[list[int]]] = {"train": [], "val": []}

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.seen["train"].append(batch.index.tolist())
        return self.weight * batch.image.mean()

    def validation_step(self, batch: Batch) -> None:
        self.seen["val"].append(batch.index.tolist())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main(options: Path, folder: Path) -> None:
    given = json.loads(options.read_text())
    module, _, name = given["class_path"].rpartition(".")
    data = getattr(import_module(module), name)(**given["init_args"])
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=given["epochs"],
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    recorder = Recorder()
    trainer.fit(recorder, datamodule=data)
    (folder / f"{trainer.global_rank}.json").write_text(json.dumps(recorder.seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
