"""Two processes (gloo) are given exactly the planned rows, whatever the data set and the order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datamodules.cars import CarsDataModule
from datamodules.shards import ShardsDataModule
from tests.data.cars import write_tiny_cars
from tests.data.shards import write_shards
from vedute.data.order import BatchOrder

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
EPOCHS = 2

Seen = list[dict[str, list[list[int]]]]


def two_processes(folder: Path, class_path: str, **options: object) -> Seen:
    """Return the rows that each of two processes was given."""
    given = {"class_path": class_path, "init_args": options, "epochs": EPOCHS}
    (folder / "options.json").write_text(json.dumps(given))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.data.recorder", str(folder / "options.json"), str(folder)]
    subprocess.run(command, check=True, timeout=300, env=environment, cwd=ROOT)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def planned(rank: int, **options: object) -> list[list[int]]:
    order = BatchOrder(training=True, rank=rank, ranks=2, **options)  # type: ignore[arg-type]
    batches: list[list[int]] = []
    for epoch in range(EPOCHS):
        order.set_epoch(epoch)
        batches += list(order)
    return batches


def check_validation(seen: Seen, size: int) -> None:
    """Every row once in every epoch, over both processes."""
    rows = [row for rank in seen for batch in rank["val"] for row in batch]
    assert Counter(rows) == {row: EPOCHS for row in range(size)}
    assert len(seen[0]["val"]) == len(seen[1]["val"])


def test_weighted_cars(tmp_path: Path) -> None:
    scores = [[row % 10, row % 7] for row in range(70)]
    root = write_tiny_cars(tmp_path / "cars", scores, ["Moira", "Ferdinando"])
    options = {"root": str(root), "image_size": 16, "batch_size": 6, "sampling": "product"}
    seen = two_processes(tmp_path, "datamodules.cars.CarsDataModule", **options)
    data = CarsDataModule(**options)
    weights = data.sampling_weights(data._open().splits["train"].labels.numpy())
    size = data.size("train")
    for rank in range(2):
        assert seen[rank]["train"] == planned(rank, size=size, batch_size=6, shuffle="full", weights=weights)
    assert weights is not None and (weights == 0).any()
    drawn = {row for rank in seen for batch in rank["train"] for row in batch}
    assert drawn.isdisjoint(np.flatnonzero(weights == 0).tolist())
    check_validation(seen, data.size("val"))


def test_streamed_shards_with_workers(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    root = write_shards(tmp_path / "shards", {"train": 96, "val": 13}, per_file=12)
    options = {"root": str(root), "image_size": 16, "batch_size": 4, "num_workers": 2}
    options |= {"residence": "stream", "shuffle": "shards"}
    seen = two_processes(tmp_path, "datamodules.shards.ShardsDataModule", **options)
    for rank in range(2):
        plan = planned(rank, size=96, batch_size=4, shuffle="shards", shards=[12] * 8, workers=2)
        assert seen[rank]["train"] == plan
    per_epoch = len(seen[0]["train"]) // EPOCHS
    for epoch in range(EPOCHS):
        batches = slice(epoch * per_epoch, (epoch + 1) * per_epoch)
        rows = [row for rank in seen for batch in rank["train"][batches] for row in batch]
        assert sorted(rows) == list(range(96))  # the 96 rows make whole batches: each comes once
    check_validation(seen, ShardsDataModule(**options).size("val"))
