"""Checkpoints: written whole, usable alone, and never trusted."""

from __future__ import annotations

import errno
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.landscapes import LandscapesDataModule
from lightning_modules.base import GenerativeModule
from lightning_modules.cvae import CVAE
from tests.data.training import column
from vedute.checkpoints import load_checkpoint, load_datamodule, load_module
from vedute.cli import main
from vedute.errors import CheckpointError, ConfigurationError, DataError

BEST = Path("runs/tiny/0/checkpoints/best.ckpt")
LAST = Path("runs/tiny/0/checkpoints/last.ckpt")


def refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Give a file to the command line as a checkpoint; return the one message it answers with."""
    capsys.readouterr()
    assert main(["sample", "--checkpoint", str(path), "--output", "never.png"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "Traceback" not in said and "usage" not in said
    assert str(path) in said, "the message names the file"
    assert not Path("never.png").exists()
    return said


def changed(path: Path, change: Any) -> Path:  # noqa: ANN401
    """Write a copy of the trained checkpoint with its content changed."""
    content = torch.load(BEST, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_a_checkpoint_works_alone_with_its_averaged_weights(trained: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.ckpt"
    BEST.replace(alone)
    module = load_module(alone, GenerativeModule)  # type: ignore[type-abstract]
    assert isinstance(module, CVAE) and not module.training
    assert module.condition_names == ["coast", "forest"] and module.image_size == (32, 32)
    content = load_checkpoint(alone)
    averages, weights = content["ema_state_dict"], content["state_dict"]
    assert isinstance(averages, dict) and isinstance(weights, dict)
    differing = 0
    for name, value in module.state_dict().items():
        expected = averages[name] if name in averages else weights[name]
        assert torch.equal(value, expected), name
        differing += not torch.equal(value, weights[name])
    assert differing > 10, "the averages are not the training weights"


def test_every_checkpoint_is_plain_data(trained: Path) -> None:
    for path in (BEST, LAST):
        content = torch.load(path, weights_only=True)
        assert content["optimizer_states"] and content["callbacks"] and content["loops"]
        assert content["hyper_parameters"]["_class_path"] == "lightning_modules.cvae.CVAE"
        assert content["hyper_parameters"]["optimizer"]["class_path"] == "torch.optim.AdamW"
        assert content["datamodule_hyper_parameters"]["_class_path"].startswith("datamodules.")


def test_the_data_set_comes_back_with_overrides(trained: Path, class_folders: Path, tmp_path: Path) -> None:
    data = load_datamodule(BEST)
    assert isinstance(data, LandscapesDataModule)
    assert data.size("train") == 20 and data.batch("test", [0, 1]).image.shape == (2, 3, 32, 32)
    other = load_datamodule(BEST, {"image_size": 16})
    assert isinstance(other, LandscapesDataModule) and other.image_size == (16, 16)
    with pytest.raises(ConfigurationError, match="no option 'rooot'"):
        load_datamodule(BEST, {"rooot": "x"})
    missing = load_datamodule(BEST, {"root": str(tmp_path / "missing")})
    assert isinstance(missing, LandscapesDataModule)
    with pytest.raises(DataError, match="missing"):
        missing.size("train")


def test_a_missing_file_or_a_folder(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no checkpoint" in refused(Path("nowhere.ckpt"), capsys)
    said = refused(Path("runs/tiny/0"), capsys)
    assert "folder" in said and "last.ckpt" in said


@pytest.mark.parametrize("kept", [0, 10, 1000, -1])
def test_a_truncated_file(trained: Path, kept: int, capsys: pytest.CaptureFixture[str]) -> None:
    cut = Path("cut.ckpt")
    cut.write_bytes(BEST.read_bytes()[:kept])
    assert "damaged" in refused(cut, capsys)


# Random bytes begin with every opcode that a reader of pickles knows, and many that it does not.
STRANGE = [
    b"hello, this is a text\n" * 50,
    *(bytes([first]) + random.Random(first).randbytes(4096) for first in range(256)),
]


def test_files_of_another_kind(trained: Path) -> None:
    other, zipped = Path("other.ckpt"), Path("zipped.ckpt")
    for content in STRANGE:
        other.write_bytes(content)
        with zipfile.ZipFile(zipped, "w") as archive:  # as torch writes them, with a strange pickle in it
            archive.writestr("other/data.pkl", content)
            archive.writestr("other/version", "3\n")
        for path in (other, zipped):
            with pytest.raises(CheckpointError, match=r"damaged or no checkpoint|more than numbers"):
                load_checkpoint(path)


def test_a_file_of_another_kind_gets_one_message(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.ckpt").write_bytes(STRANGE[0])
    assert "damaged or no checkpoint" in refused(Path("other.ckpt"), capsys)


class _Payload:
    """Would create a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("way", ["torch", "pickle"])
