"""Order, shards, residence and resuming of loaders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from vedute.batch import Batch
from vedute.data.labels import OneHot
from vedute.data.loading import ImageLoader, ImageRows, TensorImages
from vedute.data.order import BatchOrder
from vedute.errors import DataError


def make_images(count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)


class Pixels:
    """An array (N, H, W, C) as images."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.shape = pixels.shape

    def __len__(self) -> int:
        return len(self.pixels)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.pixels[np.asarray(rows)]).permute(0, 3, 1, 2)


def make_rows(count: int = 40, copies: int = 1) -> ImageRows:
    labels = torch.arange(count) % 3
    return ImageRows(TensorImages(Pixels(make_images(count))), torch.arange(count), labels, OneHot(3), copies)


def make_loader(size: int = 40, batch_size: int = 6, num_workers: int = 0, seed: int = 0) -> ImageLoader:
    order = BatchOrder(size, batch_size, training=True, shuffle="full", seed=seed)
    return ImageLoader(make_rows(size), order, num_workers)


def epoch(order: BatchOrder, number: int = 0) -> list[list[int]]:
    order.set_epoch(number)
    return list(order)


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    def order(seed: int) -> BatchOrder:
        return BatchOrder(100, 8, training=True, shuffle="full", seed=seed)

    used = order(3)
    orders = [epoch(used, number) for number in range(3)]
    torch.manual_seed(99)
    assert epoch(order(3), 2) == orders[2]
    assert epoch(used, 0) == orders[0]
    assert orders[0] != orders[1]
    assert epoch(order(4), 0) != orders[0]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("size", [48, 50, 97])
def test_training_shards_are_disjoint_full_and_leave_out_less_than_a_batch_each(
    size: int, ranks: int
) -> None:
    orders = [BatchOrder(size, 8, training=True, shuffle="full", rank=r, ranks=ranks) for r in range(ranks)]
    batches = [epoch(order, 5) for order in orders]
    assert {len(shard) for shard in batches} == {len(orders[0])} == {size // (8 * ranks)}
    assert all(len(batch) == 8 for shard in batches for batch in shard)
    seen = [row for shard in batches for batch in shard for row in batch]
    assert len(seen) == len(set(seen)) > size - 8 * ranks
    assert set(seen) <= set(range(size))


def test_ranks_together_see_the_batches_of_one_process_with_the_large_batch() -> None:
    one = epoch(BatchOrder(64, 16, training=True, shuffle="full"), 1)
    two = [
        epoch(BatchOrder(64, 8, training=True, shuffle="full", rank=rank, ranks=2), 1) for rank in range(2)
    ]
    assert [first + second for first, second in zip(*two, strict=True)] == one


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [4, 16, 17, 33, 40])
def test_evaluation_shards_hold_every_row_once_in_equally_many_batches(size: int, ranks: int) -> None:
    orders = [BatchOrder(size, 8, training=False, shuffle="none", rank=r, ranks=ranks) for r in range(ranks)]
    batches = [epoch(order) for order in orders]
    assert len({len(shard) for shard in batches}) == 1
    assert all(0 < len(batch) <= 8 for shard in batches for batch in shard)
    assert sorted(row for shard in batches for batch in shard for row in batch) == list(range(size))


def test_a_batch_larger_than_the_split_names_both_numbers() -> None:
    with pytest.raises(DataError, match=r"batch of 64 is larger than the training split of 50 images.*to 50"):
        BatchOrder(50, 64, training=True, shuffle="full")
    with pytest.raises(DataError, match="batch of 32 on each of 2 processes"):
        BatchOrder(50, 32, training=True, shuffle="full", ranks=2)
    assert len(BatchOrder(50, 64, training=False, shuffle="none")) == 1
    with pytest.raises(DataError, match="1 images cannot be shared by 2"):
        BatchOrder(1, 64, training=False, shuffle="none", ranks=2)


def test_a_batch_is_gathered_with_labels_and_index() -> None:
    images = make_images()
    rows = torch.tensor([30, 2, 7, 9])
    split = ImageRows(TensorImages(Pixels(images)), rows, torch.tensor([2, 0, 1, 1]), OneHot(3))
    batch = split.__getitems__([3, 0])
    assert batch.image.dtype == torch.uint8
    assert np.array_equal(batch.image.permute(0, 2, 3, 1).numpy(), images[[9, 30]])
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert batch.condition.vector.tolist() == [[0, 1, 0], [0, 0, 1]]
    assert batch.index.tolist() == [3, 0]
    assert split[1].index.tolist() == [1]


