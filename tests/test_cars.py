"""The cars: any raters, any range, missing scores, weighted sampling, and what a checkpoint keeps."""

from __future__ import annotations

import logging
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.cars import CarsDataModule
from tests.data.cars import RATERS, tiny_scores, write_tiny_cars
from tests.data.commands import failed
from vedute.checkpoints import load_checkpoint
from vedute.cli import main
from vedute.data.order import BatchOrder
from vedute.data.scores import sampling_weights
from vedute.errors import ConfigurationError, DataError

CONFIG = Path(__file__).parents[1] / "configs" / "cvae_residual_cars.yaml"


def cars(root: Path, **options: object) -> CarsDataModule:
    return CarsDataModule(**{"root": root, "image_size": (24, 32), "batch_size": 4, **options})  # type: ignore[arg-type]


def rows_of(data: CarsDataModule, split: str = "train") -> list[int]:
    """Return the table's row of each image: the tiny pictures show it as their brightness."""
    image = data.batch(split, slice(None)).image  # type: ignore[arg-type]
    return [round(float(level) * 255) for level in image.mean(dim=(1, 2, 3))]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_cars(tmp_path_factory.mktemp("cars"), tiny_scores(60))


@pytest.mark.parametrize("limits", [(0, 9), (1, 5), (-2, 2)])
@pytest.mark.parametrize("raters", [1, 3, 7])
def test_any_number_of_raters_and_any_range(tmp_path: Path, limits: tuple[float, float], raters: int) -> None:
    scores = (np.array(tiny_scores(40, limits, raters)) / 2 + np.mean(limits) / 2).tolist()  # halves, too
    names = [f"rater {n}" for n in range(raters)]
    data = cars(write_tiny_cars(tmp_path, scores, names), score_range=limits)
    data.setup("fit")
    assert data.condition_kind == "score" and data.condition_names == names
    assert data.condition_range == list(limits)
    for split in ("train", "val", "test"):
        vector = data.batch(split, slice(None)).condition.vector
        assert vector is not None
        made = vector * torch.tensor(data.condition_scale) + torch.tensor(data.condition_mean)
        np.testing.assert_allclose(made, np.array(scores)[rows_of(data, split)], atol=1e-4)
    vector = data.batch("train", slice(None)).condition.vector
    assert vector is not None
    np.testing.assert_allclose(vector.mean(dim=0), 0, atol=1e-5)
    np.testing.assert_allclose(vector.std(dim=0, correction=0), 1, rtol=1e-4)


def test_chosen_raters_in_the_chosen_order(root: Path) -> None:
    data = cars(root, raters=["Esther", "Moira"])
    assert data.condition_names == ["Esther", "Moira"]
    vector = data.batch("test", slice(None)).condition.vector
    assert vector is not None
    scores = np.array(tiny_scores(60))[rows_of(data, "test")]
    made = vector * torch.tensor(data.condition_scale) + torch.tensor(data.condition_mean)
    np.testing.assert_allclose(made, scores[:, [2, 0]], atol=1e-4)


def test_no_raters_is_unconditional(root: Path) -> None:
    data = cars(root, raters=[])
    assert data.condition_kind == "none" and data.condition_names == []
    assert data.batch("train", [0, 1]).condition.vector is None
    weighted = cars(root, raters=[], sampling="product", sampling_raters=["Moira"])
    weighted.setup("fit")
    assert weighted.condition_kind == "none" and weighted.train_dataloader().batch_sampler.weights is not None


@pytest.mark.parametrize("table", ["scores.tsv", "ratings.csv"])
def test_other_tables_and_folders(tmp_path: Path, table: str) -> None:
    write_tiny_cars(tmp_path, tiny_scores(40), table=table, images="photos/all")
    assert cars(tmp_path, scores=table).train_size == 32
    assert cars(tmp_path, scores=table, images="photos/all").train_size == 32
    with pytest.raises(DataError, match="photo/all"):
        cars(tmp_path, scores=table, images="photo/all").setup()


def test_names_with_their_folder_and_columns_of_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tiny_cars(tmp_path, tiny_scores(40))
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    rows = [f"images/{line},by night" for line in lines[1:]]
    (tmp_path / "scores.csv").write_text("\n".join([f"{lines[0]},remark", *rows]))
    with caplog.at_level(logging.INFO):
        assert cars(tmp_path).condition_names == list(RATERS)
    assert "no scores: remark" in caplog.text


def test_a_table_without_scores_says_what_to_do(tmp_path: Path) -> None:
    write_tiny_cars(tmp_path, [[]] * 40, [])
    with pytest.raises(DataError, match=r"data\.raters to \[\]"):
        cars(tmp_path).setup()
    assert cars(tmp_path, raters=[]).train_size == 32


