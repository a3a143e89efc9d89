"""What tells a sweep how a trial is doing, from inside its training."""

from __future__ import annotations

from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer

_VALUES = "sweep_values"
"""Where a checkpoint keeps the objective at each validation so far."""


class Reporter(Callback):
    """Reports a value after each validation, and ends the training after an epoch when told to.

    A training that is ended so has its ``last.ckpt`` and ``best.ckpt`` like any other. With several processes
    the first one talks and all follow. One that goes on from a checkpoint first reports the values before it:
    whom it reports to has not heard them from this trial.
    """

    def __init__(self, objective: str, report: Callable[[int, float], bool]) -> None:
        """Say what is reported, and to whom.

        Args:
            objective: Name of a logged value.
            report: Takes the number of the validation (from 1) and the value; whether to end. Called on the
                first rank.
        """
        self.objective = objective
        self.pruned = False
        self.logged: tuple[str, ...] = ()
        self._report = report
        self._values: list[float] = []
        self._hopeless = False

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Keep the values so far."""
        checkpoint[_VALUES] = list(self._values)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Take the values up to the checkpoint."""
        values = checkpoint.get(_VALUES)
        self._values = list(values) if isinstance(values, list) else []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the values before the checkpoint; whether they are hopeless shows at the next one."""
        if trainer.is_global_zero:
            for step, value in enumerate(self._values, 1):
                self._report(step, value)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the value, where this is a validation within a training."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.logged = tuple(trainer.callback_metrics)
        value = trainer.callback_metrics.get(self.objective)
        if value is None:
            return
        self._values.append(float(value))
        hopeless = trainer.is_global_zero and self._report(len(self._values), self._values[-1])
        self._hopeless = bool(trainer.strategy.broadcast(hopeless))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the training, unless it ends here anyway."""
        last = trainer.max_epochs is not None and 0 < trainer.max_epochs <= trainer.current_epoch + 1
        if self._hopeless and not last and not trainer.should_stop:
            self.pruned = True
            trainer.should_stop = True
