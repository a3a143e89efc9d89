"""``compare``: run folders of tiny runs, with quality cards written by hand."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from lightning_modules.cvae import CVAE
from tests.data.commands import failed
from vedute.checkpoints import load_module
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.report.landscape_table import landscape_table
from vedute.report.run_record import read_run
from vedute.report.table_files import Cell, Column, Row, ScoreTable, as_text, rich_table

NAMES = ["coast", "forest"]
JUDGE = "runs/judge/0/checkpoints/best.ckpt"


def write_card(run: Path, quality: float, distance: float, ratio: float, **more: object) -> None:
    card: dict[str, object] = {
        "checkpoint": str(run / "checkpoints" / "best.ckpt"),
        "classifier": JUDGE,
        "quality": {"generated": {"mean": quality, **dict.fromkeys(NAMES, quality)}},
        "distances": {"fd_classifier": {"generated": distance, "floor": 1.0}},
        "diversity": {"classifier": {"generated": 2 * ratio, "real": 2.0, "ratio": ratio}},
        "settings": {"count": 128, "seed": 0},
    }
    (run / "evaluation.json").write_text(json.dumps({**card, **more}))


def compare(*args: str | Path) -> int:
    return main(["compare", "--table", "landscapes", *map(str, args)])


def compared(*args: str | Path) -> tuple[list[dict[str, object]], list[str]]:
    assert compare(*args, "--output", "table.json") == 0
    content = json.loads(Path("table.json").read_text())
    return content["rows"], content["notes"]


@pytest.fixture
def two(trained: Path) -> tuple[Path, Path]:
    """Return two repeats of one run: the second one's configuration has another seed."""
    first, second = Path("runs/tiny/0"), Path("runs/tiny/1")
    shutil.copytree(first, second)
    config = (second / "config.yaml").read_text()
    assert "seed_everything: 0" in config
    (second / "config.yaml").write_text(config.replace("seed_everything: 0", "seed_everything: 1"))
    return first, second


