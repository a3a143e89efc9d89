"""Sweeps of real, tiny trainings: what becomes of trials, what is left, what is refused."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna")

from tests.data.adversarial import assert_same_end
from tests.data.commands import failed
from vedute.checkpoints import load_checkpoint
from vedute.cli import main
from vedute.sweep.records import read_sweep
from vedute.sweep.storage import open_storage
from vedute.sweep.study import SweepStudy

ROOT = Path(__file__).parents[1]
OBJECTIVE = ["--objective", "val/loss:minimize"]
WHOLE = ["--config", "{config}", "--space", "{space}", "--trials", "1", *OBJECTIVE]
QUICK = ["--trainer.callbacks", "null", "--trainer.log_every_n_steps", "5"]


def space(**content: object) -> str:
    """Write a space into the current folder and return its name; underscores in pairs stand for points."""
    text = yaml.safe_dump({name.replace("__", "."): entry for name, entry in content.items()})
    Path("space.yaml").write_text(text, encoding="utf-8")
    return "space.yaml"


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def validations(run: Path) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row["val/loss"]) for row in csv.DictReader(file) if row.get("val/loss")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sweep_finds_values_that_fit_repeats(tiny_config: Path, folder: Path) -> None:
    given = space(
        model__optimizer__lr={"low": "1e-4", "high": 1e-2, "log": True},
        model__network={
            "values": {"narrow": {"class_path": NETWORK, "init_args": {"latent_size": 3, **WIDTHS}}}
        },
    )
    command = ["sweep", "--config", str(tiny_config), "--space", given, *OBJECTIVE, *QUICK]
    assert main([*command, "--trials", "2", "--workers", "2"]) == 0
    sweep = folder / "sweeps" / "tiny"
    first = table(sweep)
    assert [row["state"] for row in first] == ["complete"] * 2
    assert main([*command, "--trials", "3", "--seed", "1"]) == 0, "the study goes on"
    rows = table(sweep)
    assert rows[:2] == first and len(rows) == 3
    assert [row["run"] for row in rows] == [f"sweeps/tiny/runs/tiny/{number}" for number in range(3)]
    for row in rows:
        run = folder / row["run"]
        assert float(row["val/loss"]) == min(validations(run)) and (run / "checkpoints/best.ckpt").is_file()
        own = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]
        assert own["optimizer"]["init_args"]["lr"] == float(row["model.optimizer.lr"])
        assert own["network"]["init_args"]["latent_size"] == 3

    best = min(rows, key=lambda row: float(row["val/loss"]))
    assert main(["fit", "--config", "sweeps/tiny/best.yaml"]) == 0
    assert validations(folder / "runs/best/0") == validations(folder / best["run"])
    (sweep / "sweep.html").unlink()
    assert main(["sweep", "--report-only", "--output", "sweeps/tiny"]) == 0
    assert (sweep / "sweep.html").is_file() and table(sweep) == rows


NETWORK = "vedute.networks.residual_vae.ResidualVAE"
WIDTHS = {"encoder_widths": [8, 8, 8], "decoder_widths": [8, 8, 8]}


def test_failed_trials_are_noted_and_hopeless_ones_end_early(tiny_config: Path, folder: Path) -> None:
    rates = [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 1e30, 1e-12]
    batches = {"values": [-1, 1], "when": {"model.optimizer.lr": 1e-12}}
    given = space(model__optimizer__lr={"values": rates}, trainer__callbacks__init_args__batch=batches)
    # a process that ends amid its second batch, as a crash of a driver or a full memory does
    crash = ["--trainer.callbacks+=tests.data.interrupt.Die", "--trainer.callbacks.init_args.epoch=0"]
    command = [
        "sweep",
        "--config",
        str(tiny_config),
        "--space",
        given,
        "--sampler",
        "grid",
        *OBJECTIVE,
        *QUICK,
    ]
    assert main([*command, "--pruner", "median", *crash, "--trainer.callbacks.init_args.batch=-1"]) == 0
    rows = table(folder / "sweeps" / "tiny")
    assert [row["state"] for row in rows] == ["complete"] * 5 + ["failed", "pruned", "failed"]
    assert "is nan" in rows[5]["reason"] or "inf" in rows[5]["reason"]
    assert "code 137" in rows[7]["reason"]
    pruned = folder / rows[6]["run"]
    assert len(validations(pruned)) == 1 and load_checkpoint(pruned / "checkpoints/last.ckpt")["epoch"] == 0
    page = (folder / "sweeps/tiny/sweep.html").read_text()
    assert "code 137" in page and "1 trial failed (5)" in page


def test_a_sweep_whose_first_trials_all_fail_stops(
    tiny_config: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = space(data__batch_size={"low": 2, "high": 8})
    command = ["sweep", "--config", str(tiny_config), "--space", given, "--objective", "val/los:minimize"]
    message = failed(capsys, *command, "--trials", "9", "--trainer.max_epochs", "1", *QUICK)
    assert "first 3 trials" in message and "val/los" in message and "val/loss" in message
    assert "logs/2.txt" in message and "epoch 1" in (folder / "sweeps/tiny/logs/2.txt").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model__optimizr__lr": {"low": 1, "high": 2}}, "Did you mean model.optimizer"),
        ({"model__network__latnt_size": {"values": [1]}}, "did you mean latent_size?"),
        ({"model__network__latent_size": {"values": [2, "many"]}}, "cannot be many"),
        ({"trainr__max_epochs": {"values": [1]}}, "trainr.max_epochs"),
        ({"model__image_size": {"values": [3]}}, "model.image_size"),
    ],
)
def test_a_space_that_the_parser_refuses_starts_nothing(
    tiny_config: Path, folder: Path, capsys: pytest.CaptureFixture[str], content: dict[str, object], said: str
) -> None:
    given = space(**content)
    message = failed(
        *(capsys, "sweep", "--config", tiny_config, "--space", given, *OBJECTIVE, "--trials", "2", *QUICK)
    )
    assert said in message and not list(folder.rglob("*.ckpt")) and not list(folder.rglob("study.db"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--space", "{space}", *OBJECTIVE], "needs --config"),
        (["--config", "{config}", *OBJECTIVE], "needs --space"),
        (["--config", "{config}", "--space", "{space}"], "needs --objective"),
        (["--config", "{config}", "--space", "{space}", *OBJECTIVE], "needs --trials"),
        (["--config", "{config}", "--space", "none.yaml", *OBJECTIVE, "--trials", "1"], "no space none.yaml"),
        (
            ["--config", "no.yaml", "--space", "{space}", *OBJECTIVE, "--trials", "1"],
            "no configuration no.yaml",
        ),
        (["--config", "{config}", "--space", "{space}", "--objective", "x", "--trials", "1"], "x:"),
        (["--config", "{config}", "--space", "{space}", *OBJECTIVE, "--sampler", "grid"], "needs points"),
        (["--config", "{config}", "--space", "{space}", *OBJECTIVE, "--trials", "0"], "at least 1"),
        (["--config", "{config}", "--space", "{space}", *OBJECTIVE, "--sampler", "best"], "--sampler"),
        (
            [
                *(["--config", "{config}", "--space", "{space}", "--trials", "1"]),
                *OBJECTIVE,
                "--ckpt_path",
                "x",
            ],
            "ckpt_path",
        ),
        (
            [
                *(["--config", "{config}", "--space", "{space}", "--trials", "1", "--storage", "nowhere"]),
                *OBJECTIVE,
            ],
            "sqlite:///FILE",
        ),
        (
            [
                *(["--config", "{config}", "--space", "{space}", "--trials", "1", "--data.rot", "x"]),
                *OBJECTIVE,
            ],
            "rot",
        ),
        (
            [
                *(["--config", "{config}", "--space", "{space}", "--trials", "1", "--output", "{space}"]),
                *OBJECTIVE,
            ],
            "--output",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    tiny_config: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = space(model__optimizer__lr={"low": 1e-4, "high": 1e-2})
    message = failed(capsys, "sweep", *(one.format(config=tiny_config, space=given) for one in options))
    assert said in message.replace("NAME:minimize", "x:minimize")


def test_shipped_spaces_fit_the_configurations_that_they_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vedute.cli.sweep_configuration import parse
    from vedute.sweep.processes import Request
    from vedute.sweep.space_file import read_space

    shipped = sorted((ROOT / "configs" / "spaces").glob("*.yaml"))
    assert shipped
    for path in shipped:
        words = path.read_text(encoding="utf-8").replace("\\\n#", "").split()
        named = words[words.index("--config") + 1]
        assert words[words.index("--space") + 1] == f"configs/spaces/{path.name}"
        asked = Request(("--config", str(ROOT / named)), read_space(path).describe(), folder, {})
        assert parse(asked).text, path.name


def test_runs_of_a_sweep_are_grouped_at_weights_and_biases() -> None:
    from jsonargparse import Namespace

    from vedute.cli.sweep_trial import group_runs

    def logger(kind: str, group: str | None) -> Namespace:
        return Namespace(class_path=kind, init_args=Namespace(group=group))

    ours, own = (
        logger("vedute.loggers.WeightsAndBiases", None),
        logger("vedute.loggers.WeightsAndBiases", "mine"),
    )
    group_runs([ours, own, True], "study")
    group_runs(None, "study")
    assert ours["init_args"]["group"] == "study" and own["init_args"]["group"] == "mine"


def start(*args: object, **options: object) -> subprocess.Popen[str]:
    """Start a sweep as a command of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), "sweep", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,  # type: ignore[call-overload]  # of the test's own making
    )


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite:///shared.db", "journal:shared.journal"])
def test_two_commands_share_a_study(tiny_config: Path, folder: Path, storage: str) -> None:
    given = space(model__optimizer__lr={"low": 1e-4, "high": 1e-2, "log": True})
    common = ["--config", tiny_config, "--space", given, *OBJECTIVE, *QUICK, "--trials", 8]
    both = [
        start(*common, "--storage", storage, "--study", "shared", "--workers", 2, "--output", name)
        for name in ("a", "b")
    ]
    said = [one.communicate(timeout=1200)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert main(["sweep", "--report-only", "--output", "a"]) == 0
    rows = table(folder / "a")
    assert [row["state"] for row in rows] == ["complete"] * 8
    assert {Path(row["run"]).parts[0] for row in rows} == {"a", "b"}, "both have worked"
    assert len({row["model.optimizer.lr"] for row in rows}) == 8


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_lost_trial_goes_on_from_its_checkpoint_to_the_same_result(
    tiny_config: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, devices: int
) -> None:
    from optuna import load_study

    given = space(model__optimizer__lr={"low": 1e-4, "high": 1e-2, "log": True})
    command = ["sweep", "--config", str(tiny_config), "--space", given, *OBJECTIVE, "--trials", "1"]
    command += ["--trainer.max_epochs", "20", "--trainer.log_every_n_steps", "5"]
    command += ["--trainer.accelerator", "cpu", "--trainer.devices", str(devices)]
    with monkeypatch.context() as patch:

        def interrupt(self: SweepStudy, running: object) -> None:
            if len(self.trials()[0].intermediate_values) > 2:
                raise KeyboardInterrupt

        patch.setattr(SweepStudy, "beat", interrupt)
        assert main(command) == 130
    assert main(command) == 0
    lost, again = table(folder / "sweeps" / "tiny")
    assert (lost["state"], again["state"]) == ("lost", "complete")
    assert again["model.optimizer.lr"] == lost["model.optimizer.lr"]
    said = (folder / "sweeps/tiny/logs/1.txt").read_text()
    assert f"goes on with the lost one in {lost['run']}." in said
    assert 0 < said.count("epoch ") < 18 and "epoch 1/20" not in said, "not trained again"

    assert main([*command, "--output", "uninterrupted"]) == 0
    (alone,) = table(folder / "uninterrupted")
    assert alone["model.optimizer.lr"] == lost["model.optimizer.lr"]
    whole, run = folder / alone["run"], folder / again["run"]
    assert run.name == "1" and validations(run) == validations(whole)
    assert_same_end(whole, run)
    assert float(again["val/loss"]) == min(validations(whole)), "of all its validations"
    storage = open_storage(f"sqlite:///{folder}/sweeps/tiny/study.db")
    study = load_study(study_name="tiny", storage=storage)
    assert list(read_sweep(study).records[1].values.values()) == validations(whole), "each told once"


def test_only_a_whole_run_of_the_same_configuration_is_gone_on_with(trained: Path) -> None:
    from vedute.cli.sweep_continuation import take_over

    lost, last = trained / "runs" / "tiny" / "0", Path("checkpoints", "last.ckpt")
    text = (lost / "config.yaml").read_text()
    another = text.replace("seed_everything: 0", "seed_everything: 1")
    elsewhere = text.replace("default_root_dir: null", "default_root_dir: elsewhere")
    assert another != text != elsewhere
    assert take_over(lost, trained / "new", another) is None
    assert take_over(trained / "unseen", trained / "new", text) is None
    assert take_over(lost, trained / "new", elsewhere) == trained / "new" / last
    assert (trained / "new" / last).read_bytes() == (lost / last).read_bytes()
    assert take_over(lost, trained / "new", text) is None, "that folder is taken"
    (lost / last).write_bytes(b"half")
    assert take_over(lost, trained / "newer", text) is None and not (trained / "newer").exists()


@pytest.mark.slow
def test_a_killed_sweep_goes_on_by_the_same_command(tiny_config: Path, folder: Path) -> None:
    given = space(model__optimizer__lr={"low": 1e-4, "high": 1e-2, "log": True})
    command = ["--config", tiny_config, "--space", given, *OBJECTIVE, *QUICK, "--trials", 4]
    sweep = folder / "sweeps" / "tiny"
    for way in (signal.SIGKILL, signal.SIGTERM):
        process = start(*command, "--trainer.max_epochs", 30)
        assert process.stdout is not None
        for line in process.stdout:
            if ": started" in line:
                break
        log = sweep / "logs" / f"{line.split()[1].rstrip(':')}.txt"
        until = time.monotonic() + 300
        while not (log.is_file() and log.read_text().count("/30  ") > 1) and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(way)
        said = process.communicate(timeout=300)[0]
        assert process.returncode == (130 if way == signal.SIGTERM else -9), said
        if way == signal.SIGTERM:
            assert "continue with" in said
        length = len(log.read_text())
        time.sleep(6)
        assert len(log.read_text()) - length < 2000, "the trial's own process has ended too"
    assert main(["sweep", *map(str, command), "--trainer.max_epochs", "30"]) == 0
    rows = table(sweep)
    assert [row["state"] for row in rows].count("complete") == 4
    lost = [row for row in rows if row["state"] == "lost"]
    assert len(lost) == 2 and len({row["model.optimizer.lr"] for row in rows}) == 4, "the same values again"
    said = [(sweep / "logs" / f"{row['number']}.txt").read_text() for row in rows]
    assert [text.count("/30  ") for text in said if "goes on with the lost one" not in text].count(30) == 3
    assert sum(text.count("/30  ") for text in said) < 4 * 30 + 8, "what was lost is not trained again"
    assert all(row["validations"] == "30" for row in rows if row["state"] == "complete")


@pytest.mark.slow
def test_a_trial_may_use_several_processes_and_be_grouped(
    tiny_config: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    given = space(model__optimizer__lr={"values": [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 1e-12]})
    quick = ["--config", str(tiny_config), "--space", given, *OBJECTIVE, *QUICK, "--sampler", "grid"]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
    overlay = ["--config", str(ROOT / "configs/with/wandb.yaml")]
    assert main(["sweep", *quick, "--trials", "4"]) == 0
    assert main(["sweep", *quick, *overlay, "--trials", "5"]) == 0
    # a process each, that both agree to end early
    assert main(["sweep", *quick, *two, "--pruner", "median"]) == 0
    rows = table(folder / "sweeps" / "tiny")
    assert [row["state"] for row in rows] == ["complete"] * 5 + ["pruned"]
    said = [(folder / f"sweeps/tiny/logs/{number}.txt").read_text() for number in (3, 5)]
    assert [text.count("no image of") for text in said] == [1, 2], "each process looks at its data"
    own = yaml.safe_load((folder / rows[4]["run"] / "config.yaml").read_text())
    assert own["trainer"]["logger"]["init_args"]["group"] == "tiny"
    assert list((folder / rows[4]["run"]).glob("wandb/offline-run-*"))
    best = yaml.safe_load((folder / "sweeps/tiny/best.yaml").read_text())
    assert "'group': 'tiny'" not in str(best), "a training by itself is in no group"
    assert os.environ.get("LOCAL_RANK") is None