def test_a_malicious_pickle_is_never_executed(
    trained: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sign, bad = Path("executed"), Path("bad.ckpt")
    content = {"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": _Payload(sign.absolute())}
    if way == "torch":
        torch.save(content, bad)
    else:
        bad.write_bytes(pickle.dumps(content))
    said = refused(bad, capsys)
    assert ("could execute code" if way == "torch" else "damaged or no checkpoint") in said
    for verb in ("test", "fit"):
        assert main([verb, "--ckpt_path", str(bad)]) == 2
    assert not sign.exists()
    torch.load(bad, weights_only=False) if way == "torch" else pickle.loads(bad.read_bytes())
    assert sign.exists(), "the payload would have worked"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("_class_path", "os.system", "os.system"),
        (
            "network",
            {"class_path": "subprocess.Popen", "init_args": {"args": "touch executed"}},
            "subprocess.Popen",
        ),
        ("network", {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "x/y"}}, "torch.hub.load"),
        (
            "optimizer",
            {"class_path": "torch.optim.Adam", "init_args": {"x": {"class_path": "os.system"}}},
            "os.system",
        ),
        ("network", "os.system", "os.system"),
        ("network", '{"class_path": "os.system"}', "hides"),
        ("_instantiator", "os.system", "foreign function"),
        ("network", {"class_path": "vedute.networks.missing.Network"}, "this version does not have"),
        ("network", {"class_path": "vedute..files"}, "neither imported nor run"),
    ],
)
def test_class_paths_are_checked_wherever_they_are(
    trained: Path, place: str, value: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = changed(Path("bad.ckpt"), lambda content: content["hyper_parameters"].update({place: value}))
    assert said in refused(bad, capsys)
    assert not Path("executed").exists()


def test_the_data_sets_class_path_is_checked_too(trained: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["datamodule_hyper_parameters"]["_class_path"] = "os.system"

    with pytest.raises(CheckpointError, match=r"os\.system"):
        load_datamodule(changed(Path("bad.ckpt"), change))


def test_weights_without_a_description(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": torch.zeros(2)}, "plain.ckpt")
    assert "no checkpoint of Vedute" in refused(Path("plain.ckpt"), capsys)
    torch.save({"state_dict": {"a": torch.zeros(2)}}, "foreign.ckpt")
    assert "does not say which model" in refused(Path("foreign.ckpt"), capsys)


def test_a_model_of_another_kind(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(content: dict[str, Any]) -> None:
        content["hyper_parameters"]["_class_path"] = "lightning_modules.classifier.Classifier"

    said = refused(changed(Path("other.ckpt"), change), capsys)
    assert "holds a Classifier" in said
    assert "GenerativeModule" in said and "needed" in said


def test_weights_that_do_not_fit(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = changed(Path("bad.ckpt"), lambda content: content["hyper_parameters"].update(image_size=(64, 64)))
    said = refused(bad, capsys)
    assert "do not fit" in said and "network." in said


def test_best_stays_what_it_was_when_last_goes_on(trained: Path) -> None:
    before = BEST.read_bytes()
    # a worse state can never become the best
    args = ["--trainer.max_epochs", "3", "--model.reconstruction_weight", "1e4"]
    assert main(["fit", "--ckpt_path", str(LAST), *args]) == 0
    assert BEST.read_bytes() == before
    assert load_checkpoint(LAST)["epoch"] == 2
    assert sorted(path.name for path in LAST.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_full_disk_leaves_the_checkpoint_before(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = LAST.read_bytes()

    def full(content: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vedute.callbacks.checkpoint.torch.save", full)
    assert main(["fit", "--ckpt_path", str(LAST), "--trainer.max_epochs", "3"]) == 2
    assert "disk is full" in capsys.readouterr().err
    assert LAST.read_bytes() == before
    assert sorted(path.name for path in LAST.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_what_a_kill_left_half_written_is_cleared(trained: Path) -> None:
    leftover = LAST.parent / ".last.ckpt.abcd.partial"
    leftover.write_bytes(b"half")
    assert main(["fit", "--ckpt_path", str(LAST), "--trainer.max_epochs", "3"]) == 0
    assert not leftover.exists()


def test_a_monitor_that_is_not_logged(
    trained: Path, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", str(tiny_config), "--checkpoint.monitor", "val/lss"]) == 2
    said = capsys.readouterr().err
    assert "val/lss" in said and "val/loss" in said


def test_the_best_follows_the_monitor(trained: Path, tiny_config: Path) -> None:
    args = ["--checkpoint.monitor", "val/psnr", "--checkpoint.mode", "max", "--trainer.max_epochs", "3"]
    assert main(["fit", "--config", str(tiny_config), *args]) == 0
    folder = Path("runs/tiny/1")
    scores = column(folder, "val/psnr")
    states = load_checkpoint(folder / "checkpoints" / "best.ckpt")
    callbacks = states["callbacks"]
    assert isinstance(callbacks, dict)
    assert callbacks["BestAndLast"]["best_score"] == pytest.approx(max(scores))
    assert states["epoch"] == scores.index(max(scores))


@pytest.mark.parametrize(("links", "mode"), [(True, "max"), (True, "min"), (False, "min")])
def test_the_next_best_are_kept_too_in_their_order(
    trained: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch, links: bool, mode: str
) -> None:
    if not links:

        def no_link(*_: object) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr("vedute.callbacks.checkpoint.os.link", no_link)
    # a rate so high that the score goes up and down
    own = ["--checkpoint.monitor", "val/psnr", "--checkpoint.mode", mode, "--checkpoint.keep", "3"]
    args = [*own, "--model.optimizer.init_args.lr", "0.03", "--data.seed", "3"]
    assert main(["fit", "--config", str(tiny_config), *args, "--trainer.max_epochs", "4"]) == 0
    folder = Path("runs/tiny/1")
    assert (
        main(["fit", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "8"])
        == 0
    )
    scores = column(folder, "val/psnr")
    sign = -1 if mode == "max" else 1
    order = sorted(range(8), key=lambda epoch: sign * scores[epoch])[:3]
    files = [folder / "checkpoints" / name for name in ("best.ckpt", "best-2.ckpt", "best-3.ckpt")]
    assert [load_checkpoint(path)["epoch"] for path in files] == order
    assert (order[0] == 7) == (mode == "max"), (
        "a score that rises: the new best, and the best from the beginning"
    )
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        *("best-2.ckpt", "best-3.ckpt", "best.ckpt", "last.ckpt"),
    ]


def test_several_best_need_a_measure(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = ["--checkpoint.keep", "2", "--checkpoint.monitor", "null"]
    for options in (several, ["--checkpoint.keep", "0"]):
        assert main(["fit", "--config", str(tiny_config), *options]) == 2
        assert "checkpoint.keep" in capsys.readouterr().err
