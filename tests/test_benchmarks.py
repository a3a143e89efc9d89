"""Benchmarks run: at a small size, and whatever they measure here."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from vedute.cli import main

ROOT = Path(__file__).parents[1]


def run(monkeypatch: pytest.MonkeyPatch, name: str, options: str) -> None:
    folder = ROOT / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "argv", [name, *options.split()])
    runpy.run_path(str(folder / name), run_name="__main__")


def test_the_gpu_jobs_run_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "gpu_jobs.py", "--image-size 32 --steps 1 --batch-size 4 --images 16")
    said = capsys.readouterr().out
    assert "cvae_street_view" in said and "1.9 h on two V100" in said
    assert "cvae_wide_plus_128_d64" in said and "22 h on a Colab GPU" in said


def test_a_models_step_is_compared_with_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "step.py", "--model residual --image_size 32 --rounds 1 --batch_size 4")
    said = capsys.readouterr().out
    assert "cvae_landscapes" in said and "package" in said and "1.00 x as fast as plain" in said


@pytest.mark.parametrize("model", ["flow_unet", "flow_transformer"])
def test_a_step_of_a_flow_is_compared_with_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    run(monkeypatch, "flow_step.py", f"--model {model} --image_size 32 --rounds 1 --batch_size 2")
    said = capsys.readouterr().out
    assert "1.00 x as fast as plain" in said and "share of the matrix rate" in said


@pytest.mark.parametrize("model", ["dcgan", "pix2pix", "esrgan"])
def test_a_step_of_two_networks_is_compared_with_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    run(monkeypatch, "gan_step.py", f"--model {model} --image_size 32 --rounds 1 --batch_size 2")
    said = capsys.readouterr().out
    assert "package" in said and "1.00 x as fast as plain" in said


def test_translating_is_compared_with_the_network_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "translate.py", "--side 300 --width 4 --tile 128 --overlap 32 --repeats 1")
    assert "tile" in capsys.readouterr().out


@pytest.fixture
def judge(class_folders: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Train a judge of the tiny pictures, beside the trained run."""
    small = "--data.image_size 32 --data.batch_size 8 --model.network.init_args.widths [8,16]"
    options = f"--data.root {class_folders} --trainer.max_epochs 1 --trainer.precision 32-true {small}"
    assert (
        main(["fit", "--config", str(ROOT / "configs" / "classifier_landscapes.yaml"), *options.split()]) == 0
    )
    capsys.readouterr()
    return trained / "runs" / "classifier_landscapes" / "0" / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--cas-images 8", ["| training for CAS | yes |", "| **all** |", "Second card, 6 images of a class"]),
        (
            "--against torch-fidelity --width 8 --repeats 1",
            ["12 generated", "width 8", "| Fréchet distance |", "100 subsets", "| precision"],
        ),
    ],
    ids=["profile", "torch-fidelity"],
)
def test_a_card_is_profiled_and_compared(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trained: Path,
    judge: Path,
    options: str,
    expected: list[str],
) -> None:
    model = trained / "runs" / "tiny" / "0" / "checkpoints" / "last.ckpt"
    run(monkeypatch, "card.py", f"--checkpoint {model} --classifier {judge} --count 6 {options}")
    said = capsys.readouterr().out
    for text in expected:
        assert text in said, text


def test_damages_are_measured_once_and_put_in_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], judge: Path, tmp_path: Path
) -> None:
    output = tmp_path / "table.md"
    options = f"--classifier {judge} --count 4 --cas-images 8 --only mirrored --output {output}"
    run(monkeypatch, "degradations.py", options)
    said = capsys.readouterr().out
    assert said.count("none, seed") == 3 and "copies, mirrored {" in said and "blur" not in said
    table = output.read_text(encoding="utf-8")
    assert "| copies, mirrored |" in table and "| distance ratio classifier |" in table
    assert output.with_suffix(".png").is_file()
    run(monkeypatch, "degradations.py", options)
    said = capsys.readouterr().out
    assert "{" not in said and "| copies, mirrored |" in said, "not measured again"


def test_the_fsdp_overlay_fits_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    configs = ROOT / "configs"
    given = ["--config", str(configs / "cvae_wide_plus_256_landscapes.yaml")]
    assert main(["fit", *given, "--config", str(configs / "with" / "fsdp.yaml"), "--print_config"]) == 0
    said = capsys.readouterr().out
    assert "lightning.pytorch.strategies.FSDPStrategy" in said and "latent_size: 200" in said
    assert "SampleGrid" not in said, "it would need whole weights"


@pytest.mark.slow
def test_the_landscape_table_is_filled_and_not_trained_twice(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = "--variants cvae_landscapes --seeds 0 --minutes 0.03 --image-size 32 --count 4 --jobs 1"
    for _ in range(2):
        run(monkeypatch, "landscape_table.py", f"{options} --output {tmp_path}")
        assert "cvae_landscapes, seed 0: 0." in capfd.readouterr().out
    assert "cvae_landscapes" in (tmp_path / "table.md").read_text()
    assert len(list((tmp_path / "seed0" / "runs" / "cvae_landscapes").iterdir())) == 1


def test_the_efficiency_of_processes_is_that_of_one_times_their_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ddp = runpy.run_path(str(ROOT / "benchmarks" / "ddp.py"))
    assert [ddp["counts"](most) for most in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
    alone, four = (ddp["Speed"](images, 0.015, 32) for images in (100.0, 360.0))
    ddp["report"]({1: [alone], 4: [four]})
    said = capsys.readouterr().out
    assert "| 1 | 32 | 100.0 | 1.00 | 100 % | 1.5 % |" in said
    assert "| 4 | 32 | 360.0 | 3.60 | 90 % | 1.5 % |" in said


@pytest.mark.slow
def test_two_processes_are_compared_with_one(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tiny_config: Path
) -> None:
    small = "--devices 2 --trainer.accelerator cpu --rounds 1 --warm-up 1 --steps 4 --strong"
    run(monkeypatch, "ddp.py", f"--config {tiny_config} {small}")
    said = capfd.readouterr().out
    assert "| 1 | 4 |" in said and "| 2 | 2 |" in said, "the batch of four is divided"
