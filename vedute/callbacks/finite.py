"""A training whose losses are no numbers any more is stopped."""

from __future__ import annotations

import shlex

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute.callbacks.checkpoint import BestAndLast
from vedute.errors import ConfigurationError, VeduteError
from vedute.run_folder import shown

_WATCHED = ("loss", "logits", "penalty")
"""Values with these words in their names must be finite; others (a rank correlation) may be NaN."""


class DivergedError(VeduteError):
    """Losses or weights of a training are NaN or infinite; the message says where the last good state is."""


class FiniteLosses(Callback):
    """Stops a training when a logged loss, or a weight that would be saved, is NaN or infinite.

    Losses, logits and penalties are looked at every few batches and after each validation; weights before
    each checkpoint, so that ``last.ckpt`` is never replaced by a broken one. All processes stop together.
    """

    def __init__(self, every_n_batches: int = 10) -> None:
        """Say how often losses are looked at, which waits for a GPU.

        Raises:
            ConfigurationError: It is below 1.
        """
        if every_n_batches < 1:
            raise ConfigurationError(
                f"FiniteLosses needs every_n_batches of at least 1, got {every_n_batches}."
            )
        self.every_n_batches = every_n_batches

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Look at what the step logged, every few batches and in the last of an epoch.

        Raises:
            DivergedError: Something is not finite.
        """
        if (batch_idx + 1) % self.every_n_batches == 0 or trainer.is_last_batch:
            self._check(trainer, _losses(trainer, "train/"))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what validation logged, in a training only.

        Raises:
            DivergedError: Something is not finite.
        """
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._check(trainer, _losses(trainer, "val/"))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Look at the weights before they are written.

        Raises:
            DivergedError: One is not finite.
        """
        # One answer for all: reading each weight by itself would wait for a GPU a hundred times.
        weights = [weight.detach() for weight in pl_module.parameters() if weight.is_floating_point()]
        finite = torch.stack([weight.isfinite().all() for weight in weights]).all() if weights else True
        name = "a weight"
        if not bool(finite):
            bad = [key for key, weight in pl_module.named_parameters() if not weight.isfinite().all()]
            name = f"the weight {bad[0]}" + (f" and {len(bad) - 1} others" if len(bad) > 1 else "")
        self._stop(trainer, None if bool(finite) else f"{name} is NaN or infinite")

    def _check(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        bad = None
        if losses and not bool(torch.stack(list(losses.values())).isfinite().all()):
            bad = next(f"{name} is {float(value)}" for name, value in losses.items() if not value.isfinite())
        self._stop(trainer, bad)

    @staticmethod
    def _stop(trainer: Trainer, bad: str | None) -> None:
        """Stop all processes when one of them has something bad to tell."""
        if trainer.strategy.reduce_boolean_decision(bad is None, all=True):
            return
        kept = trainer.checkpoint_callback
        where = "There is no checkpoint yet."
        if isinstance(kept, BestAndLast) and kept.last.is_file():
            where = f"The last good checkpoint is kept: {shlex.quote(shown(kept.last))}."
        batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        raise DivergedError(
            f"The training is stopped: {bad or 'in another process a value is NaN or infinite'} after batch "
            f"{batch} of epoch {trainer.current_epoch + 1}. {where} Lower the learning rate "
            "(model.optimizer, of a GAN also model.discriminator_optimizer), limit the gradients "
            "(trainer.gradient_clip_val, of a GAN model.gradient_clip), or compute in full precision "
            "(trainer.precision 32-true)."
        )


def _losses(trainer: Trainer, stage: str) -> dict[str, Tensor]:
    """Return the logged scalars that must be finite."""
    return {
        name: value.detach().float()
        for name, value in trainer.callback_metrics.items()
        if name.startswith(stage) and any(word in name for word in _WATCHED) and value.ndim == 0
    }