def test_unknown_raters_are_refused_with_the_nearest(root: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'Fernando'.*Did you mean 'Ferdinando'\?"):
        cars(root, raters=["Moira", "Fernando"]).setup()
    with pytest.raises(ConfigurationError, match=r"sampling_raters.*Did you mean 'Moira'\?"):
        cars(root, sampling="product", sampling_raters=["moira"]).setup()
    with pytest.raises(ConfigurationError, match="name twice: Moira, Moira"):
        cars(root, raters=["Moira", "Moira"])
    with pytest.raises(ConfigurationError, match="sampling is none"):
        cars(root, sampling_raters=["Moira"])


def test_a_score_outside_the_range_is_named_before_anything_is_prepared(tmp_path: Path) -> None:
    scores = tiny_scores(40)
    scores[11][1] = 10
    write_tiny_cars(tmp_path, scores)
    (tmp_path / "images" / "0.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"scores\.csv, line 13: Ferdinando 10"):
        cars(tmp_path).setup()
    with pytest.raises(DataError, match=r"0\.png"):  # now the picture
        cars(tmp_path, score_range=None).setup()
    assert cars(tmp_path, score_range=None, on_error="skip").condition_range == []
    assert cars(tmp_path, raters=["Moira"], on_error="skip").condition_names == [
        "Moira"
    ]  # others are not looked at


def test_text_among_scores_is_refused(tmp_path: Path) -> None:
    scores: list[list[float | str]] = [list(row) for row in tiny_scores(40)]
    scores[3][2] = "good"
    with pytest.raises(DataError, match=r"line 5.*Esther.*good"):
        cars(write_tiny_cars(tmp_path, scores)).setup()


@pytest.fixture(scope="module")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scores: list[list[float | str]] = [list(row) for row in tiny_scores(60)]
    for row in (3, 17, 40):
        scores[row][0] = ""
    scores[5][2] = ""
    return write_tiny_cars(tmp_path_factory.mktemp("gaps"), scores)


def test_missing_scores_are_an_error_by_default(gaps: Path) -> None:
    with pytest.raises(DataError, match=r"4 rows are without all scores: scores\.csv, line 5 \(Moira\)"):
        cars(gaps).setup()
    assert cars(gaps, raters=["Ferdinando"]).train_size == 48  # who rated everything


def test_missing_scores_leave_the_picture_out_of_all_splits(gaps: Path) -> None:
    data = cars(gaps, missing="drop")
    seen = [row for split in ("train", "val", "test") for row in rows_of(data, split)]
    assert sorted(seen) == [row for row in range(60) if row not in (3, 5, 17, 40)]


def test_missing_scores_count_as_the_mean(gaps: Path) -> None:
    data = cars(gaps, missing="mean", raters=["Moira", "Esther"], sampling="consensus")
    seen = [(split, row) for split in ("train", "val", "test") for row in rows_of(data, split)]
    assert sorted(row for _, row in seen) == list(range(60))
    for split in ("train", "val", "test"):
        vector = data.batch(split, slice(None)).condition.vector  # type: ignore[arg-type]
        assert vector is not None and bool(torch.isfinite(vector).all())
        for row, values in zip(rows_of(data, split), vector.tolist(), strict=True):
            assert values[0] == 0 or row not in (3, 17, 40)
            assert values[1] == 0 or row != 5


@pytest.mark.parametrize("sampling", ["product", "consensus"])
def test_the_train_loader_draws_by_the_weights(root: Path, sampling: str) -> None:
    data = cars(root, raters=["Esther"], sampling=sampling, sampling_raters=["Moira", "Ferdinando"])
    data.setup("fit")
    loader = data.train_dataloader()
    drawn: Counter[int] = Counter()
    for epoch in range(250):
        loader.batch_sampler.set_epoch(epoch)
        drawn.update(row for batch in loader.batch_sampler for row in batch)
    scores = np.array(tiny_scores(60))[rows_of(data)][:, :2]
    weights = sampling_weights(scores, sampling, [0, 9])  # type: ignore[arg-type]
    wanted = weights / weights.sum()
    total = sum(drawn.values())
    found = np.array([drawn[row] for row in range(data.size("train"))]) / total
    # Six standard deviations of a binomial share.
    assert (np.abs(found - wanted) <= 6 * np.sqrt(wanted * (1 - wanted) / total) + 1e-12).all()
    assert (found[weights == 0] == 0).all()
    # Everything else sees each image once.
    for other in (data.val_dataloader(), data.test_dataloader()):
        rows = [row for batch in other.batch_sampler for row in batch]
        assert sorted(rows) == list(range(len(rows)))


def test_without_weights_each_picture_comes_once(root: Path) -> None:
    data = cars(root)
    data.setup("fit")
    rows = [row for batch in data.train_dataloader().batch_sampler for row in batch]
    assert sorted(rows) == list(range(48))


def test_two_ranks_draw_together_what_one_process_draws(root: Path) -> None:
    data = cars(root, raters=["Moira", "Ferdinando"], sampling="product")
    data.setup("fit")
    weights = data.train_dataloader().batch_sampler.weights
    assert weights is not None and math.isclose(weights.sum(), 1)

    def order(rank: int, ranks: int, batch_size: int) -> BatchOrder:
        return BatchOrder(
            *(48, batch_size),
            **{"training": True, "shuffle": "full", "seed": 3, "rank": rank, "ranks": ranks},
            weights=weights,
        )

    alone, pair = order(0, 1, 8), [order(rank, 2, 4) for rank in range(2)]
    drawn: Counter[int] = Counter()
    for epoch in range(200):
        for plan in (alone, *pair):
            plan.set_epoch(epoch)
        halves = [list(plan) for plan in pair]
        assert [a + b for a, b in zip(*halves, strict=True)] == list(alone)
        assert halves[0] != halves[1]
        drawn.update(row for half in halves for batch in half for row in batch)
    total = sum(drawn.values())
    found = np.array([drawn[row] for row in range(48)]) / total
    assert (np.abs(found - weights) <= 6 * np.sqrt(weights * (1 - weights) / total) + 1e-12).all()


def test_weights_that_draw_nothing_are_refused_before_anything_is_prepared(tmp_path: Path) -> None:
    write_tiny_cars(tmp_path, [[0, 9], [9, 0]] * 20, ["Moira", "Ferdinando"])
    (tmp_path / "images" / "0.png").write_bytes(b"broken")
    for sampling in ("product", "consensus"):
        with pytest.raises(DataError, match=f"data.sampling {sampling}"):
            cars(tmp_path, sampling=sampling).setup()


def test_rows_without_files_and_files_without_rows_are_both_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tiny_cars(tmp_path, tiny_scores(40))
    (tmp_path / "images" / "7.png").rename(tmp_path / "images" / "seven.png")
    with pytest.raises(DataError) as error:
        cars(tmp_path).setup()
    assert "line 9" in str(error.value) and "seven.png" in str(error.value)
    with caplog.at_level(logging.WARNING):
        data = cars(tmp_path, on_error="skip")
        seen = [row for split in ("train", "val", "test") for row in rows_of(data, split)]
    assert sorted(seen) == [row for row in range(40) if row != 7]
    assert "line 9" in caplog.text and "seven.png" in caplog.text


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two steps by the shipped configuration."""
    folder = tmp_path_factory.mktemp("run")
    small = f"--data.root {root} --data.image_size 32 --data.batch_size 8 --trainer.limit_train_batches 2"
    short = "--trainer.max_epochs 1 --trainer.limit_val_batches 1 --trainer.enable_progress_bar false"
    widths = "--model.network.encoder_widths [8,8] --model.network.decoder_widths [8,8]"
    network = f"--model.network.latent_size 4 {widths}"
    options = [*small.split(), *short.split(), *network.split(), "--data.sampling", "product"]
    assert main(["fit", "--config", str(CONFIG), *options, "--trainer.default_root_dir", str(folder)]) == 0
    return folder / "runs" / "cvae_residual_cars" / "0" / "checkpoints" / "last.ckpt"


def test_the_checkpoint_keeps_mean_scale_and_range(run: Path, root: Path) -> None:
    data = cars(root, raters=["Moira", "Ferdinando"], image_size=32)
    kept = load_checkpoint(run)["hyper_parameters"]
    assert kept["condition_names"] == ["Moira", "Ferdinando"]
    assert list(kept["condition_range"]) == [0, 9]
    np.testing.assert_allclose(kept["condition_mean"], data.condition_mean)
    np.testing.assert_allclose(kept["condition_scale"], data.condition_scale)


def test_the_checkpoint_alone_samples_what_two_raters_like(run: Path, tmp_path: Path) -> None:
    pictures = {}
    for condition in ("Moira=9,Ferdinando=9", "ferdinando=9, moira=9", "Moira=0,Ferdinando=0"):
        output = tmp_path / str(len(pictures))
        options = ["--condition", condition, "--count", "2", "--output", str(output)]
        assert main(["sample", "--checkpoint", str(run), *options]) == 0
        files = sorted(output.rglob("*.png"))
        pictures[condition] = [np.asarray(Image.open(file)).tolist() for file in files]
        assert len(files) == 2
    first, again, other = pictures.values()
    assert first == again != other


def test_conditions_that_cannot_be_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def message(condition: str) -> str:
        return failed(capsys, "sample", "--checkpoint", run, "--condition", condition)

    assert "Moira=10" in message("Moira=10,Ferdinando=9") and "0 to 9" in message("Moira=-1,Ferdinando=9")
    assert "leaves out: Ferdinando" in message("Moira=9")
    assert "Did you mean 'Moira'?" in message("Mora=9,Ferdinando=9")
