"""Ending a training when its scheduler asks for it: at a checkpoint, and back into SLURM's queue.

SLURM sends SIGUSR1 some time before a job's time is over (``#SBATCH --signal=USR1@120``), and SIGTERM when
it preempts or cancels a job. Lightning would save inside the handler of the signal, amid a step; here the
signal is only noted, all processes agree after a batch from which training can be resumed exactly,
``last.ckpt`` is written, and the job is put back into the queue.

Source: https://slurm.schedmd.com/sbatch.html (``--signal``, ``--requeue``)
"""

from __future__ import annotations

import re
import signal
import threading
from types import FrameType
from typing import NoReturn

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vedute.cluster.jobs import SlurmJob
from vedute.cluster.scontrol import scontrol
from vedute.errors import CheckpointError

BEFORE_THE_END = getattr(signal, "SIGUSR1", signal.SIGTERM)  # Windows has no SIGUSR1
"""What SLURM sends before a job's time is over, and what asks for a checkpoint and a requeue by hand."""


class Ended(SystemExit):
    """A training was ended by a signal, after a checkpoint.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        """Note the signal; the exit code is what shells report for it."""
        super().__init__(128 + number)
        self.number = number


class EndRequest:
    """Notes that the process was asked to end, instead of ending it.

    Attributes:
        number: The signal that asked; None: none has.
    """

    def __init__(self) -> None:
        """Listen to nothing yet."""
        self.number: int | None = None

    def listen(self, *numbers: int) -> None:
        """Note these signals from now on; only the main thread can, elsewhere nothing happens."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in numbers:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number == number == signal.SIGTERM:
            raise KeyboardInterrupt  # asked twice: somebody is in a hurry
        self.number = number


class Preemption(Callback):
    """Ends a training that was asked to end; ``BestAndLast`` looks at :attr:`asked` after each batch."""

    def __init__(self, request: EndRequest) -> None:
        """Take the request that signals are noted in."""
        self.request = request
        self._written = False

    @property
    def asked(self) -> bool:
        """Whether this process was asked to end."""
        return self.request.number is not None

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, and make sure that all processes begin at the same step.

        Raises:
            CheckpointError: They do not; they would wait for each other for ever.
        """
        self._listen()
        step = trainer.global_step
        first, last = -agreed(trainer, -step), agreed(trainer, step)
        if first != last:
            raise CheckpointError(
                f"The processes of this training begin at different steps, from {first} to {last}: some have "
                "found a checkpoint and some have not. Run folders must lie on a disk that all machines "
                "share (--trainer.default_root_dir)."
            )

    def _listen(self) -> None:
        # In place of Lightning's handler of SIGTERM, which lets the processes communicate amid whatever
        # they are doing.
        self.request.listen(BEFORE_THE_END, signal.SIGTERM)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End between two epochs, where ``last.ckpt`` was just written."""
        last = getattr(trainer.checkpoint_callback, "last", None)
        written = last is not None and last.is_file()
        if agreed(trainer, int(self.asked and written)):
            self._end()

    def checkpoint_written(self) -> None:
        """End before the next batch: all processes have agreed, and ``last.ckpt`` is written.

        Not at once: Lightning logs a batch's values after all hooks of its end.
        """
        self._written = True

    def on_train_batch_start(self, trainer: Trainer, *args: object) -> None:
        """End, if the checkpoint after the last batch was written for that."""
        if self._written:
            self._end()

    def _end(self) -> NoReturn:
        """End the training here.

        Raises:
            Ended: Always.
        """
        # Another process may have been asked, and this one not.
        raise Ended(self.request.number or BEFORE_THE_END)


def agreed(trainer: Trainer, wish: int) -> int:
    """Return the largest ``wish`` of all processes; all of them must ask."""
    if trainer.world_size == 1:
        return wish
    sent = torch.tensor(wish, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(sent, reduce_op="max"))


def requeue(job: SlurmJob, number: int) -> str | None:
    """Put this process's job back into the queue; SLURM then ends what is left of it.

    A job that is being cancelled is left alone: somebody wants it to end.

    Args:
        job: The job.
        number: The signal that asked for the end.

    Returns:
        None: done; else why it was not, for people.
    """
    shown, reason = scontrol("show", "job", "--oneliner", job.number)
    if reason is not None:
        return reason
    state = re.search(r"\bJobState=(\S+)", shown)
    if number == signal.SIGTERM and state is not None and state[1] != "RUNNING":
        return "it is being ended"
    # SLURM ends the job's processes at once when it takes the job back, this one included.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return scontrol("requeue", job.number)[1]
