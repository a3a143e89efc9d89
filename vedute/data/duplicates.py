"""Finding equal and nearly equal images among many: hashes of their look, and a search by distance.

Nearly equal: re-encoded, resized or slightly changed in brightness. Mirrored or cropped copies look
different to this hash and are not found.

The look is the perceptual hash of E. Klinger, D. Starkweather (pHash, https://www.phash.org): signs of
the lowest frequencies of a small grey picture. Two looks that differ in at most n of 64 bits agree
wholly in at least one of n + 1 bands of bits (pigeonhole), so only images that share a band are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HASH_SIDE = 32
"""Side of the grey picture that is hashed, pixels."""

GRID_SIDE = 8
"""Side of the colour grid that confirms a pair, cells."""

LARGEST_DISTANCE = 8
"""Largest distance that can be searched for: beyond, looks of different pictures are as near."""

_BITS = 64
_FREQUENCIES = 8
# Two colour grids agree up to these differences: of all values on average, in grey values of 255, and of
# what is left without the mean colours, relative to the pictures' own contrast. Re-encoded and resized
# photos stay below 10 and 0.2 (99 of 100); painted cars of the same shape before the same backdrop do not.
_SAME_COLOURS = 16.0
_SAME_CONTRAST = 0.25
_AT_A_TIME = 1 << 14  # pairs whose grids are compared
_PAIRS = 200_000  # more than anybody reads; keeps the memory bounded for the frames of a film


def _cosines() -> NDArray[np.float64]:
    frequency = np.arange(_FREQUENCIES)[:, None]
    place = np.arange(HASH_SIDE)[None, :]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * HASH_SIDE))


_COSINES = _cosines()


def look_of(grey: NDArray[np.float64]) -> int:
    """Return the 64 bits that say what a picture looks like.

    Args:
        grey: (32, 32), in any unit.

    Returns:
        One bit for each of 8 x 8 frequencies: whether it is above their median.
    """
    spectrum = (_COSINES @ grey @ _COSINES.T).reshape(-1)
    bits = spectrum > np.median(spectrum[1:])  # the first is the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def equal_groups(contents: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Return the rows of equal content, for each content that occurs more than once.

    Args:
        contents: (N,) hashes of what the images are, e.g. of their files' bytes.

    Returns:
        Groups of two or more rows, each ascending, in the order of their first rows.
    """
    order = np.argsort(contents, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(contents[order]) != 0])
    groups = [group for group in np.split(order, starts[1:]) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


@dataclass(frozen=True)
class Pairs:
    """Pairs of images that look nearly the same, the nearest first.

    Attributes:
        rows: (P, 2) int64, each row ascending.
        distances: (P,) int64: bits in which the looks differ.
        complete: False where there were too many pairs and the search was ended.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.int64]
    complete: bool = True

    def __len__(self) -> int:
        """Return the number of pairs P."""
        return len(self.rows)


def near_pairs(
    looks: NDArray[np.uint64], grids: NDArray[np.uint8], distance: int, most: int = _PAIRS
) -> Pairs:
    """Find all pairs of images that look nearly the same.

    Args:
        looks: (N,) from :func:`look_of`.
        grids: (N, G * 3) uint8: RGB colours of a coarse grid, which must agree too.
        distance: Bits, 0 to ``LARGEST_DISTANCE``, in which two looks may differ.
        most: End the search at about this many pairs.
    """
    rows: list[NDArray[np.int64]] = []
    found = 0
    earlier: list[NDArray[np.uint64]] = []
    for key in _bands(looks, distance + 1):
        for first, second in _sharing(key):
            near = np.bitwise_count(looks[first] ^ looks[second]) <= distance
            if not near.any():
                continue
            first, second = first[near], second[near]
            same = _same_colours(grids, first, second)
            for band in earlier:  # pairs that share an earlier band are found already
                same &= band[first] != band[second]
            rows.append(np.sort(np.stack([first[same], second[same]], axis=1), axis=1))
            found += len(rows[-1])
            if found >= most:
                break
        if found >= most:
            break
        earlier.append(key)
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.int64), *rows])
    distances = np.bitwise_count(looks[pairs[:, 0]] ^ looks[pairs[:, 1]]).astype(np.int64)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], distances))
    return Pairs(pairs[order], distances[order], complete=found < most)


def _same_colours(
    grids: NDArray[np.uint8], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return (P,) whether the colours of pairs of images agree."""
    same = np.zeros(len(first), dtype=bool)
    for start in range(0, len(first), _AT_A_TIME):
        block = slice(start, start + _AT_A_TIME)
        left, right = (
            grids[rows[block]].reshape(len(rows[block]), -1, 3).astype(np.float32) for rows in (first, second)
        )
        near = np.abs(left - right).mean(axis=(1, 2)) <= _SAME_COLOURS
        left -= left.mean(axis=1, keepdims=True)
        right -= right.mean(axis=1, keepdims=True)
        contrast = np.maximum(left.std(axis=(1, 2)), right.std(axis=(1, 2)))
        rest = np.sqrt(np.square(left - right).mean(axis=(1, 2)))
        same[block] = near & (rest <= _SAME_CONTRAST * np.maximum(contrast, 1))
    return same


def _bands(looks: NDArray[np.uint64], count: int) -> Iterator[NDArray[np.uint64]]:
    """Yield the (N,) values of each band of the looks; the bands share the 64 bits out."""
    edges = [round(_BITS * number / count) for number in range(count + 1)]
    for low, high in pairwise(edges):
        yield (looks >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)


def _sharing(key: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield rows (first, second) of all pairs with an equal key, each pair once."""
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    places = np.arange(len(key))
    step = 1
    # Neighbours at a distance of one, two, ... in the sorted order, until no bucket is that large.
    while True:
        places = places[: np.searchsorted(places, len(key) - step)]
        places = places[sorted_key[places] == sorted_key[places + step]]
        if not len(places):
            return
        yield order[places], order[places + step]
        step += 1