def test_a_row_says_what_the_run_folder_says(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("runs/tiny/0")
    write_card(run, 0.5, 12.5, 0.75)
    rows, _ = compared(run)
    (row,) = rows
    module = load_module(run / "checkpoints" / "best.ckpt", CVAE)
    assert (row["variant"], row["runs"], row["epochs"], row["D"]) == ("tiny", ["tiny/0"], 2, 4)
    assert row["W"] == sum(one.numel() for one in module.parameters() if one.requires_grad)
    assert (row["latent_activation"], row["lambda"], row["c"]) == ("linear", 1, 1)
    with (run / "metrics.csv").open() as file:
        losses = [line for line in csv.DictReader(file) if line["val/loss"]]
    best = min(losses, key=lambda line: float(line["val/loss"]))
    assert row["E_recon"] == pytest.approx(float(best["val/mse"]) * module.train_size)
    assert row["E_regul"] == pytest.approx(float(best["val/kl"]))
    assert row["L"] == pytest.approx(float(best["val/loss"]), rel=1e-5), "lambda and c are 1 here"
    assert (row["Q_avg"], row["Q_coast"], row["fd_classifier"], row["diversity_ratio"]) == (
        0.5,
        0.5,
        12.5,
        0.75,
    )
    said = capsys.readouterr().out
    assert "E_regul" in said and "50.0 %" in said and "Written to table.json" in said


def test_repeats_share_a_row_with_mean_and_half_the_range(two: tuple[Path, Path]) -> None:
    write_card(two[0], 0.5, 10, 0.7)
    write_card(two[1], 0.6, 14, 0.7)
    rows, notes = compared(*two)
    (row,) = rows
    assert row["variant"] == "tiny (2 runs)" and row["runs"] == ["tiny/0", "tiny/1"]
    assert row["Q_avg"] == {"mean": pytest.approx(0.55), "half_range": pytest.approx(0.05)}
    assert row["fd_classifier"] == {"mean": 12, "half_range": 2}
    assert any("half the range" in note for note in notes)
    separate, _ = compared(*two, "--separate")
    assert [one["variant"] for one in separate] == ["tiny/0", "tiny/1"]
    assert compare(*two, "--output", "table.md") == 0
    assert "55.0 ± 5.0 %" in Path("table.md").read_text()


def test_runs_with_other_options_are_no_repeats(two: tuple[Path, Path]) -> None:
    config = two[1] / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 2", "max_epochs: 7"))
    rows, _ = compared(*two)
    assert [row["variant"] for row in rows] == ["tiny/0", "tiny/1"]


def test_a_run_of_an_older_program_repeats_one_whose_new_options_are_off(two: tuple[Path, Path]) -> None:
    config = yaml.safe_load((two[1] / "config.yaml").read_text())
    del config["initial_weights"]
    (two[1] / "config.yaml").write_text(yaml.safe_dump(config))
    rows, _ = compared(*two)
    assert [row["runs"] for row in rows] == [["tiny/0", "tiny/1"]]
    del config["trainer"]["max_epochs"]
    (two[1] / "config.yaml").write_text(yaml.safe_dump(config))
    rows, _ = compared(*two)
    assert len(rows) == 2, "what is missing was on in the other"


def test_a_run_that_is_given_twice_counts_once(trained: Path) -> None:
    rows, _ = compared("runs/tiny/0", Path("runs/tiny/0").absolute())
    assert [row["runs"] for row in rows] == [["tiny/0"]]


def test_gaps_are_dashes_and_the_commands_that_fill_them_are_named(two: tuple[Path, Path]) -> None:
    write_card(two[0], 0.5, 10, 0.7)
    assert compare(*two, "--separate", "--output", "table.md") == 0
    text = Path("table.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| tiny/1 ")]
    assert " - |" in line and "50.0 %" not in line
    checkpoint = Path("runs/tiny/1/checkpoints/best.ckpt")
    assert f"evaluate --checkpoint {checkpoint} --classifier {JUDGE}" in text, "the other card's classifier"
    assert "tiny/0 has no scores" not in text
    rows, _ = compared(*two)
    assert rows[0]["Q_avg"] is None, "a mean over fewer runs than the row says is none"


def test_time_is_taken_from_the_last_checkpoint(trained: Path) -> None:
    last = Path("runs/tiny/0/checkpoints/last.ckpt")
    content = torch.load(last, weights_only=True)
    content["callbacks"]["TimeBudget"] = {"processor_seconds": 600.0, "wall_seconds": 700.0}
    torch.save(content, last)
    rows, _ = compared("runs/tiny/0")
    assert rows[0]["T_processor_seconds"] == 600
    assert compare("runs/tiny/0", "--output", "table.md") == 0
    assert "10.0 min" in Path("table.md").read_text()


def test_csv_has_plain_numbers(two: tuple[Path, Path]) -> None:
    write_card(two[0], 0.5, 10, 0.7)
    write_card(two[1], 0.6, 14, 0.7)
    assert compare(*two, "--output", "table.csv") == 0
    with Path("table.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["Q_avg"]) == pytest.approx(0.55) and float(row["Q_avg_half_range"]) == pytest.approx(
        0.05
    )
    assert row["variant"] == "tiny (2 runs)" and row["latent_activation"] == "linear"


def test_what_makes_rows_incomparable_is_said(two: tuple[Path, Path]) -> None:
    write_card(two[0], 0.5, 10, 0.7)
    write_card(two[1], 0.6, 14, 0.7, classifier="other.ckpt", checkpoint="runs/tiny/1/checkpoints/last.ckpt")
    _, notes = compared(*two)
    said = " ".join(notes)
    assert "different classifiers" in said and "other.ckpt" in said
    assert "the card of tiny/1 is of runs/tiny/1/checkpoints/last.ckpt" in said


# The table itself


