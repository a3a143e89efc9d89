"""Run folders and the table of metrics in them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lightning.pytorch import Trainer

from vedute.loggers import RunCSVLogger, read_metrics
from vedute.run_folder import (
    RunFolder,
    folder_of_checkpoint,
    newest_checkpoint,
    next_run_folder,
    run_folder,
    run_folders,
    run_name,
    write_config,
)


def test_runs_are_named_after_the_configuration_also_when_it_is_the_one_a_run_holds() -> None:
    assert run_name(Path("configs/cvae_landscapes.yaml")) == "cvae_landscapes"
    assert run_name(Path("runs/cvae_landscapes/3/config.yaml")) == "cvae_landscapes"
    assert run_name(Path("elsewhere/config.yaml")) == "config"


def test_two_processes_never_get_the_same_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: next_run_folder(tmp_path, "tiny"), range(24)))
    assert len(set(folders)) == 24
    assert [path.name for path in run_folders(tmp_path, "tiny")] == [str(n) for n in range(24)]


def test_numbers_go_on_after_the_highest_and_are_ordered_as_numbers(tmp_path: Path) -> None:
    for name in ("2", "10", "notes"):
        (tmp_path / "runs" / "tiny" / name).mkdir(parents=True)
    assert [path.name for path in run_folders(tmp_path, "tiny")] == ["2", "10"]
    assert next_run_folder(tmp_path, "tiny").name == "11"


def test_the_newest_run_that_has_a_checkpoint_is_found(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, "tiny", "last") is None
    for number in (0, 9, 10):
        folder = tmp_path / "runs" / "tiny" / str(number)
        folder.mkdir(parents=True)
        if number != 10:
            (folder / "checkpoints").mkdir()
            (folder / "checkpoints" / "last.ckpt").touch()
    found = newest_checkpoint(tmp_path, "tiny", "last")
    assert found == tmp_path / "runs" / "tiny" / "9" / "checkpoints" / "last.ckpt"
    assert folder_of_checkpoint(found) == tmp_path / "runs" / "tiny" / "9"
    assert newest_checkpoint(tmp_path, "tiny", "best") is None


def test_a_changed_configuration_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "run" / "config.yaml"
    for text in ("a: 1\n", "a: 1\n", "a: 2\n", "a: 3\n"):
        write_config(path, text)
    names = {file.name: file.read_text() for file in path.parent.iterdir()}
    assert names == {
        "config.yaml": "a: 3\n",
        "config-before-0.yaml": "a: 1\n",
        "config-before-1.yaml": "a: 2\n",
    }


def test_a_trainer_made_by_hand_has_a_folder_too(tmp_path: Path) -> None:
    by_hand = Trainer(default_root_dir=tmp_path, logger=False, accelerator="cpu", enable_progress_bar=False)
    assert run_folder(by_hand) == tmp_path
    by_hand.callbacks.append(RunFolder(tmp_path / "own"))  # type: ignore[attr-defined]
    assert run_folder(by_hand) == tmp_path / "own"


def test_the_table_takes_new_columns_and_keeps_every_row(tmp_path: Path) -> None:
    logger = RunCSVLogger(tmp_path)
    logger.log_metrics({"train/loss": 0.1, "epoch": 0}, step=0)
    logger.log_metrics({"val/loss": 1 / 3, "epoch": 0}, step=0)
    logger.log_metrics({"train/loss": 0.2, "epoch": 1}, step=1)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert list(rows[0]) == ["step", "epoch", "train/loss", "val/loss"]
    assert [(row["step"], row["train/loss"], row["val/loss"]) for row in rows] == [
        ("0", "0.1", ""),
        ("0", "", repr(1 / 3)),
        ("1", "0.2", ""),
    ]


def test_a_resumed_table_loses_the_rows_that_are_repeated_and_no_other(tmp_path: Path) -> None:
    first = RunCSVLogger(tmp_path)
    for step in range(6):
        first.log_metrics({"loss": step / 10}, step=step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("6,,0.")  # a kill amid a line
    second = RunCSVLogger(tmp_path, kept_step=3)
    assert len(read_metrics(tmp_path / "metrics.csv")) == 6, "nothing is dropped before training goes on"
    second.log_metrics({"loss": 0.44, "new": 1.0}, step=4)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [(row["step"], row["loss"], row["new"]) for row in rows] == [
        ("0", "0.0", ""),
        ("1", "0.1", ""),
        ("2", "0.2", ""),
        ("3", "0.3", ""),
        ("4", "0.44", "1.0"),
    ]
