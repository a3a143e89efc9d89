"""Which conditions are shown of a generator: in training, and by ``sample``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.commands import failed
from tests.data.judged import MaskedDataModule, RatedDataModule, write_config
from vedute import checkpoints
from vedute.cli import main
from vedute.promises import as_image_data
from vedute.rows import beside_conditions
from vedute.sampling.conditions import image_rows, spread, vector_rows

CVAE = """{class_path: lightning_modules.cvae.CVAE, init_args: {
  network: {class_path: vedute.networks.residual_vae.ResidualVAE, init_args:
    {latent_size: 4, encoder_widths: [8, 8, 8], decoder_widths: [8, 8, 8]}},
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}}}"""
PAINTER = """{class_path: tests.data.judged.MaskPainter, init_args: {
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}}}"""
GRID = "vedute.callbacks.sample_grid.SampleGrid"


def scored(
    names: list[str],
    mean: list[float] | None = None,
    scale: list[float] | None = None,
    legal: list[float] | None = None,
) -> SimpleNamespace:
    return SimpleNamespace(
        condition_kind="score",
        condition_names=names,
        condition_mean=mean or [],
        condition_scale=scale or [],
        condition_range=legal or [],
    )


# Rows


def test_scores_have_low_middle_and_high_rows_of_all_and_of_each_rater() -> None:
    model = scored(["Moira", "Louie"], [5.0, 4.2], [2.0, 2.1], [0.0, 9.0])
    titles, condition = vector_rows(model, 12)
    assert titles == ["all low", "all mean", "all high", "Moira 2", "Moira 8", "Louie 1", "Louie 7"]
    assert condition.vector is not None
    scores = condition.vector * torch.tensor([2.0, 2.1]) + torch.tensor([5.0, 4.2])
    expected = [[2, 1], [5, 4.2], [8, 7], [2, 4.2], [8, 4.2], [5, 1], [5, 7]]
    assert torch.allclose(scores, torch.tensor(expected), atol=1e-5)


def test_one_rater_has_three_rows_within_the_legal_range_and_round() -> None:
    titles, condition = vector_rows(scored(["Moira"], [7.46], [1.93], [0.0, 9.0]), 12)
    assert titles == ["Moira 5", "Moira 7", "Moira 9"] and condition.vector is not None
    assert condition.vector.shape == (3, 1) and len(torch.unique(condition.vector)) == 3
    titles, _ = vector_rows(scored(["share"], [0.52], [0.11]), 12)
    assert titles == ["share 0.4", "share 0.5", "share 0.7"]


@pytest.mark.parametrize(("limit", "rows"), [(1, 1), (3, 3), (4, 3), (12, 11), (40, 15)])
def test_many_raters_fill_the_rows_in_pairs(limit: int, rows: int) -> None:
    titles, condition = vector_rows(scored([f"rater {n}" for n in range(6)]), limit)
    assert len(titles) == rows == len(condition) and len(set(titles)) == rows


def test_classes_have_a_row_each() -> None:
    model = SimpleNamespace(**{**vars(scored(["coast", "desert", "forest"])), "condition_kind": "class"})
    titles, condition = vector_rows(model, 2)
    assert titles == ["coast", "desert"] and condition.vector is not None
    assert condition.vector.tolist() == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(TypeError, match="what its conditions mean"):
        vector_rows(object(), 2)


def test_masks_come_from_all_over_the_split() -> None:
    data = MaskedDataModule(image_size=32)
    model = SimpleNamespace(device="cpu", condition_of=lambda batch: batch.condition)
    titles, condition, real = image_rows(model, as_image_data(data), "val", 4)  # type: ignore[arg-type]
    assert titles == ["val 0", "val 2", "val 4", "val 6"]
    wanted = data.batch("val", [0, 2, 4, 6])
    assert condition.vector is None and condition.image is not None and wanted.condition.image is not None
    assert torch.equal(condition.image, wanted.condition.image) and torch.equal(real, wanted.image)
    assert spread(3, 8) == [0, 1, 2] and spread(100, 4) == [0, 25, 50, 75]


def test_conditions_stand_before_their_images() -> None:
    images = torch.arange(6).view(6, 1, 1, 1).expand(6, 3, 8, 8) / 10
    masks = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)  # of another size
    rows = beside_conditions(images, masks)
    assert rows.shape == (8, 3, 8, 8)
    assert rows[:, 1, 3, 3].tolist() == pytest.approx([1.0, 0.0, 0.1, 0.2, 0.0, 0.3, 0.4, 0.5])


# Through the command line


def trained(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch, model: str = CVAE) -> Path:
    """Train a tiny generator for an epoch in the current folder, and return its run folder."""
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path / "tiny.yaml", model, data, "checkpoint: {monitor: val/loss, mode: min}")
    options = [f"--trainer.callbacks+={GRID}", "--trainer.callbacks.init_args.columns", "3"]
    assert main(["fit", "--config", str(config), *options, "--trainer.max_epochs", "1"]) == 0
    return tmp_path / "runs" / "tiny" / "0"


def size(path: Path) -> tuple[int, int]:
    """Return how many rows and columns of 128-pixel images a grid has; titles take part of a column."""
    picture = Image.open(path)
    return round(picture.height / 132), picture.width // 132


def test_a_model_of_scores_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path, "RatedDataModule", monkeypatch)
    assert size(run / "samples" / "epoch_0001.png") == (7, 3)
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["sample", "--checkpoint", best, "--count", "2", "--output", "grid.png"]) == 0
    assert size(tmp_path / "grid.png") == (7, 2)
    wanted = ["--condition", "moira=9,LOUIE=1", "--condition", "Moira=0,Louie=8.5"]
    assert main(["sample", "--checkpoint", best, "--count", "1", "--output", "two", *wanted]) == 0
    with (tmp_path / "two" / "conditions.csv").open() as file:
        assert [row["condition"] for row in csv.DictReader(file)] == wanted[1::2]
    first, second = (np.asarray(Image.open(path)) for path in sorted((tmp_path / "two").glob("*.png")))
    assert (first != second).any()
    told = failed(capsys, "sample", "--checkpoint", best, "--condition", "Moira=10,Louie=2")
    assert "Moira=10" in told and "range" in told
    told = failed(capsys, "sample", "--checkpoint", best, "--condition", "Moira=9")
    assert "leaves out: Louie" in told


def test_a_model_of_masks_shows_them_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoints, "ALLOWED_PACKAGES", (*checkpoints.ALLOWED_PACKAGES, "tests"))
    monkeypatch.setattr(checkpoints, "_OWN_PACKAGES", (*checkpoints._OWN_PACKAGES, "tests"))
    run = trained(tmp_path, "MaskedDataModule", monkeypatch, PAINTER)
    assert size(run / "samples" / "epoch_0001.png") == (8, 5), "mask, real image, three samples"
    best = str(run / "checkpoints" / "best.ckpt")
    options = ["sample", "--checkpoint", best, "--count", "2"]
    assert main([*options, "--output", "grid.png"]) == 0
    assert size(tmp_path / "grid.png") == (8, 3)
    assert main([*options, "--output", "folder"]) == 0
    assert len(list((tmp_path / "folder").glob("val_*_seed00000?.png"))) == 16

    # Masks of the user's own
    grey = np.zeros((40, 60), np.uint8)
    grey[10:30, 20:40] = 200
    Image.fromarray(grey).save("block.png")
    Image.fromarray((grey > 0).astype(np.uint8)).save("ones.png")
    capsys.readouterr()
    masks = ["--condition", "block.png", "--condition", "ones.png"]
    assert main([*options, *masks, "--output", "own"]) == 0
    assert "1 of 2 masks hold grey" in capsys.readouterr().out
    painted = {path.name: np.asarray(Image.open(path)) > 0 for path in (tmp_path / "own").glob("*.png")}
    assert sorted(painted) == [f"{name}_seed00000{seed}.png" for name in ("block", "ones") for seed in (0, 1)]
    for image in painted.values():
        assert image[9:23, 9:23].all(), "half of the height, and of the width that is left"
        assert not image[:7].any() and not image[:, 25:].any()
    told = failed(capsys, *options, "--condition", "nothing.png")
    assert "nothing.png" in told and "image file" in told
    Path("broken.png").write_bytes(b"no picture")
    assert "broken.png" in failed(capsys, *options, "--condition", "broken.png")


def test_evaluate_takes_scores_and_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoints, "ALLOWED_PACKAGES", (*checkpoints.ALLOWED_PACKAGES, "tests"))
    monkeypatch.setattr(checkpoints, "_OWN_PACKAGES", (*checkpoints._OWN_PACKAGES, "tests"))
    for data, model in (("RatedDataModule", CVAE), ("MaskedDataModule", PAINTER)):
        folder = tmp_path / data
        folder.mkdir()
        best = str(trained(folder, data, monkeypatch, model) / "checkpoints" / "best.ckpt")
        assert main(["evaluate", "--checkpoint", best, "--count", "9", "--output", "card.json"]) == 0
        card = json.loads(Path("card.json").read_text())
        assert card["quality"] is None and card["classes"] == []
        assert card["distances"]["fd_pixels"]["images_per_side"] >= 8
        assert Image.open("card.png").width > 300
        told = failed(capsys, "evaluate", "--checkpoint", best, "--classifier", best)
        assert "a classifier is needed" in told


def test_scores_of_the_data_are_legal() -> None:
    data = RatedDataModule(image_size=32)
    titles, condition = vector_rows(data, 12)
    assert len(titles) == 7 and condition.vector is not None
    scores = condition.vector * torch.tensor(data.condition_scale) + torch.tensor(data.condition_mean)
    assert float(scores.min()) >= 0 and float(scores.max()) <= 9