def test_copies_repeat_the_split() -> None:
    split = make_rows(5, copies=3)
    assert len(split) == 15
    batch = split.__getitems__([1, 6, 11])
    assert torch.equal(batch.image[0], batch.image[1]) and torch.equal(batch.image[0], batch.image[2])
    assert batch.index.tolist() == [1, 6, 11]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_continues_within_the_epoch_whatever_the_workers_fetched_ahead(num_workers: int) -> None:
    loader = make_loader(num_workers=num_workers)
    loader.batch_sampler.set_epoch(2)
    whole = [batch.index.tolist() for batch in loader]
    assert len(whole) == len(loader) == 6
    iterator = iter(loader)
    for _ in range(2):
        next(iterator)
    state = loader.state_dict()

    resumed = make_loader(num_workers=num_workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    pending = iter(resumed)  # as Lightning does: the iterator first, the epoch then
    resumed.batch_sampler.set_epoch(2)
    assert [batch.index.tolist() for batch in pending] == whole[2:]
    assert [batch.index.tolist() for batch in resumed] == whole  # only the first pass is a continuation


def of_rank(rank: int, ranks: int, batch_size: int) -> ImageLoader:
    order = BatchOrder(48, batch_size, training=True, shuffle="full", rank=rank, ranks=ranks)
    return ImageLoader(make_rows(48), order)


@pytest.mark.parametrize(
    ("before", "after"), [((2, 4), (1, 4)), ((1, 4), (2, 4)), ((1, 4), (3, 2)), ((2, 3), (1, 12))]
)
def test_other_processes_and_batch_sizes_go_on_with_the_images_that_are_left(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    ranks, batch_size = before
    seen: list[int] = []
    for rank in range(ranks):
        loader = of_rank(rank, ranks, batch_size)
        batches = iter(loader)
        for _ in range(24 // (ranks * batch_size)):
            seen += next(batches).index.tolist()
        state = loader.state_dict()
    ranks, batch_size = after
    for rank in range(ranks):
        loader = of_rank(rank, ranks, batch_size)
        loader.load_state_dict(state)
        assert loader.regrouped
        seen += [row for batch in loader for row in batch.index.tolist()]
    assert sorted(seen) == list(range(48)), "every image once"


def test_a_state_of_another_epoch_starts_the_epoch_from_its_beginning() -> None:
    loader = make_loader()
    whole = [batch.index.tolist() for batch in loader]
    resumed = make_loader()
    resumed.load_state_dict({"epoch": 7, "batches": 3})
    assert [batch.index.tolist() for batch in resumed] == whole


def test_starting_a_loader_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    next(iter(make_loader()))
    assert torch.equal(torch.get_rng_state(), before)


class Recorder(LightningModule):
    """Learns nothing of use; remembers which rows it was given."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.stop_at = stop_at
        self.seen: list[list[int]] = []

    def training_step(self, batch: Batch) -> torch.Tensor:
        if len(self.seen) == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append(batch.index.tolist())
        return self.layer(torch.ones(1)).sum()

    def validation_step(self, batch: Batch) -> None:
        self.log("val/count", float(len(batch)), batch_size=len(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, module: Recorder, callbacks: list[Callback], resume: Path | None = None) -> None:
    trainer = Trainer(
        default_root_dir=folder, max_epochs=3, accelerator="cpu", logger=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=1,
        enable_checkpointing=bool(callbacks),
    )  # fmt: skip
    validation = ImageLoader(make_rows(), BatchOrder(40, 16, training=False, shuffle="none"))
    trainer.fit(module, make_loader(), validation, ckpt_path=resume)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("when", ["step", "validation", "epoch"])
def test_training_continues_with_the_next_batch_from_every_kind_of_checkpoint(
    tmp_path: Path, when: str
) -> None:
    uninterrupted = Recorder()
    fit(tmp_path, uninterrupted, [])
    assert len(uninterrupted.seen) == 18
    assert sorted(uninterrupted.seen[0]) != sorted(uninterrupted.seen[6])

    def saving() -> ModelCheckpoint:
        if when == "step":
            return ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4, save_top_k=-1)
        return ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, save_on_train_epoch_end=when == "epoch")

    killed = Recorder(stop_at=16)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path, killed, [saving()])
    checkpoints = sorted(
        tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem.partition("=")[2].split("-")[0])
    )
    steps = [int(path.stem.partition("=")[2]) for path in checkpoints]
    assert steps == ([4, 8, 12, 16] if when == "step" else [6, 12])
    for step, checkpoint in zip(steps, checkpoints, strict=True):
        resumed = Recorder()
        fit(tmp_path, resumed, [], checkpoint)
        assert resumed.seen == uninterrupted.seen[step:], f"from step {step}"
