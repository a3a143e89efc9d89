"""``evaluate`` and the scores during training, through the command line, on tiny pictures."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.data.landscapes import write_tiny_landscapes
from vedute.checkpoints import load_checkpoint
from vedute.cli import main

ROOT = Path(__file__).parents[1]
NAMES = ["coast", "desert", "forest", "glacier", "mountain"]


def fit(config: str, root: Path, folder: Path, *extra: str) -> Path:
    """Train a shipped configuration, made small, and return its run folder."""
    arguments = ["fit", "--config", str(ROOT / "configs" / f"{config}.yaml"), "--data.root", str(root)]
    arguments += [
        "--data.image_size",
        "32",
        "--data.batch_size",
        "8",
        "--trainer.enable_progress_bar",
        "false",
    ]
    arguments += ["--trainer.default_root_dir", str(folder), "--trainer.precision", "32-true", *extra]
    assert main(arguments) == 0
    return folder / "runs" / config / "0"


PLAIN = {f"{kind}_{features}" for kind in ("fd", "kd") for features in ("pixels", "details")}
SMALL_CVAE = ["--model.network.init_args.latent_size", "4"]
SMALL_CVAE += ["--model.network.init_args.encoder_widths", "[8, 8, 8]"]
SMALL_CVAE += ["--model.network.init_args.decoder_widths", "[8, 8, 8]"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_landscapes(tmp_path_factory.mktemp("tiny"), {"Train": 60, "Valid": 20, "Test": 15})


@pytest.fixture(scope="module")
def judge(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = ["--model.network.init_args.widths", "[8, 16]", "--trainer.max_epochs", "12"]
    run = fit("classifier_landscapes", tiny, tmp_path_factory.mktemp("judge"), *small)
    return run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def scored_run(tiny: Path, judge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CVAE, trained with scores at every epoch."""
    callback = "--trainer.callbacks+=vedute.callbacks.quality.GenerationMetrics"
    options = [callback, "--trainer.callbacks.init_args.classifier", str(judge)]
    options += [
        "--trainer.callbacks.init_args.every_n_epochs",
        "1",
        "--trainer.callbacks.init_args.count",
        "6",
    ]
    folder = tmp_path_factory.mktemp("scored")
    return fit("cvae_landscapes", tiny, folder, *SMALL_CVAE, "--trainer.max_epochs", "2", *options)


