"""Flows through the command line: trained, sampled, scored, resumed, and behind a codec."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_modules.flow_matching import FlowMatching
from tests.data.landscapes import write_tiny_landscapes
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_checkpoint, load_datamodule, load_module
from vedute.cli import main
from vedute.promises import as_image_data

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"


# Commands


def arguments(config: str, data: Path, folder: Path, *extra: str) -> list[str]:
    """Return the arguments of a tiny training by a shipped configuration."""
    options = "--data.image_size 32 --data.batch_size 8 --trainer.precision 32-true --trainer.max_epochs 2"
    options += " --trainer.enable_progress_bar false --model.network.init_args.embedding_size 32"
    small = ["--model.network.init_args.widths", "[16, 32]", "--model.network.init_args.attention", "[1]"]
    places = ["--data.root", str(data), "--trainer.default_root_dir", str(folder)]
    return ["fit", "--config", str(CONFIGS / f"{config}.yaml"), *options.split(), *small, *places, *extra]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny flow, trained by the shipped configuration."""
    folder = tmp_path_factory.mktemp("flow")
    data = write_tiny_landscapes(folder / "data", {"Train": 40, "Valid": 10, "Test": 10})
    assert main(arguments("flow_landscapes", data, folder)) == 0
    return folder / "runs" / "flow_landscapes" / "0"


@pytest.mark.slow
@pytest.mark.parametrize("config", ["flow_landscapes", "mean_flow_landscapes"])
def test_a_killed_flow_resumes_to_the_same_weights(config: str, run: Path, tmp_path: Path) -> None:
    data = run.parents[2] / "data"
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(arguments(config, data, whole)) == 0
    kill = ["--trainer.callbacks+=tests.data.interrupt.SaveAndDie"]
    kill += ["--trainer.callbacks.init_args.epoch", "1", "--trainer.callbacks.init_args.batch", "2"]
    command = [sys.executable, str(ROOT / "cli.py"), *arguments(config, data, broken, *kill)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == 137, killed.stderr
    assert main([*arguments(config, data, broken), "--ckpt_path", "last"]) == 0
    first, second = (
        load_checkpoint(folder / "runs" / config / "0" / "checkpoints" / "last.ckpt")
        for folder in (whole, broken)
    )
    for key in ("state_dict", "ema_state_dict"):
        one, other = first[key], second[key]
        assert isinstance(one, dict) and isinstance(other, dict)
        for name, value in one.items():
            assert torch.equal(value, other[name]), (key, name)


@pytest.mark.slow
def test_two_processes_train_a_flow_alike(run: Path, tmp_path: Path) -> None:
    ddp = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = arguments("mean_flow_landscapes", run.parents[2] / "data", tmp_path, *ddp)
    subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *command],
        cwd=ROOT,
        check=True,
        timeout=300,
        capture_output=True,
    )
    assert (tmp_path / "runs" / "mean_flow_landscapes" / "0" / "checkpoints" / "best.ckpt").is_file()


def test_a_flow_is_trained_and_sampled_by_its_options(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (run / "metrics.csv").open() as file:
        losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]
    assert losses[-1] < losses[0] < 3
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    given = ["sample", "--checkpoint", checkpoint, "--count", "2", "--condition", "coast"]
    fast = ["--steps", "2", "--solver", "euler", "--guidance", "2", "--guidance-interval", "0.2", "0.9"]
    assert main([*given, *fast, "--output", str(tmp_path / "fast")]) == 0
    assert main([*given, "--steps", "2", "--solver", "euler", "--output", str(tmp_path / "plain")]) == 0
    assert len(list((tmp_path / "fast").glob("*.png"))) == 2
    for wrong, said in (
        (["--steps", "0"], "at least 1"),
        (["--solver", "hun"], "No solver 'hun'"),
        (["--guidance-interval", "0.9", "0.2"], "guidance_interval"),
        (["--guidance", "-1"], "guidance must be at least 0"),
        (["--guide", checkpoint, "--guidance", "1"], "does nothing with guidance 1"),
    ):
        capsys.readouterr()
        assert main([*given, *wrong, "--output", str(tmp_path / "wrong.png")]) == 2
        assert said in capsys.readouterr().err


