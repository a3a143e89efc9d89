"""The verbs that use a trained model, and doctor, called as a user calls them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.commands import failed
from vedute.cli import main
from vedute.loggers import read_metrics

RUN = Path("runs/tiny/0")
BEST = RUN / "checkpoints" / "best.ckpt"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


# Scoring


def test_a_checkpoint_is_scored_alone_as_in_its_run(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "--ckpt_path", str(BEST)]) == 0
    assert "test/loss" in capsys.readouterr().out
    report = json.loads((RUN / "test_metrics.json").read_text())
    assert report["images"] == 8 and report["split"] == "test" and report["metrics"]["test/loss"] > 0
    alone = trained / "alone"
    alone.mkdir()
    BEST.rename(alone / "model.ckpt")
    options = ["--trainer.precision", "32-true"]
    assert main(["test", "--ckpt_path", str(alone / "model.ckpt"), *options]) == 0
    again = json.loads((alone / "test_metrics.json").read_text())
    assert again["metrics"] == pytest.approx(report["metrics"], rel=1e-5)
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["0"], "no new run"


def test_validation_scores_are_those_of_the_training(trained: Path, tiny_config: Path) -> None:
    assert main(["validate", "--config", str(tiny_config), "--ckpt_path", "last"]) == 0
    report = json.loads((RUN / "validate_metrics.json").read_text())
    logged = [row["val/kl"] for row in read_metrics(RUN / "metrics.csv") if row["val/kl"]]
    assert report["metrics"]["val/kl"] == pytest.approx(float(logged[-1]), rel=1e-5), "the loss draws noise"


def test_predict_writes_an_image_for_each_condition(trained: Path) -> None:
    assert main(["predict", "--ckpt_path", str(BEST)]) == 0
    names = sorted(path.name for path in (RUN / "predictions" / "best").iterdir())
    assert names == [f"{row:06d}_{'coast' if row < 4 else 'forest'}.png" for row in range(8)]


# Sampling


def test_an_image_depends_on_its_seed_and_condition_only(trained: Path) -> None:
    base = ["sample", "--checkpoint", str(BEST), "--condition", "coast"]
    assert main([*base, "--count", "5", "--seed", "3", "--output", "five"]) == 0
    both = [
        *base,
        "--condition",
        "forest",
        "--count",
        "2",
        "--seed",
        "4",
        "--batch-size",
        "1",
        "--output",
        "two",
    ]
    assert main(both) == 0
    for seed in (4, 5):
        name = f"coast_seed{seed:06d}.png"
        assert np.abs(pixels(Path("five") / name) - pixels(Path("two") / name)).max() <= 1
    with (Path("two") / "conditions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["condition"], row["seed"]) for row in rows] == [
        ("coast", "4"),
        ("coast", "5"),
        ("forest", "4"),
        ("forest", "5"),
    ]
    assert all((Path("two") / row["file"]).is_file() for row in rows)
    assert (pixels(Path("five/coast_seed000003.png")) != pixels(Path("five/coast_seed000004.png"))).any()


def test_without_a_condition_each_class_has_a_row(trained: Path) -> None:
    assert main(["sample", "--checkpoint", str(BEST), "--count", "3", "--output", "grid.png"]) == 0
    assert (
        main(
            [
                "sample",
                "--checkpoint",
                str(BEST),
                "--condition",
                "coast",
                "--count",
                "3",
                "--output",
                "row.png",
            ]
        )
        == 0
    )
    height, width = pixels(Path("grid.png")).shape[:2]
    assert 1.9 < height / pixels(Path("row.png")).shape[0] < 2.1 and width > height


def test_fuzzy_conditions_have_safe_file_names(trained: Path) -> None:
    text = "coast=0.7,forest=0.3"
    assert (
        main(["sample", "--checkpoint", str(BEST), "--condition", text, "--count", "1", "--output", "fuzzy"])
        == 0
    )
    assert Path("fuzzy/coast-0.7_forest-0.3_seed000000.png").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--condition", "cost"], "Did you mean 'coast'?"),
        (["--condition", "coast=0.7,forest=0.7"], "sum to at most 1"),
        (["--condition", "coast=much"], "no number"),
        (["--condition", "coast", "--condition", "coast"], "given twice"),
        (["--device", "cuda:99"], "does not work here"),
        (["--device", "toaster"], "does not work here"),
        (["--output", "grid.jpg"], ".png"),
    ],
)
def test_what_sample_cannot_use(
    trained: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in failed(capsys, "sample", "--checkpoint", BEST, *options)


# Reconstructing


def test_reconstruct_reads_a_folder_and_its_class_names(
    trained: Path, class_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["reconstruct", "--checkpoint", str(BEST), "--input"]
    assert main([*args, str(class_folders / "Testing Data"), "--output", "pairs.png"]) == 0
    assert "8 pairs in pairs.png; 8 of 8 classes known" in capsys.readouterr().out
    assert Path("pairs.png").is_file()
    one = class_folders / "Testing Data" / "Coast" / "0.png"
    (trained / "unnamed").mkdir()
    (trained / "unnamed" / "a.png").write_bytes(one.read_bytes())
    assert main([*args, "unnamed"]) == 0
    assert "0 of 1 classes known" in capsys.readouterr().out
    assert main([*args, "unnamed/a.png", "--condition", "coast"]) == 0
    assert "1 pairs" in capsys.readouterr().out


def test_reconstruct_takes_the_test_split_when_nothing_is_given(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", "--checkpoint", str(BEST), "--count", "3"]) == 0
    assert "3 pairs in pairs.png; images and classes of the test split" in capsys.readouterr().out


def test_what_reconstruct_cannot_use(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ("reconstruct", "--checkpoint", BEST, "--input")
    assert "does not exist" in failed(capsys, *args, "nowhere")
    (trained / "empty").mkdir()
    assert "no images" in failed(capsys, *args, "empty")
    (trained / "bad.png").write_bytes(b"not an image")
    assert "bad.png" in failed(capsys, *args, "bad.png")
    assert ".png" in failed(capsys, *args, "empty", "--output", "folder")


# The machine


def test_doctor_tells_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("VEDUTE_WEIGHTS", raising=False)
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = {finding["what"]: finding for finding in report["findings"]}
    assert report["works"] and torch.__version__.startswith(found["torch"]["detail"])
    assert found["torch and torchvision"]["state"] == "ok"
    weights = found["Inception weights"]
    assert weights["state"] == "missing" and str(tmp_path) in weights["advice"]

    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "weights-inception-2015-12-05-6726825d.pth").touch()
    assert main(["doctor", "--weights-dir", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "Inception weights" in said and "missing  Inception" not in said


def test_doctor_fails_when_something_essential_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torchvision

    def broken(*_: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", broken)
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    finding = next(f for f in report["findings"] if f["what"] == "torch and torchvision")
    assert finding["state"] == "broken" and "one place" in finding["advice"]
