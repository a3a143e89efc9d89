"""A GAN of a few weights, with what callbacks that watch GANs rely on, and trainings of it."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vedute.callbacks.checkpoint import BestAndLast
from vedute.run_folder import RunFolder


class TinyGAN(LightningModule):
    """Two optimisers in turns; what is logged can be made up."""

    def __init__(self, logged: dict[str, float] | None = None, broken_at: int | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Linear(2, 2)
        self.discriminator = nn.Linear(2, 1)
        self.logged = logged or {}
        self.broken_at = broken_at

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(part.parameters(), 0.1) for part in (self.generator, self.discriminator)]

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        for optimizer, sign, name in zip(optimizers, (1, -1), ("generator", "discriminator"), strict=True):
            with self.toggled_optimizer(optimizer):
                optimizer.zero_grad()
                loss = sign * self.discriminator(self.generator(batch)).mean()
                if self.trainer.fit_loop.epoch_loop.total_batch_idx == self.broken_at:
                    loss = loss * float("nan")
                self.log(f"train/{name}_loss", loss.detach())
                self.manual_backward(loss)
                optimizer.step()
        for key, value in self.logged.items():
            self.log(key, value)


def train_gan(
    module: LightningModule, folder: Path, *callbacks: Callback, batches: int = 4, epochs: int = 2
) -> Trainer:
    """Train on random numbers and return the trainer; ``last.ckpt`` as in every run."""
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[RunFolder(folder, None), BestAndLast(monitor=None), *callbacks],
    )
    trainer.fit(module, DataLoader(torch.rand(2 * batches, 2), batch_size=2))  # type: ignore[arg-type]
    return trainer