@pytest.fixture
def generator(scored_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkpoint in a run folder of its own, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("VEDUTE_WEIGHTS", raising=False)
    path = tmp_path / "runs" / "tiny" / "0" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    shutil.copy(scored_run / "checkpoints" / "last.ckpt", path)
    return path


def evaluate(*args: str | Path) -> int:
    return main(["evaluate", *map(str, args)])


def failed(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    capsys.readouterr()
    assert evaluate(*args) == 2
    said = capsys.readouterr().err
    message = said[said.index("error: ") :]
    assert "Traceback" not in message and len(message.splitlines()) == 1
    return message


# The card


def test_the_card_has_every_score_with_what_it_is_of(
    generator: Path, judge: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--checkpoint", generator, "--classifier", judge, "--count", "4", "--seed", "3") == 0
    folder = generator.parents[1]
    card = json.loads((folder / "evaluation.json").read_text())
    assert card["classes"] == card["confusion"]["rows"] == card["confusion"]["columns"] == NAMES
    for side, per_class in (("generated", 4), ("ceiling", 3)):
        confusion = torch.tensor(card["confusion"][side])
        assert confusion.sum(1).tolist() == [per_class] * 5
        quality = card["quality"][side]
        assert [quality[name] for name in NAMES] == pytest.approx((confusion.diagonal() / per_class).tolist())
        assert quality["mean"] == pytest.approx(float(confusion.trace() / confusion.sum()))
    assert card["quality"]["ceiling"]["mean"] > 0.7, "the judge recognises what it learned"
    assert card["quality"]["images"] == {"generated": 20, "ceiling": 15}
    assert set(card["distances"]) == {"fd_classifier", "kd_classifier", *PLAIN}
    for name, distance in card["distances"].items():
        assert distance["images_per_side"] == 15, "the smallest set decides, class by class"
        assert distance["generated"] > distance["floor"], name
    assert set(card["diversity"]) == {"classifier", "pixels", "details"} and card["seeds"] is None
    for values in card["diversity"].values():
        assert values["ratio"] == pytest.approx(values["generated"] / values["real"])
        assert values["images"] == {"generated": 20, "real": 15}
    assert card["latent_shape"] == [4] and card["weights"] > 1000 and card["training"]["epochs"] == 2
    reconstruction = card["reconstruction"]
    assert 5 < reconstruction["psnr"] < 40 and reconstruction["images"] == 15
    assert 0 < reconstruction["ssim"] < 1 and reconstruction["ms_ssim_scales"] == 2
    assert card["features"]["classifier"] == {
        "size": 16,
        "resizing": card["features"]["classifier"]["resizing"],
    }
    settings = card["settings"]
    assert (settings["seed"], settings["count"], settings["split"]) == (3, 4, "test")
    assert settings["averaged_weights"] is True and settings["device"] and card["seconds"] > 0
    assert {"vedute", "torch", "torchmetrics", "torch-fidelity"} <= set(card["versions"])
    missing = [note for note in card["notes"] if "fid and kid" in note]
    assert len(missing) == 1 and "weights-inception-2015-12-05-6726825d.pth" in missing[0]
    assert card["cas"]["training_images"] == 20 and 0 <= card["cas"]["ceiling"]["accuracy"] <= 1
    assert card["two_sample"] is None and any("two-sample test" in note for note in card["notes"])
    assert card["reconstruction"]["latent_units"] == 4 and card["reconstruction"]["kl"] > 0
    low, high = card["reconstruction"]["interval"]["psnr"]
    assert low <= reconstruction["psnr"] <= high
    assert card["files"] == {
        "card": "evaluation.png",
        **{name: f"evaluation_{name}.png" for name in ("samples", "best", "worst", "neighbours")},
    }
    assert all((folder / name).is_file() for name in card["files"].values())
    said = capsys.readouterr().out
    assert (
        "fd_classifier" in said and "Q mountain" in said and "evaluation.png" in said and missing[0] in said
    )
    assert Image.open(folder / "evaluation.png").width > 400


def test_the_same_seed_gives_the_same_card_whatever_the_batch_size(generator: Path, judge: Path) -> None:
    given: list[str | Path] = ["--checkpoint", generator, "--classifier", judge, "--count", "4"]
    for name, more in (("a", ["--batch-size", "7"]), ("b", ["--batch-size", "64"]), ("c", ["--seed", "9"])):
        assert evaluate(*given, *more, "--output", f"{name}.json") == 0
    first, second, other = (json.loads(Path(f"{name}.json").read_text()) for name in "abc")
    assert first["quality"] == second["quality"]
    for name, distance in first["distances"].items():
        assert distance["generated"] == pytest.approx(
            second["distances"][name]["generated"], abs=1e-3, rel=1e-3
        )
    assert first["distances"] != other["distances"]


def test_blocks_of_seeds_are_generated_one_after_the_other(generator: Path) -> None:
    given: list[str | Path] = ["--checkpoint", generator, "--count", "4"]  # five classes: 20 images a block
    for name, more in (("both", ["--seeds", "2"]), ("second", ["--seed", "20"])):
        assert evaluate(*given, *more, "--output", f"{name}.json") == 0
    both, second = (json.loads(Path(f"{name}.json").read_text()) for name in ("both", "second"))
    first, spread = both["diversity"]["pixels"]["generated"], both["seeds"]["diversity/pixels"]
    other = second["diversity"]["pixels"]["generated"]
    assert spread["blocks"] == 2 and spread["mean"] == pytest.approx((first + other) / 2)
    assert spread["half_range"] == pytest.approx(abs(first - other) / 2)


def test_features_are_chosen_by_name(
    generator: Path, judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "mean.pt"
    torch.jit.script(_Mean()).save(str(script))
    given: list[str | Path] = ["--checkpoint", generator, "--classifier", judge, "--count", "8"]
    chosen = f"details,script:{script},torchvision:squeezenet1_1:random"
    assert evaluate(*given, "--features", chosen, "--cas-images", "0") == 0
    card = json.loads((generator.parents[1] / "evaluation.json").read_text())
    names = {"details", "script_mean", "torchvision_squeezenet1_1_random"}
    assert set(card["features"]) == set(card["diversity"]) == names
    assert card["quality"] is not None and "fd_classifier" not in card["distances"], "judged, not measured in"
    assert not any("fid" in note for note in card["notes"]) and card["cas"] is None
    for features, said in (
        ("detials", "Did you mean details"),
        ("regressor", "give --regressor"),
        ("pixels,pixels", "asked for twice"),
        ("script:none.pt", "there is none"),
        ("pixels,,details", "separated by commas"),
    ):
        assert said in failed(capsys, *given, "--features", features)
    assert "None of the features" in failed(capsys, *given, "--features", "inception")


def test_the_second_card_of_a_data_set_reads_kept_features(
    generator: Path, judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str | Path] = ["--checkpoint", generator, "--classifier", judge, "--count", "8"]
    given += ["--cas-images", "0"]
    kept = Path(os.environ["VEDUTE_CACHE"]) / "features"
    shutil.rmtree(kept, ignore_errors=True)
    cards = []
    for name in ("first", "second"):
        assert evaluate(*given, "--output", f"{name}.json") == 0
        cards.append(json.loads(Path(f"{name}.json").read_text()))
        assert len(list(kept.glob("classifier-*.npy"))) == 2, "training and test images, once"
    for part in ("distances", "manifold", "memorisation", "quality"):
        assert cards[0][part] == cards[1][part]


class _Mean(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=[2, 3])


def test_a_model_without_classes_is_compared_in_a_classifiers_features(
    tiny: Path, judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    short = [
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_train_batches",
        "2",
        "--data.label_feature",
        "null",
    ]
    run = fit("cvae_landscapes", tiny, tmp_path, *SMALL_CVAE, *short)
    assert (
        evaluate("--checkpoint", run / "checkpoints" / "best.ckpt", "--classifier", judge, "--count", "9")
        == 0
    )
    card = json.loads((run / "evaluation.json").read_text())
    assert card["quality"] is None and "fd_classifier" in card["distances"]
    assert card["diversity"]["classifier"]["generated"] > 0
    assert any("has no classes" in note for note in card["notes"])


def test_without_a_judge_there_is_a_card_of_the_rest(generator: Path) -> None:
    assert evaluate("--checkpoint", generator, "--count", "4", "--output", "card.json") == 0
    card = json.loads(Path("card.json").read_text())
    assert card["quality"] is None and set(card["distances"]) == PLAIN
    assert card["reconstruction"]["psnr"] > 5 and any("--classifier" in note for note in card["notes"])


def test_real_data_of_another_folder_are_taken_from_there(
    generator: Path, judge: Path, tmp_path: Path
) -> None:
    other = write_tiny_landscapes(tmp_path / "other", {"Train": 20, "Valid": 5, "Test": 10})
    given: list[str | Path] = [
        "--checkpoint",
        generator,
        "--classifier",
        judge,
        "--count",
        "4",
        "--output",
        "card.json",
    ]
    assert evaluate(*given, "--data.root", other) == 0
    assert json.loads(Path("card.json").read_text())["quality"]["images"]["ceiling"] == 10


# Mistakes


def test_a_classifier_is_no_generator_and_a_generator_no_classifier(
    generator: Path, judge: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Classifier" in failed(capsys, "--checkpoint", judge, "--classifier", judge)
    message = failed(capsys, "--checkpoint", generator, "--classifier", generator)
    assert "CVAE" in message and "a classifier is needed" in message
    assert not (generator.parents[1] / "evaluation.json").exists()


def test_a_judge_that_lacks_a_class_is_named(
    generator: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--model.network.init_args.widths", "[8, 16]", "--trainer.max_epochs", "1"]
    run = fit("classifier_landscapes", tiny, tmp_path, *small, "--data.classes", "[coast, forest]")
    message = failed(capsys, "--checkpoint", generator, "--classifier", run / "checkpoints" / "best.ckpt")
    assert "does not know the class desert, glacier, mountain" in message


def test_data_with_other_classes_are_refused(
    generator: Path, judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"Train": 12, "Valid": 4, "Test": 4}
    other = write_tiny_landscapes(tmp_path / "other", counts, labels=(0, 2))
    message = failed(capsys, "--checkpoint", generator, "--classifier", judge, "--data.root", other)
    assert "classes coast, forest, the model coast, desert" in message


def test_options_are_checked_before_the_work(
    generator: Path, judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[str | Path] = ["--checkpoint", generator, "--classifier", judge]
    assert ".json" in failed(capsys, *given, "--output", "card.html")
    assert "does not exist" in failed(capsys, *given, "--data.root", tmp_path / "nowhere")
    assert "no checkpoint" in failed(
        capsys, "--checkpoint", generator, "--classifier", tmp_path / "none.ckpt"
    )
    (tmp_path / "weights-inception-2015-12-05-6726825d.pth").write_bytes(b"not weights")
    assert "Inception" in failed(capsys, *given, "--weights-dir", tmp_path)
    assert evaluate(*given, "--count", "0") == 2
    assert "CVAE does not tell how likely" in failed(capsys, *given, "--likelihood", "4")
    assert "at least 2 images" in failed(capsys, *given, "--likelihood", "1")


def test_a_diverged_model_is_told(generator: Path, judge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = load_checkpoint(generator)
    for key in ("state_dict", "ema_state_dict"):
        state = content[key]
        assert isinstance(state, dict)
        content[key] = {
            name: value * float("nan") if value.is_floating_point() else value
            for name, value in state.items()
        }
    torch.save(content, generator.with_name("diverged.ckpt"))
    message = failed(capsys, "--checkpoint", generator.with_name("diverged.ckpt"), "--classifier", judge)
    assert "diverged" in message


# Scores during training


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open() as file:
        found = csv.DictReader(file)
        return [{name: float(v) for name, v in row.items() if v} for row in found if row.get("val/q")]


def test_training_logs_the_quality_of_the_averaged_weights(
    scored_run: Path, judge: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(scored_run)
    assert len(found) == 2 and all(row["val/fd_classifier"] > 0 for row in found)
    assert found[-1]["val/q"] == pytest.approx(sum(found[-1][f"val/q/{name}"] for name in NAMES) / 5)
    content = load_checkpoint(scored_run / "checkpoints" / "last.ckpt")
    state = content["state_dict"]
    weights = load_checkpoint(judge)["state_dict"]
    assert isinstance(state, dict) and isinstance(weights, dict)
    judges_own = {name for name in weights if "stem" in name or "stages" in name}
    assert judges_own and not judges_own & set(state), "the judge is not saved with the generator"
    # 'validate' loads the averaged weights from the file: the same as were in place while training.
    last = str(scored_run / "checkpoints" / "last.ckpt")
    assert main(["validate", "--ckpt_path", last, "--trainer.precision", "32-true"]) == 0
    again = json.loads((scored_run / "validate_metrics.json").read_text())["metrics"]
    for name in ("val/q", "val/fd_classifier", "val/kd_classifier"):
        assert again[name] == pytest.approx(found[-1][name], rel=1e-3, abs=1e-4)


def test_without_a_judge_training_logs_what_pixels_say(tiny: Path, tmp_path: Path) -> None:
    callback = "--trainer.callbacks+=vedute.callbacks.quality.GenerationMetrics"
    short = ["--trainer.max_epochs", "1", callback, "--trainer.callbacks.init_args.manifold", "true"]
    run = fit("cvae_landscapes", tiny, tmp_path, *SMALL_CVAE, *short)
    logged = (run / "metrics.csv").read_text().splitlines()[0]
    assert "val/fd_pixels" in logged
    assert all(f"val/{name}_details" in logged for name in ("precision", "recall", "density", "coverage"))


def test_a_wrong_judge_ends_training_before_it_begins(
    scored_run: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        fit(
            "cvae_landscapes",
            tiny,
            tmp_path,
            *SMALL_CVAE,
            "--trainer.callbacks+=vedute.callbacks.quality.GenerationMetrics",
            "--trainer.callbacks.init_args.classifier",
            str(scored_run / "checkpoints" / "last.ckpt"),
        )
    assert "a classifier is needed" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_score_as_one_does(tiny: Path, judge: Path, tmp_path: Path) -> None:
    callback = "vedute.callbacks.quality.GenerationMetrics"
    command = [sys.executable, str(ROOT / "cli.py"), "fit"]
    command += ["--config", str(ROOT / "configs" / "cvae_landscapes.yaml"), "--data.root", str(tiny)]
    command += ["--data.image_size", "32", "--data.batch_size", "8", "--trainer.enable_progress_bar", "false"]
    command += ["--trainer.default_root_dir", str(tmp_path), "--trainer.precision", "32-true", *SMALL_CVAE]
    command += ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.devices", "2"]
    command += ["--trainer.strategy", "ddp", f"--trainer.callbacks+={callback}"]
    command += [f"--trainer.callbacks+={callback}"]  # one without and one with a judge
    command += ["--trainer.callbacks.init_args.classifier", str(judge)]
    command += ["--trainer.callbacks.init_args.count", "5"]  # 25 images: the second rank repeats one
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, capture_output=True)
    run = tmp_path / "runs" / "cvae_landscapes" / "0"
    both = rows(run)[-1]
    single = ["--trainer.devices", "1", "--trainer.strategy", "auto", "--trainer.precision", "32-true"]
    assert main(["validate", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *single]) == 0
    alone = json.loads((run / "validate_metrics.json").read_text())["metrics"]
    for name in (f"val/{name}" for name in PLAIN):
        assert alone[name] == pytest.approx(both[name], rel=1e-3)
    # Another order of sums moves a few pixels by 1/255, which a judge of a few steps magnifies.
    assert alone["val/q"] == pytest.approx(both["val/q"], abs=0.041)
    assert alone["val/fd_classifier"] == pytest.approx(both["val/fd_classifier"], rel=0.05)
