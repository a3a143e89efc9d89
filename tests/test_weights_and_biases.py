"""Weights & Biases: its own client writes and uploads, to a small server in this process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.pytorch import Callback, Trainer
from PIL import Image

from tests.data.training import column
from tests.data.wandb_service import API_KEY, Service, service
from vedute.cli import main
from vedute.cli.training import TrainingCLI
from vedute.loggers import WeightsAndBiases

ROOT = Path(__file__).parents[1]
OVERLAY = ROOT / "configs" / "with" / "wandb.yaml"
RUN = Path("runs/tiny/0")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Keep W&B's own files of the user out of the tests, and end its process."""
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    monkeypatch.chdir(tmp_path)
    yield
    wandb.teardown()


def fit(config: Path, *options: str) -> int:
    """Train with the shipped overlay."""
    return main(["fit", "--config", str(config), "--config", str(OVERLAY), *options])


def upload(server: Service, *options: str, run: Path = RUN) -> None:
    """Send what a run folder keeps, as a user would."""
    environment = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": API_KEY}
    folders = [str(path) for path in sorted((run / "wandb").glob("*run-*"))]
    command = [str(Path(sys.executable).with_name("wandb")), "sync", *options, *folders]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def logged(server: Service, name: str) -> list[float]:
    """Return the values of one scalar that the server has, in order."""
    (rows,) = server.rows.values()
    return [value for row in rows if isinstance(value := row.get(name), float)]


def test_a_run_that_was_kept_offline_and_continued_is_sent_whole(
    tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert fit(tiny_config, "--trainer.max_epochs", "1", "--trainer.logger.init_args.group", "family") == 0
    uploads = ["--trainer.logger.init_args.log_model", "true"]
    assert fit(tiny_config, "--ckpt_path", "last", "--trainer.max_epochs", "2", *uploads) == 0
    with service() as server:
        upload(server)
        for name in ("train/loss", "val/loss"):
            assert logged(server, name) == pytest.approx(column(RUN, name)), name
        (rows,) = server.rows.values()
        steps = [row["_step"] for row in rows]
        assert steps == list(range(len(steps))), "the second part follows the first"
        pictures = [name for name in server.files if name.startswith("media/images/samples")]
        assert len(pictures) == 2
        assert Image.open(io.BytesIO(server.files[pictures[0]])).size[0] >= 32
        first = server.runs[0]
        assert first["displayName"] == "tiny/0" and first["groupName"] == "family"
        settings = {}
        for run in server.runs:
            settings |= json.loads(str(run["config"] or "{}"))
        assert settings["model"]["value"]["class_path"] == "lightning_modules.cvae.CVAE"
        aliases = [alias["alias"] for made in server.artifacts for alias in made["input"]["aliases"]]  # type: ignore[index]
        assert {"best", "latest"} <= set(aliases)


def test_a_classifier_sends_its_confusion_matrix(
    class_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    small = ["--data.root", str(class_folders), "--data.image_size", "32", "--data.batch_size", "8"]
    assert fit(ROOT / "configs" / "classifier_landscapes.yaml", *small, "--trainer.max_epochs", "1") == 0
    with service() as server:
        upload(server, run=Path("runs/classifier_landscapes/0"))
        assert [name for name in server.files if name.startswith("media/images/confusion")]


def test_without_a_login_the_run_is_kept_offline(
    tiny_config: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)  # whoever asks for a key fails
    assert fit(tiny_config, "--trainer.max_epochs", "1") == 0
    assert "wandb login" in caplog.text and f"wandb sync {RUN}/wandb/offline-run-*" in caplog.text
    with service() as server:
        upload(server)
        assert logged(server, "val/loss") == pytest.approx(column(RUN, "val/loss"))


def test_a_service_that_does_not_answer_stops_nothing(
    tiny_config: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service() as gone:
        pass
    monkeypatch.setenv("WANDB_BASE_URL", gone.url)
    monkeypatch.setenv("WANDB_API_KEY", API_KEY)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    assert fit(tiny_config, "--trainer.max_epochs", "1") == 0
    assert "could not be reached" in caplog.text
    with service() as server:
        upload(server)
        assert logged(server, "val/loss") == pytest.approx(column(RUN, "val/loss"))


class Accident(Callback):
    """Does something after the first epoch."""

    def __init__(self, action: object) -> None:
        self._action = action

    def on_train_epoch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.current_epoch == 0:
            self._action()  # type: ignore[operator]


def with_accident(monkeypatch: pytest.MonkeyPatch, action: object) -> None:
    """Let something happen amid every training of this test."""
    own = TrainingCLI._callbacks
    monkeypatch.setattr(TrainingCLI, "_callbacks", lambda *args: [*own(*args), Accident(action)])


def test_a_service_that_goes_away_amid_a_training_stops_nothing(
    tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", API_KEY)

        def leave() -> None:
            server.shutdown()
            server.server_close()

        with_accident(monkeypatch, leave)
        # 0.05 minutes: the end of the training waits so long for uploads
        assert fit(tiny_config, "--trainer.logger.init_args.upload_minutes", "0.05") == 0
    assert len(column(RUN, "val/loss")) == 2
    with service() as server:
        upload(server, "--include-online")
        assert logged(server, "val/loss") == pytest.approx(column(RUN, "val/loss"))


def test_a_client_that_dies_stops_nothing(
    tiny_config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    whole = TrainingCLI._callbacks

    def kill() -> None:
        done = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"], capture_output=True, text=True, check=True
        )
        for process in done.stdout.split():
            os.kill(int(process), signal.SIGKILL)

    with_accident(monkeypatch, kill)
    assert fit(tiny_config) == 0
    assert len(column(RUN, "val/loss")) == 2
    assert caplog.text.count("The training goes on without it") == 1
    monkeypatch.setattr(TrainingCLI, "_callbacks", whole)
    assert fit(tiny_config) == 0, "the next training in this process has a client again"
    assert caplog.text.count("The training goes on without it") == 1


def test_options_that_cannot_be_used_are_errors(
    tiny_config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert fit(tiny_config, "--trainer.logger.init_args.upload_minutes", "0") == 2
    assert "upload_minutes must be above 0" in capsys.readouterr().err
    assert fit(tiny_config, "--trainer.logger.init_args.project", "a/b") == 2
    assert "a/b" in capsys.readouterr().err
    assert not RUN.exists(), "nothing is left of a training that did not begin"


def test_only_the_first_rank_has_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_utilities.core.rank_zero import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1, raising=False)
    logger = WeightsAndBiases()
    logger.log_metrics({"loss": 1.0}, 0)
    logger.finalize("success")
    assert logger._experiment is None
