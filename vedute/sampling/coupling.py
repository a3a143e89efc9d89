"""Which noise of a minibatch becomes which image: optimal transport, so that paths cross less."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


@torch.no_grad()
def optimal_pairs(noise: Tensor, data: Tensor, groups: Tensor | None = None) -> Tensor:
    """Pair noise with data so that the sum of squared distances is least, exactly.

    Data (and with them conditions and indices) stay where they are: ``noise[pairs]`` belongs to ``data``.

    Rows change noise only within their group, because the noise of a condition must stay standard normal:
    pairs across conditions give each condition a part of the noise, while sampling draws from all of it.
    Where each row has a group of its own (scores, mostly), nothing moves. Whatever else the network is told
    of a row (parameters of an augmentation) belongs in the groups.

    Sources: Pooladian et al. 2023, https://arxiv.org/abs/2304.14772, and Tong et al. 2024,
    https://arxiv.org/abs/2302.00482 (minibatches); Cheng & Schwing 2025, https://arxiv.org/abs/2503.10636
    (within conditions).

    Args:
        noise: (N, ...).
        data: (N, ...), of the same shape.
        groups: (N,) or (N, ...): rows with equal values are a group; None: all rows are one.

    Returns:
        (N,) int64, a permutation, on the device of ``data``.

    Raises:
        ValueError: The shapes do not fit.
    """
    if noise.shape != data.shape or (groups is not None and len(groups) != len(data)):
        shape = None if groups is None else tuple(groups.shape)
        raise ValueError(f"Pairs need equal shapes, got {tuple(noise.shape)}, {tuple(data.shape)}, {shape}")
    count = len(data)
    pairs = torch.arange(count)
    if not count:
        return pairs.to(data.device)
    # Of |data - noise|^2 only the mixed term depends on the pairing. Under autocast it would be bf16.
    with torch.autocast(data.device.type, enabled=False):
        cost = -(data.flatten(1).float() @ noise.flatten(1).float().T).cpu()  # (data, noise)
    for rows in _members(groups, count):
        if len(rows) > 1:
            _, chosen = linear_sum_assignment(cost[rows[:, None], rows].numpy())
            pairs[rows] = rows[torch.from_numpy(chosen)]
    return pairs.to(data.device)


def _members(groups: Tensor | None, count: int) -> list[Tensor]:
    """Return the rows of each group."""
    if groups is None:
        return [torch.arange(count)]
    _, group = torch.unique(groups.detach().cpu().reshape(count, -1), dim=0, return_inverse=True)
    return [torch.nonzero(group == number)[:, 0] for number in range(int(group.max()) + 1)]
