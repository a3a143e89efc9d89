"""What several training processes tell each other; with one process, nothing."""

from __future__ import annotations

import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor
from torch import distributed as dist


def first_rank() -> bool:
    """Whether this process is the one that writes; known before there is a trainer."""
    return getattr(rank_zero_only, "rank", 0) == 0


def several() -> bool:
    """Return whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def summed(value: Tensor) -> Tensor:
    """Return the sum of ``value``, of one shape everywhere, over all processes; without gradients."""
    if not several():
        return value
    # A copy: what was given stays as it is. Dense: a view with gaps cannot be sent.
    total = value.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def from_first(value: Tensor) -> Tensor:
    """Return the first process's ``value``, of one shape everywhere, on all of them; without gradients."""
    if not several():
        return value
    copy = value.detach().clone(memory_format=torch.contiguous_format)
    dist.broadcast(copy, src=0)
    return copy
