"""The terms of the loss and their weights as a picture of the run."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from vedute.callbacks.pictures import save_picture
from vedute.errors import ConfigurationError
from vedute.loggers import read_metrics
from vedute.report.loss_curves import loss_curves, terms_of_run
from vedute.run_folder import METRICS, is_trial, run_folder


class LossCurves(Callback):
    """Draws each term of the loss, in training and validation, above its active weight.

    To ``samples/losses.png`` in the run folder and to every logger, at the end of training and every n
    epochs. Everything is read from the run's ``metrics.csv``, so a resumed run has one picture of
    its whole training; a run without one has no picture. Works for any module, see
    :func:`vedute.report.loss_curves.terms_of_run`.
    """

    def __init__(self, every_n_epochs: int = 10) -> None:
        """Draw every ``every_n_epochs`` epochs, and at the end.

        Raises:
            ConfigurationError: It is less than 1.
        """
        if every_n_epochs < 1:
            raise ConfigurationError(f"LossCurves needs every_n_epochs of at least 1, got {every_n_epochs}.")
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw if it is time; the epoch's validation is over by now."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the whole training."""
        self._draw(trainer)

    @staticmethod
    def _draw(trainer: Trainer) -> None:
        table = run_folder(trainer) / METRICS
        if is_trial(trainer) or not trainer.is_global_zero or not table.is_file():
            return
        terms = [term for term in terms_of_run(read_metrics(table)) if len(term.train[0]) or len(term.val[0])]
        if terms:
            run = table.parent
            picture = loss_curves(terms, f"Losses of {run.parent.name}/{run.name}")
            save_picture(trainer, picture, "losses", "losses.png")
