"""Nearest neighbours among features, by Euclidean distance and in blocks.

Here: the search. Not here: what neighbours say about generated images (``vedute.metrics.manifold``,
``vedute.metrics.memorisation``).

Distances are first computed as |x|^2 + |y|^2 - 2 x y in float32, which a matrix product does fast and
which rounding makes worthless for near copies. So that is used only to choose candidates: distances that are
returned are norms of differences, summed in float64, and where rounding could have hidden a neighbour the
search is repeated in float64.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vedute.metrics.checks import check_features

_SPARE = 8  # candidates beyond k, so that rounding rarely leaves a neighbour out
_REFERENCE_BYTES = 16 * 2**20  # of a block of references
_QUERY_BYTES = 8 * 2**20  # of a block of queries
_EXACT_BYTES = 2**20  # of differences in float64: they stay in the processor's cache
_REFERENCE_ROWS = 4096
_QUERY_ROWS = 1024
_REPEATED = 1024  # queries that are searched again at a time


class Neighbours(NamedTuple):
    """The k nearest references of each of N queries, the nearest first.

    Attributes:
        distances: (N, k) float64.
        rows: (N, k) int64, rows of the references.
    """

    distances: Tensor
    rows: Tensor


def nearest(
    queries: Tensor,
    references: Tensor,
    k: int = 1,
    *,
    exclude_self: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Neighbours:
    """Return the k nearest references of each query.

    Works in blocks: beside the features it takes about 100 MB, and 20 (k + 8) bytes a query.
    Features may be views of memory-mapped files. Of references at the same distance any may be returned.

    Args:
        queries: (N, F), float32 or float64.
        references: (M, F).
        k: Number of neighbours, at least 1 and at most M (M - 1 with ``exclude_self``).
        exclude_self: The two sets are one: row i is not a neighbour of itself.
        advance: Told the number of distances computed since it was last told, N M in all.

    Raises:
        DataError: Fewer references than k, no queries, or features that are no finite numbers.
        ValueError: k below 1, or sets of different widths.
    """
    if k < 1:
        raise ValueError(f"nearest needs k of at least 1, got {k}")
    if exclude_self and queries.shape != references.shape:
        raise ValueError(f"exclude_self needs one set, got {queries.shape} and {references.shape}")
    check_features(f"Finding {k} neighbours", k + int(exclude_self), reference=references)
    check_features("Finding neighbours", 1, query=queries, reference=references[:1])
    blocks = Blocks.of(queries, references)
    with exact_products():
        candidates, sure_until = _candidates(blocks, k, exclude_self, torch.float32, None, advance)
        distances, rows = _nearest_of(queries, references, candidates, k)
        # A neighbour could be missing where one that was left out might be nearer than the k-th found.
        unsure = torch.where((distances[:, -1] > 0) & (distances[:, -1] > sure_until))[0]
        for part in torch.split(unsure, _REPEATED) if len(unsure) else ():
            again, _ = _candidates(blocks, k, exclude_self, torch.float64, part, None)
            distances[part], rows[part] = _nearest_of(queries[part], references, again, k)
    return Neighbours(distances, rows)


class Blocks:
    """Two sets of features, and their squared distances in blocks.

    Features are shifted and scaled alike before they are squared: what is small beside the distances cannot
    spoil them by rounding, nor overflow.
    """

    def __init__(self, first: Tensor, second: Tensor, centre: Tensor, scale: float) -> None:
        """Keep (N, F) and (M, F) features, what is subtracted, (F,), and what they are divided by then."""
        self.first = first
        self.second = second
        self.centre = centre
        self.scale = scale

    @staticmethod
    def of(first: Tensor, second: Tensor) -> Blocks:
        """Choose shift and scale: the mean of the second set, and a power of two near the largest value."""
        total = torch.zeros(second.shape[1], dtype=torch.float64, device=second.device)
        for part in torch.split(second, 4096):
            total += part.sum(dim=0, dtype=torch.float64)
        centre = total / len(second)
        # Of what is far from zero and close together it is too large, and even then the squares are no
        # smaller than float32 allows.
        largest = max(
            float(torch.linalg.vector_norm(part, torch.inf))
            for features in (first, second)
            for part in torch.split(features, 4096)
        )
        scale = 2.0 ** int(torch.tensor(largest).log2().round()) if largest > 0 else 1.0
        return Blocks(first, second, centre, scale)

    def part(self, features: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return rows (n, F) shifted and scaled, in ``dtype``, and their squared lengths (n,) float64."""
        # The centre as float32 in any case: the same shift for both sets, whatever their types.
        shifted = features.to(torch.promote_types(features.dtype, dtype)) - self.centre.float()
        shifted = shifted.div_(self.scale).to(dtype)
        lengths = torch.linalg.vector_norm(shifted, dim=1, dtype=torch.float64)
        return shifted, lengths.square_()

    def rounding(self, dtype: torch.dtype) -> float:
        """Return what rounding adds to a squared distance at most, as a share of |x|^2 + |y|^2."""
        # A sum of F products in blocks: errors grow like the root of F.
        width: int = self.first.shape[1]
        return torch.finfo(dtype).eps * (8 + 0.5 * math.sqrt(width))

    def rows(self, dtype: torch.dtype) -> tuple[int, int]:
        """Return the numbers of first and second rows in a block, the second a multiple of the first."""
        row = self.first.shape[1] * dtype.itemsize
        queries = max(1, min(_QUERY_ROWS, _QUERY_BYTES // row))
        references = max(1, min(_REFERENCE_ROWS, _REFERENCE_BYTES // row))
        return queries, max(1, references // queries) * queries


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Compute float32 matrix products in float32, whatever the program allows elsewhere (TF32, bfloat16)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False), torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def exact_squared(first: Tensor, second: Tensor, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Return squared distances of pairs, (P,) float64: rows (P,) of the first and of the second set."""
    both = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    first, second = first.to(both), second.to(both)
    step = max(1, _EXACT_BYTES // (first.shape[1] * both.itemsize))
    parts = [
        torch.linalg.vector_norm(first[one].sub_(second[other]), dim=1, dtype=torch.float64).square_()
        for one, other in zip(torch.split(pairs[0], step), torch.split(pairs[1], step), strict=True)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64, device=first.device)


def _candidates(
    blocks: Blocks,
    k: int,
    exclude_self: bool,
    dtype: torch.dtype,
    chosen: Tensor | None,
    advance: Callable[[int], None] | None,
) -> tuple[Tensor, Tensor]:
    """Return up to k + 8 likely neighbours of each query, and how near one that was left out may be.

    Args:
        blocks: Queries and references.
        k: Wanted neighbours.
        exclude_self: Row i of the queries is row i of the references.
        dtype: What to compute in.
        chosen: Rows of the queries; None: all.
        advance: Told how many distances were computed.

    Returns:
        (n, k + 8) int64 rows (fewer columns where there are fewer references), and (n,) float64.
    """
    references = len(blocks.second)
    count = len(blocks.first) if chosen is None else len(chosen)
    device = blocks.first.device
    keep = min(k + _SPARE, references - int(exclude_self))
    found = torch.full((count, keep), torch.inf, dtype=dtype, device=device)
    rows = torch.zeros(count, keep, dtype=torch.int64, device=device)
    lengths = torch.zeros(count, dtype=torch.float64, device=device)
    mirrored = exclude_self and chosen is None  # each block holds the distances of two pairs of rows

    def merge(part: slice, block: Tensor, first: int) -> None:
        """Add the best of distances to references from row ``first`` on to those found so far."""
        best = block.topk(min(keep, block.shape[1]), dim=1, largest=False, sorted=False)
        both = torch.cat([found[part], best.values], dim=1)
        found[part], order = both.topk(keep, dim=1, largest=False)
        rows[part] = torch.cat([rows[part], best.indices + first], dim=1).gather(1, order)

    query_rows, reference_rows = blocks.rows(dtype)
    longest = 0.0
    for start in range(0, references, reference_rows):
        there, there_squared = blocks.part(blocks.second[start : start + reference_rows], dtype)
        longest = max(longest, float(there_squared.max()))
        for place in range(start if mirrored else 0, count, query_rows):
            part = slice(place, place + query_rows)
            numbers = torch.arange(count, device=device)[part] if chosen is None else chosen[part]
            here, lengths[part] = blocks.part(
                blocks.first[part] if chosen is None else blocks.first[numbers], dtype
            )
            # |x|^2 is the same for a whole row: it changes no order and is added last.
            block = torch.addmm(there_squared.to(dtype)[None], here, there.T, alpha=-2)
            if exclude_self:
                own = torch.where((numbers >= start) & (numbers < start + len(there)))[0]
                block[own, numbers[own] - start] = torch.inf
            merge(part, block, start)
            again = mirrored and place >= start + reference_rows
            if again:
                block += lengths[part].to(dtype)[:, None] - there_squared.to(dtype)[None]
                merge(slice(start, start + len(there)), block.T.contiguous(), place)
            if advance is not None:
                advance(block.numel() * (1 + int(again)))
    if keep == references - int(exclude_self):
        return rows, torch.full((count,), torch.inf, dtype=torch.float64, device=device)
    least = found.amax(dim=1).double() + lengths - blocks.rounding(dtype) * (lengths + longest)
    return rows, least.clamp_min(0).sqrt() * blocks.scale


def _nearest_of(queries: Tensor, references: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return exact distances (n, k) float64 and rows (n, k) of the k nearest among candidates (n, c)."""
    own = torch.arange(len(queries), device=queries.device).repeat_interleave(candidates.shape[1])
    squared = exact_squared(queries, references, (own, candidates.flatten())).view_as(candidates)
    best = squared.topk(k, dim=1, largest=False)
    return best.values.sqrt(), candidates.gather(1, best.indices)
