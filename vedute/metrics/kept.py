"""Metrics that keep the features of all their images.

Here: keeping sets of features and joining them over processes. Not here: what is computed from them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from vedute.errors import DataError


class KeptFeatures(Metric):
    """Base of metrics that need all features at once: named sets of them, each (N, F) float32.

    Memory: 4 F bytes an image, twice that while parts are joined. Of several processes each gets the
    sets of all, rank 0's rows first; a process without images does no harm.
    """

    full_state_update = False
    is_differentiable = False
    width: Tensor

    def __init__(self, sets: tuple[str, ...], sync_on_compute: bool = True) -> None:
        """Start with empty sets.

        Args:
            sets: Names of the sets.
            sync_on_compute: Whether several processes that each saw a part join their parts.
        """
        super().__init__(sync_on_compute=sync_on_compute)
        self.add_state("width", torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")
        for name in sets:
            self.add_state(f"kept_{name}", [], dist_reduce_fx="cat")

    def keep(self, name: str, features: Tensor) -> None:
        """Add features (n, F) to a set.

        Raises:
            ValueError: They are no matrix, or have another width than those before.
        """
        width = int(self.width)
        if features.dim() != 2 or width not in (0, features.shape[1]):
            raise ValueError(
                f"{type(self).__name__} takes features (n, {width or 'F'}), got {tuple(features.shape)}"
            )
        self.width.fill_(features.shape[1])
        # Flat, as the empty state of a process without images is: joined states must have the same axes.
        getattr(self, f"kept_{name}").append(features.detach().to(self.device).float().flatten())

    def kept(self, name: str) -> Tensor:
        """Return a set, (N, F) float32; (0, F) where nothing was added."""
        parts = getattr(self, f"kept_{name}")
        # Joined over processes, a state is one tensor.
        parts = [parts] if isinstance(parts, Tensor) else parts
        joined = torch.cat(parts) if len(parts) > 1 else parts[0] if parts else torch.zeros(0)
        return joined.view(-1, max(1, int(self.width)))


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
