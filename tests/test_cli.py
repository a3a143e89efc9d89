"""The command line, called as a user calls it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lightning_modules.cvae import CVAE
from tests.data.commands import failed
from vedute.batch import Batch
from vedute.cli import VERBS, main
from vedute.loggers import read_metrics

ROOT = Path(__file__).parents[1]
RUN = Path("runs/tiny/0")
BEST = RUN / "checkpoints" / "best.ckpt"
LAST = RUN / "checkpoints" / "last.ckpt"


# Help and verbs


def test_help_lists_every_verb_in_under_a_second_and_imports_no_torch() -> None:
    code = (
        "import sys, vedute.cli; code = vedute.cli.main(['--help']);"
        "sys.exit(code or 'torch' in sys.modules or 'lightning' in sys.modules)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert time.perf_counter() - start < 1
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for verb in VERBS:
        assert any(line.split()[:1] == [verb.name] and verb.summary in line for line in lines)


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage:") and verb in said.splitlines()[0]


def test_an_unknown_verb_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'sample'?" in failed(capsys, "smaple")


def test_version_and_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0 and main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith("vedute ") and "usage:" in said


# Training


def test_a_run_leaves_everything_in_its_folder(trained: Path) -> None:
    for name in ("config.yaml", "metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
        assert (RUN / name).is_file(), name
    assert list(RUN.glob("events.out.tfevents.*")) and list(RUN.glob("samples/epoch_*.png"))
    assert not list(trained.rglob("lightning_logs")) and not (RUN / "hparams.yaml").exists()
    rows = read_metrics(RUN / "metrics.csv")
    assert [int(row["step"]) for row in rows if row["train/loss"]] == list(range(10))
    assert [int(row["epoch"]) for row in rows if row["val/loss"]] == [0, 1]


def test_the_commands_that_a_training_suggests_work(
    trained: Path, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", str(tiny_config), "--trainer.max_epochs", "1"]) == 0
    said = capsys.readouterr().out
    assert "runs/tiny/1" in said and "train/loss" in said and "val/loss" in said
    assert "tip" not in said.lower() and "litlogger" not in said.lower()
    for word in said.replace("'", "").split():
        if word.startswith("runs/") and word.rstrip(".") not in ("samples.png", "pairs.png"):
            assert Path(word).exists(), word
    commands = [shlex.split(line) for line in said.splitlines() if line.startswith("  vedute ")]
    assert [command[1] for command in commands] == ["sample", "reconstruct", "evaluate"]
    for command in commands[:2]:
        assert main(command[1:]) == 0
    assert Path("samples.png").is_file() and Path("pairs.png").is_file()
    assert Path(commands[2][commands[2].index("--checkpoint") + 1]).is_file()


def test_a_run_is_continued_in_its_own_folder(trained: Path, tiny_config: Path) -> None:
    before = read_metrics(RUN / "metrics.csv")
    more = ["--config", str(tiny_config), "--trainer.max_epochs", "3"]
    assert main(["fit", *more, "--ckpt_path", "last"]) == 0
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["0"]
    after = read_metrics(RUN / "metrics.csv")
    assert after[: len(before)] == before, "earlier rows stay"
    steps = [int(row["step"]) for row in after if row["train/loss"]]
    assert steps == list(range(15))
    assert "max_epochs: 2" in (RUN / "config-before-0.yaml").read_text()
    assert "max_epochs: 3" in (RUN / "config.yaml").read_text()
    assert "ckpt_path: null" in (RUN / "config.yaml").read_text()


def test_rows_after_the_checkpoint_are_repeated_once(trained: Path) -> None:
    rows = (RUN / "metrics.csv").read_text().splitlines()
    surplus = rows[-1].split(",")
    surplus[0] = "10"
    (RUN / "metrics.csv").write_text("\n".join([*rows, ",".join(surplus)]) + "\n")
    assert main(["fit", "--ckpt_path", str(LAST), "--trainer.max_epochs", "3"]) == 0
    after = read_metrics(RUN / "metrics.csv")
    assert [int(row["step"]) for row in after if row["train/loss"]] == list(range(15))
    assert [int(row["epoch"]) for row in after if row["val/loss"]] == [0, 1, 2]


def test_a_run_is_not_continued_on_other_data_by_mistake(
    trained: Path, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (RUN / "config.yaml").read_text()
    said = failed(
        capsys,
        "fit",
        "--config",
        tiny_config,
        "--data.root",
        "null",
        "--ckpt_path",
        "last",
        "--seed_everything",
        "1",
    )
    assert "data.root was" in said and "seed_everything was 0, is 1" in said
    assert str(LAST) in said, "and how to continue"
    assert (RUN / "config.yaml").read_text() == before


def test_from_another_state_than_the_last_a_new_run_branches_off(trained: Path) -> None:
    before = (RUN / "metrics.csv").read_bytes()
    assert main(["fit", "--ckpt_path", str(BEST), "--trainer.max_epochs", "3"]) == 0
    assert (RUN / "metrics.csv").read_bytes() == before
    assert Path("runs/tiny/1/checkpoints/last.ckpt").is_file()


def test_there_is_nothing_to_continue(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = failed(capsys, "fit", "--config", tiny_config, "--ckpt_path", "last")
    assert "no last.ckpt of 'tiny'" in said
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.root", "missing"], "missing"),
        (["--data.batch_size", "1000"], "batch"),
        (["--data.image_size", "33"], "33"),
        (["--data.classes", "[Coast, Forrest]"], "Forrest"),
        (["--trainer.max_epoch", "3"], "max_epoch"),
        (["--trainer.max_epochs", "many"], "max_epochs"),
        (["--model.kl_wait", "3"], "kl_wait"),
        (["--model", "lightning_modules.missing.Model"], "lightning_modules.missing"),
        (["--trainer.accelerator", "toaster"], "toaster"),
        (["--trainer.precision", "7"], "precision"),
        (["--checkpoint.minutes", "0"], "minutes"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(
    options: list[str],
    said: str,
    tiny_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in failed(capsys, "fit", "--config", tiny_config, *options)
    assert not list(tmp_path.glob("runs/tiny/*"))


def test_missing_configurations(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failed(capsys, "fit", "--config", tiny_config.with_name("tinny.yaml"))
    assert "tinny.yaml" in said and f"Did you mean {tiny_config}" in said
    assert "needs a configuration" in failed(capsys, "fit")
    assert "is a folder" in failed(capsys, "fit", "--config", tiny_config.parent)
    for verb in ("test", "validate", "predict"):
        assert "--ckpt_path" in failed(capsys, verb, "--config", tiny_config)
    assert "give --config too" in failed(capsys, "fit", "--ckpt_path", "last")


def test_loggers_can_be_switched_off(trained: Path, tiny_config: Path) -> None:
    assert (
        main(["fit", "--config", str(tiny_config), "--trainer.logger", "false", "--trainer.max_epochs", "1"])
        == 0
    )
    folder = Path("runs/tiny/1")
    assert (folder / "checkpoints" / "last.ckpt").is_file() and (folder / "config.yaml").is_file()
    assert not (folder / "metrics.csv").exists() and not list(folder.glob("events*"))


def test_a_trial_run_leaves_nothing(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", str(tiny_config), "--trainer.fast_dev_run", "true"]) == 0
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    trained: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = CVAE.training_step

    def interrupted(self: CVAE, batch: Batch) -> torch.Tensor:
        if self.global_step == 13:  # of the third epoch's five batches the fourth
            raise KeyboardInterrupt
        return step(self, batch)

    options = ["--config", str(tiny_config), "--trainer.max_epochs", "4", "--checkpoint.minutes", "1e-9"]
    with monkeypatch.context() as patch:
        patch.setattr(CVAE, "training_step", interrupted)
        assert main(["fit", *options]) == 130
    said = capsys.readouterr().err
    last = Path("runs/tiny/1/checkpoints/last.ckpt")
    assert str(last) in said and "Traceback" not in said
    assert torch.load(last, weights_only=True)["global_step"] == 13, "written amid the epoch"
    command = next(line for line in said.splitlines() if "--ckpt_path" in line)
    assert main(shlex.split(command)[1:]) == 0
    assert main(["fit", *options]) == 0
    names = ("step", "epoch", "train/loss", "val/loss")
    first, second = (
        [
            [row[name] for name in names]
            for row in read_metrics(Path(f"runs/tiny/{run}/metrics.csv"))
            if row["epoch"]
        ]
        for run in (1, 2)
    )
    assert len(first) > 20 and first == second


def test_a_plain_training_needs_neither_wandb_nor_kornia(trained: Path) -> None:
    code = (
        "import sys; from vedute.cli import main;"
        f"code = main(['fit', '--ckpt_path', {str(LAST)!r}, '--trainer.max_epochs', '3']);"
        "sys.exit(code or [m for m in ('wandb', 'kornia') if m in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for noise in ("Tip", "litlogger", "num_workers", "Warning", "HPU", "Seed set"):
        assert noise not in done.stdout + done.stderr, noise