def test_a_flows_card_says_how_images_were_made(run: Path, tmp_path: Path) -> None:
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    options = ["--count", "4", "--steps", "2", "--solver", "euler", "--cas-images", "0"]
    options += ["--likelihood", "3", "--likelihood-steps", "2"]
    assert main(["evaluate", "--checkpoint", checkpoint, *options, "--output", str(tmp_path / "c.json")]) == 0
    card = json.loads((tmp_path / "c.json").read_text())
    assert card["settings"]["sampler"]["steps"] == 2 and card["settings"]["sampler"]["guidance"] == 1.5
    assert card["reconstruction"]["psnr"] > 5
    likelihood = card["likelihood"]
    assert (likelihood["images"], likelihood["training"]["images"], likelihood["steps"]) == (3, 3, 2)
    low, high = likelihood["interval"]
    assert 0 < low <= likelihood["bits_per_dimension"] <= high


def test_flows_reconstruct_and_interpolate(run: Path, tmp_path: Path) -> None:
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    few = ["--count", "2", "--steps", "3", "--output", str(tmp_path / "r.png")]
    assert main(["reconstruct", "--checkpoint", checkpoint, *few]) == 0
    ends = ["--from-condition", "coast", "--to-condition", "forest", "--count", "1", "--steps", "3"]
    strip = ["--solver-steps", "2", "--output", str(tmp_path / "i.png")]
    assert main(["interpolate", "--checkpoint", checkpoint, *ends, *strip]) == 0


# Maps of a codec


@pytest.fixture(scope="module")
def behind_a_codec(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny flow in the maps of a tiny VQ-VAE, whose file is gone."""
    folder = tmp_path_factory.mktemp("codec")
    data = str(run.parents[2] / "data")
    options = "--data.image_size 32 --data.batch_size 8 --trainer.precision 32-true --trainer.max_epochs 1"
    options += f" --trainer.enable_progress_bar false --data.root {data} --trainer.default_root_dir {folder}"
    networks = ["--model.network.init_args.widths", "[8, 16, 16]"]
    vq = str(CONFIGS / "vq_vae_landscapes.yaml")
    assert main(["fit", "--config", vq, *options.split(), *networks]) == 0
    codec = folder / "runs" / "vq_vae_landscapes" / "0" / "checkpoints" / "best.ckpt"
    networks = ["--model.network.init_args.widths", "[16, 32]", "--model.network.init_args.attention", "[1]"]
    networks += ["--model.network.init_args.embedding_size", "32", "--model.codec", str(codec)]
    flow = str(CONFIGS / "flow_landscapes_128.yaml")
    assert main(["fit", "--config", flow, *options.split(), *networks]) == 0
    codec.unlink()
    return folder / "runs" / "flow_landscapes_128" / "0" / "checkpoints" / "best.ckpt"


def test_a_flow_of_maps_needs_no_other_file(
    behind_a_codec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_module(behind_a_codec, FlowMatching)
    assert model.codec is not None and model.latent_shape == (16, 4, 4) == model.codec.shape
    assert not any(weight.requires_grad for weight in model.codec.parameters())
    content = load_checkpoint(behind_a_codec)
    averages = content["ema_state_dict"]
    assert isinstance(averages, dict) and not any(name.startswith("codec.") for name in averages)
    image = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        maps = model.codec.encode(image)
        there = model.codec.autoencoder.reconstruct(Batch(image))
        assert torch.allclose(model.codec.decode(maps), there, atol=1e-5)
        made = model.sample(Condition(torch.eye(5)[:2]), torch.arange(2))
    assert made.shape == (2, 3, 32, 32)
    given = ["--count", "2", "--steps", "2", "--condition", "coast", "--output", str(tmp_path / "s.png")]
    assert main(["sample", "--checkpoint", str(behind_a_codec), *given]) == 0
    assert main(["evaluate", "--checkpoint", str(behind_a_codec), "--likelihood", "2"]) == 2
    assert "one of a codec's maps (16, 4, 4)" in capsys.readouterr().err


def test_maps_are_standardised_by_the_training_images(behind_a_codec: Path) -> None:
    model = load_module(behind_a_codec, FlowMatching)
    data = as_image_data(load_datamodule(behind_a_codec))
    assert model.codec is not None
    maps = model.codec.encode(data.batch("train", range(data.size("train"))).image)
    assert maps.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (maps.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-2 or (model.codec.deviation <= 1e-6).any()


def test_codecs_that_do_not_fit_are_refused(
    run: Path, behind_a_codec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["fit", "--config", str(CONFIGS / "flow_landscapes_128.yaml"), "--data.image_size", "32"]
    for file, said in (
        (run / "checkpoints" / "best.ckpt", "a codec must make maps"),
        (run / "none.ckpt", "There is no checkpoint"),
    ):
        capsys.readouterr()
        assert main([*config, "--data.root", str(run.parents[2] / "data"), "--model.codec", str(file)]) == 2
        assert said in capsys.readouterr().err
