"""Rows of several sets that a metric keeps until it has seen all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat


class KeptRows(Metric):
    """Keeps rows, features or 8-bit images, of a few sets, with a class and a number each.

    Subclasses offer ``update`` and ``compute``. The rows of a set come back ordered by their numbers, so a
    result does not depend on which of several processes saw which row.
    """

    full_state_update = False
    is_differentiable = False
    kept_rows: list[Tensor]
    kept_sets: list[Tensor]
    kept_labels: list[Tensor]
    kept_numbers: list[Tensor]
    row_shape: Tensor

    def __init__(self, dtype: torch.dtype, sync_on_compute: bool = True) -> None:
        """Start without rows.

        Args:
            dtype: Of the rows: float32 for features, uint8 for images, which are given in [0, 1].
            sync_on_compute: Whether several processes that each saw a part join their parts.
        """
        super().__init__(sync_on_compute=sync_on_compute)
        self.row_dtype = dtype
        for name in ("kept_rows", "kept_sets", "kept_labels", "kept_numbers"):
            self.add_state(name, [], dist_reduce_fx="cat")
        self.add_state("row_shape", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="max")

    def keep(self, rows: Tensor, which: int, labels: Tensor | None, index: Tensor | None) -> None:
        """Add rows to a set.

        Args:
            rows: (N, F) features, or (N, C, H, W) images in [0, 1], which are rounded to 8 bits.
            which: The set's number.
            labels: (N,) int64 classes; None: there are none.
            index: (N,) int64, each row's number in its set, as a data set or the seeds give it; None: the
                order of the updates counts, that of several processes one after the other.

        Raises:
            ValueError: Rows of another shape than before, or numbers that are none.
        """
        images = self.row_dtype == torch.uint8
        wanted = "images (N, C, H, W)" if images else "features (N, F)"
        if rows.ndim != (4 if images else 2):
            raise ValueError(f"{type(self).__name__} expects {wanted}, got {tuple(rows.shape)}")
        if len(rows) == 0:
            return
        if not rows.isfinite().all():
            bad = int((~rows.isfinite()).flatten(1).any(dim=1).sum())
            raise ValueError(
                f"{type(self).__name__} got {bad} of {len(rows)} rows with NaN or infinite values"
            )

        def sides(shape: Tensor) -> str:
            return " x ".join(map(str, shape.tolist()[: rows.ndim - 1]))

        shape = torch.tensor([*rows.shape[1:], 1, 1][:3], device=self.row_shape.device)
        if self.row_shape.any() and not torch.equal(self.row_shape, shape):
            raise ValueError(
                f"{type(self).__name__} expects {wanted} of one shape: {sides(self.row_shape)} came first, "
                f"then {sides(shape)}"
            )
        self.row_shape = shape
        rows = rows.detach().to(self.device)
        rows = (rows.float().clamp(0, 1) * 255).round().byte() if images else rows.float()
        # Flat, as the empty state of a process without rows is: joined states must have the same axes.
        self.kept_rows.append(rows.flatten())
        self.kept_sets.append(torch.full((len(rows),), which, device=self.device))
        zeros = torch.zeros(len(rows), dtype=torch.int64, device=self.device)
        self.kept_labels.append(zeros if labels is None else labels.to(self.device, torch.int64))
        self.kept_numbers.append(zeros if index is None else index.to(self.device, torch.int64))

    def kept(self, which: int) -> tuple[Tensor, Tensor]:
        """Return the rows of a set, (N, ...), and their classes (N,), in the order of their numbers."""
        if isinstance(self.kept_rows, list) and not self.kept_rows:  # joined over processes: a tensor
            empty = torch.zeros(0, 1, dtype=self.row_dtype, device=self.device)
            return empty, torch.zeros(0, dtype=torch.int64, device=self.device)
        sets, labels, numbers, flat = (
            dim_zero_cat(state)
            for state in (self.kept_sets, self.kept_labels, self.kept_numbers, self.kept_rows)
        )
        shape = self.row_shape.tolist() if self.row_dtype == torch.uint8 else self.row_shape.tolist()[:1]
        mine = torch.where(sets == which)[0]
        mine = mine[numbers[mine].argsort(stable=True)]
        return flat.view(len(sets), *shape)[mine], labels[mine]

    def sync(
        self,
        dist_sync_fn: Callable[..., Sequence[Tensor]] | None = None,
        process_group: object | None = None,
        should_sync: bool = True,
        distributed_available: Callable[[], bool] | None = None,
    ) -> None:
        """Join the rows of several processes; see ``torchmetrics.Metric.sync``.

        A process without rows must take part with the others' type of numbers, which torchmetrics guesses.
        """
        if isinstance(self.kept_rows, list) and not self.kept_rows:
            self.kept_rows = [torch.zeros(0, dtype=self.row_dtype, device=self.device)]
            for state in (self.kept_sets, self.kept_labels, self.kept_numbers):
                state.append(torch.zeros(0, dtype=torch.int64, device=self.device))
        super().sync(dist_sync_fn, process_group, should_sync, distributed_available)
