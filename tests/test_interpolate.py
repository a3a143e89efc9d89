"""Interpolation through the command line, and the paths it takes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_modules.base import GenerativeModule
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_module
from vedute.cli import interpolate, main
from vedute.cli.image_input import read_images
from vedute.sampling.paths import Way, between

CHECKPOINT = Path("runs/tiny/0/checkpoints/last.ckpt")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Return a list that gets the images of each strip."""
    kept: list[Tensor] = []
    import vedute.report.strip as strip

    original = strip.strip_picture

    def keep(images: Tensor, *rest: object) -> object:
        kept.append(images)
        return original(images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(strip, "strip_picture", keep)
    return kept


def draw(*options: str) -> int:
    return main(["interpolate", "--checkpoint", str(CHECKPOINT), "--device", "cpu", *options])


def pictures(class_folders: Path) -> list[Path]:
    return [class_folders / "Testing Data" / name for name in ("Coast/0.png", "Forest/2.png")]


@torch.inference_mode()
def test_the_ends_between_conditions_are_samples(trained: Path, drawn: list[Tensor]) -> None:
    ends = ("--from-condition", "Coast", "--to-condition", "Forest")
    assert draw(*ends, "--seed", "5", "--count", "3", "--steps", "4", "--batch-size", "5") == 0
    assert Path("strip.png").is_file()
    frames = drawn[0].reshape(3, 4, 3, 32, 32)
    model = load_module(CHECKPOINT, GenerativeModule)
    for position, name in ((0, "Coast"), (-1, "Forest")):
        condition = Condition(model.parse_condition(name).repeat(3, 1))
        samples = model.sample(condition, torch.tensor([5, 6, 7]))
        assert torch.allclose(frames[:, position], samples, atol=1e-5)
    middle = Condition(model.parse_condition("Coast=0.6666667,Forest=0.3333333").repeat(3, 1))
    assert torch.allclose(frames[:, 1], model.sample(middle, torch.tensor([5, 6, 7])), atol=1e-4)


@torch.inference_mode()
def test_the_ends_between_seeds_are_samples(trained: Path, drawn: list[Tensor]) -> None:
    assert draw("--condition", "Coast", "--seed", "1", "--to-seed", "9", "--count", "2", "--steps", "3") == 0
    frames = drawn[0].reshape(2, 3, 3, 32, 32)
    model = load_module(CHECKPOINT, GenerativeModule)
    condition = Condition(model.parse_condition("Coast").repeat(2, 1))
    for position, seeds in ((0, [1, 2]), (-1, [9, 10])):
        assert torch.allclose(frames[:, position], model.sample(condition, torch.tensor(seeds)), atol=1e-5)
    assert not torch.allclose(frames[:, 1], frames[:, 0], atol=1e-5)


@torch.inference_mode()
def test_the_ends_between_images_are_reconstructions(
    trained: Path, class_folders: Path, drawn: list[Tensor]
) -> None:
    files = pictures(class_folders)
    assert draw("--from", str(files[0]), "--to", str(files[1]), "--steps", "5") == 0
    model = load_module(CHECKPOINT, GenerativeModule)
    originals = read_images(files, model, "crop").image
    batch = Batch(originals, Condition(torch.eye(2)))  # as their folders are named
    frames = drawn[0]
    assert len(frames) == 7 and torch.equal(frames[[0, -1]], originals)
    assert torch.allclose(frames[[1, -2]], model.reconstruct(batch), atol=1e-5)


@torch.inference_mode()
def test_one_image_under_changing_conditions(trained: Path, class_folders: Path, drawn: list[Tensor]) -> None:
    file = pictures(class_folders)[0]
    ends = ("--from-condition", "Coast", "--to-condition", "Forest")
    assert draw("--from", str(file), *ends, "--steps", "2") == 0
    model = load_module(CHECKPOINT, GenerativeModule)
    batch = Batch(read_images([file] * 2, model, "crop").image, Condition(torch.eye(2)))
    latents = model.embed(Batch(batch.image[:1], Condition(torch.eye(2)[:1])))
    assert torch.allclose(drawn[0][1], model.decode(latents, Condition(torch.eye(2)[:1]))[0], atol=1e-5)
    assert torch.allclose(drawn[0][2], model.decode(latents, Condition(torch.eye(2)[1:]))[0], atol=1e-5)


def test_one_image_under_one_condition_in_two_spellings_is_refused(
    trained: Path, class_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = ("--from-condition", "coast", "--to-condition", "Coast")
    assert draw("--from", str(pictures(class_folders)[0]), *ends) == 2
    assert "Nothing changes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("Nothing changes",)),
        (("--to", "a.png"), ("--to", "--from")),
        (("--from", "a.png", "--to-seed", "3"), ("--to-seed", "--from")),
        (("--to-condition", "Coast"), ("--from-condition",)),
        (("--to-seed", "3", "--steps", "1"), ("--steps",)),
        (("--to-seed", "3"), ("--condition", "class")),
        (("--to-seed", "3", "--condition", "Caost"), ("Did you mean 'coast'",)),
        (("--from", "a.png", "--to", "b.png"), ("--from", "a.png", "does not exist")),
        (("--from", ".", "--to", "b.png"), ("folder",)),
        (("--to-seed", "3", "--output", "strip.jpg"), (".png",)),
    ],
)
def test_what_cannot_be_drawn_is_told(
    trained: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert draw(*options) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_models_that_cannot_are_refused(
    trained: Path, class_folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_module(CHECKPOINT, GenerativeModule)
    monkeypatch.setattr("vedute.checkpoints.load_module", lambda *_: model)
    monkeypatch.setattr(type(model), "latent_shape", None)
    assert draw("--condition", "Coast", "--to-seed", "3") == 2
    assert "--from and --to" in capsys.readouterr().err
    monkeypatch.setattr(type(model), "has_encoder", False)
    first, last = pictures(class_folders)
    assert draw("--from", str(first), "--to", str(last)) == 2
    assert "no encoder" in capsys.readouterr().err


def test_both_ends_of_a_path_are_exact() -> None:
    torch.manual_seed(0)
    start, end = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    ways: tuple[Way, ...] = ("linear", "spherical")
    for way in ways:
        points = between(start, end, 6, way)
        assert points.shape == (3, 6, 2, 4)
        assert torch.equal(points[:, 0], start) and torch.equal(points[:, -1], end)


def test_a_spherical_path_keeps_the_length_and_turns_evenly() -> None:
    torch.manual_seed(0)
    ends = torch.nn.functional.normalize(torch.randn(2, 5, 64), dim=2)
    points = between(ends[0], ends[1], 9, "spherical")
    assert torch.allclose(points.norm(dim=2), torch.ones(5, 9), atol=1e-5)
    cosines = (points[:, 1:] * points[:, :-1]).sum(dim=2)
    assert torch.allclose(cosines, cosines[:, :1].expand(5, 8), atol=1e-5)
    straight = between(ends[0], ends[1], 9, "linear")
    assert (straight[:, 4].norm(dim=1) < 0.85).all()


def test_a_spherical_path_without_a_direction_is_straight() -> None:
    start = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    end = torch.tensor([[-1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    points = between(start, end, 3, "spherical")
    assert torch.allclose(points, between(start, end, 3, "linear")) and torch.isfinite(points).all()
    with pytest.raises(ValueError, match="2 steps"):
        between(start, end, 1, "linear")
    assert math.isclose(float(points[1, 1, 0]), 0.5)


def test_titles_tell_how_far() -> None:
    assert interpolate._shares(5) == ["0", "0.25", "0.5", "0.75", "1"]
