"""What sets of features must be before anything is computed from them."""

from __future__ import annotations

import torch
from torch import Tensor

from vedute.errors import DataError


def check_features(what: str, least: int, **sets: Tensor) -> None:
    """Check sets of features before anything is computed from them.

    Args:
        what: What needs them, for the message.
        least: The smallest number of rows a set may have.
        **sets: Each (N, F).

    Raises:
        DataError: A set is too small, or holds a NaN or an infinity.
        ValueError: They are no matrices of one width.
    """
    shapes = {name: tuple(features.shape) for name, features in sets.items()}
    few = [f"{shape[0]} {name}" for name, shape in shapes.items() if shape[0] < least]
    if few:
        raise DataError(f"{what} needs at least {least} images of each kind; there are {', '.join(few)}.")
    if {len(shape) for shape in shapes.values()} != {2} or len({shape[1] for shape in shapes.values()}) != 1:
        raise ValueError(f"{what} takes features (N, F) of one width, got {shapes}")
    for name, features in sets.items():
        # A sum is quick to form, and finite only if all that is summed is.
        if all(bool(part.sum(dtype=torch.float64).isfinite()) for part in torch.split(features, 4096)):
            continue
        broken = sum(int((~part.isfinite().all(dim=1)).sum()) for part in torch.split(features, 4096))
        if broken:
            raise DataError(
                f"{what}: the features of {broken} of {len(features)} {name} images are no finite numbers. "
                "Look at these images, and at the network that made the features."
            )