def table_of(values: list[float | None], best: str) -> ScoreTable:
    column = Column("score", "score", lambda value: f"{value:g}", best)  # type: ignore[arg-type]
    rows = [Row(f"row {number}", [], [Cell(value)]) for number, value in enumerate(values)]
    return ScoreTable("variant", [column], rows, [])


@pytest.mark.parametrize(
    ("best", "values", "bold"),
    [
        ("highest", [1, 3, None, 3], [1, 3]),
        ("lowest", [1, 3, None, 3], [0]),
        ("nearest to 1", [0.8, 1.1, 1.5, None], [1]),
        ("highest", [1, None], []),
    ],
)
def test_the_best_value_of_a_column_is_bold(best: str, values: list[float | None], bold: list[int]) -> None:
    lines = as_text(table_of(values, best), ".md").splitlines()[2:]
    assert [number for number, line in enumerate(lines) if "**" in line] == bold
    assert rich_table(table_of(values, best)).row_count == len(values)


@pytest.mark.parametrize(
    ("text", "mean", "half", "shown"),
    [
        (lambda value: f"{value / 60:.1f} min", 600.0, 30.0, "10.0 ± 0.5 min"),
        (lambda value: f"{value / 1e6:.1f}M", 2.5e6, 1e5, "2.5M ± 0.1M"),
        (lambda value: f"{value:,.0f}", 1234.0, 5.0, "1,234 ± 5.0"),
        (lambda value: f"{100 * value:.1f} %", 0.0, 0.01, "0.0 ± 0.0 %"),
    ],
)
def test_half_the_range_has_the_unit_of_the_mean(
    text: Callable[[float], str], mean: float, half: float, shown: str
) -> None:
    assert Column("score", "score", text).shown(Cell(mean, half)) == shown


# Mistakes


def test_mistakes_are_told(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["compare", "--table", "landscapes"]
    assert "does not exist" in failed(capsys, *base, "runs/none/0")
    assert "holds 1 runs and is none itself: give runs/tiny/0" in failed(capsys, *base, "runs/tiny")
    assert "is a file" in failed(capsys, *base, "runs/tiny/0/metrics.csv")
    Path("empty").mkdir()
    assert "no run folder" in failed(capsys, *base, "empty")
    assert ".md, .csv, .json" in failed(capsys, *base, "runs/tiny/0", "--output", "table.html")
    Path("runs/tiny/0/evaluation.json").write_text("{")
    assert "evaluation.json is damaged" in failed(capsys, *base, "runs/tiny/0")
    Path("runs/tiny/0/evaluation.json").unlink()
    Path("runs/tiny/0/metrics.csv").write_text("step,epoch\nx,1\n")
    assert "metrics.csv is damaged" in failed(capsys, *base, "runs/tiny/0")
    assert not Path("landscapes.md").exists()


def test_runs_on_other_data_are_refused(
    trained: Path, class_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path("runs/tiny/0/config.yaml")
    short = [
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_train_batches",
        "1",
        "--trainer.enable_progress_bar",
    ]
    fit = ["fit", "--config", str(config), *short, "false", "--trainer.default_root_dir"]
    assert main([*fit, "one", "--data.classes", "[Forest]"]) == 0
    message = failed(capsys, "compare", "--table", "landscapes", "runs/tiny/0", "one/runs/tiny/0")
    assert "one/runs/tiny/0 is a run on other data" in message and "classes coast, forest" in message


def test_an_unconditional_run_on_the_same_data_has_a_row(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = read_run(Path("runs/tiny/0"))
    module = read_run(Path("runs/tiny/0")).module
    module.condition_kind, module.condition_names = "none", []  # type: ignore[assignment]
    unconditional = replace(record, configuration="vae", module=module)
    table = landscape_table([record, unconditional])
    assert [row.name for row in table.rows] == ["tiny", "vae"]
    with pytest.raises(ConfigurationError, match="None of the runs has classes"):
        landscape_table([unconditional])
