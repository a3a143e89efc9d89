"""When a callback that does not act after every epoch acts."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether a validation is one to act on.

    True every ``every_n_epochs`` epochs, after the last epoch of a training, and always for the
    verb ``validate``; never for the check before training.
    """
    if trainer.sanity_checking:
        return False
    if trainer.state.fn == TrainerFn.VALIDATING:  # trainer.validating is also True within fit
        return True
    epoch = trainer.current_epoch + 1
    return epoch % every_n_epochs == 0 or epoch == trainer.max_epochs or trainer.should_stop
