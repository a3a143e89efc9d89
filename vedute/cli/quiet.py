"""Less noise: what Lightning says that helps nobody who uses Vedute."""

from __future__ import annotations

import logging
import sys
import warnings

_IRRELEVANT = (
    r".*does not have many workers.*",  # the loaders gather from memory: workers would slow them
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*GPU available but not used.*",
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",  # our loaders are resumable
    r".*Found \d+ module\(s\) in eval mode at the start of training.*",  # frozen judges
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    r".*Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",  # with a GradScaler's skip
    r".*The dirpath has changed.*",
    r".*is an instance of `nn.Module` and is already saved during checkpointing.*",  # as options
    r".*srun` command is available on your system but is not used.*",
)


class _PlainHandler(logging.Handler):
    """Prints messages as they are, to what stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)


def quieten() -> None:
    """Silence tips, advertisements and the warnings above; errors and other warnings stay.

    What Vedute itself has to say (which data it reads, what it skips) goes to stderr.
    """
    own = logging.getLogger("vedute")
    if not own.handlers:
        own.setLevel(logging.INFO)
        own.addHandler(_PlainHandler())
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _IRRELEVANT:
        warnings.filterwarnings("ignore", message=message)
