"""What is said when another process of a training is gone."""

from __future__ import annotations

import re

from torch import distributed as dist

from vedute.errors import VeduteError

_GONE = re.compile(
    r"Connection closed by peer|Connection reset by peer|Connection refused|Broken pipe|gloo/transport"
    r"|Timed out waiting \d+ ?ms|NCCL|remote process exited|Socket [Tt]imeout|Connection was likely closed"
)
_SAID = 160


def lost_process(error: Exception) -> VeduteError | None:
    """Return our error where torch's says that another process cannot be reached; else None.

    Args:
        error: What torch has raised while processes communicated.
    """
    text = str(error)
    if not isinstance(error, dist.DistError) and not (isinstance(error, RuntimeError) and _GONE.search(text)):
        return None
    first = " ".join(text.partition("\n")[0].split())
    said = first if len(first) <= _SAID else first[: _SAID - 3] + "..."
    return VeduteError(
        "Another process of this training has ended or cannot be reached, so this one ends too. What the "
        "other has said, in its log or above, tells why. The last checkpoint is whole: continue with "
        f"--ckpt_path last. ({said})"
    )
