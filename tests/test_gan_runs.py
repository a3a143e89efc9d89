"""GANs by the command line: seeds, conditions, averages, verbs, resuming, several processes, bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_modules.base import GenerativeModule
from lightning_modules.gan import GAN
from tests.data.adversarial import (
    arguments,
    assert_same_end,
    callback,
    fit,
    in_two_processes,
    killed_and_resumed,
    run_of,
)
from tests.data.cars import tiny_scores, write_tiny_cars
from tests.data.commands import failed
from tests.data.landscapes import write_tiny_landscapes
from tests.data.pictures import write_tiny_pictures
from tests.data.training import column
from vedute.batch import Condition
from vedute.callbacks.ema import EMA_KEY
from vedute.checkpoints import load_checkpoint, load_module
from vedute.cli import main

MODEL = "--model.init_args"


def adaptive(**options: object) -> str:
    """Return the options of an adaptive probability."""
    given = [f"{MODEL}.adaptive vedute.augment.adaptive.AdaptiveProbability"]
    return " ".join(
        [*given, *(f"{MODEL}.adaptive.init_args.{key} {value}" for key, value in options.items())]
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def landscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_landscapes(tmp_path_factory.mktemp("landscapes"))


@pytest.fixture(scope="module")
def unconditional(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = f"{adaptive(images=40, every=1, target=-0.9)} --trainer.max_epochs 3"
    return fit("dcgan_pictures", pictures, tmp_path_factory.mktemp("unconditional"), *options.split())


@pytest.fixture(scope="module")
def conditional(landscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conditional")
    return fit("gan_landscapes", landscapes, folder, "--trainer.max_epochs", "2")


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def test_the_probability_of_augmentation_is_logged_saved_and_goes_on(
    unconditional: Path, pictures: Path
) -> None:
    logged = column(unconditional, "train/augment_probability")
    assert logged == sorted(logged) and logged[0] < logged[-1] <= 0.8 + 1e-6
    module = load_module(last(unconditional), GAN)
    assert module.augment.adaptive is not None
    assert float(module.augment.adaptive.probability) == pytest.approx(logged[-1])
    assert "augment.adaptive.level" in load_checkpoint(last(unconditional))["state_dict"]  # type: ignore[operator]


def test_the_same_seed_is_the_same_image_whatever_the_batch(unconditional: Path, conditional: Path) -> None:
    for run in (unconditional, conditional):
        module = load_module(last(run), GenerativeModule)
        size = module.condition_size
        condition = Condition(torch.eye(size)[torch.arange(5) % size] if size else None)
        with torch.no_grad():
            together = module.sample(condition, torch.arange(5))
            alone = torch.cat([module.sample(condition[n : n + 1], torch.tensor([n])) for n in range(5)])
        assert torch.allclose(together, alone, atol=1 / 255)
        assert together.min() >= 0 and together.max() <= 1
        assert (together[0] - together[1]).abs().max() > 0


def sampled(checkpoint: Path, folder: Path, *options: str) -> list[bytes]:
    """Return the files that ``sample`` writes."""
    command = ["sample", "--checkpoint", str(checkpoint), "--count", "1", "--output", str(folder)]
    assert main([*command, *options]) == 0
    return [path.read_bytes() for path in sorted(folder.glob("*.png"))]


def test_conditions_change_the_images(conditional: Path, tmp_path: Path) -> None:
    typed = ("coast", "forest", "coast=0.5,forest=0.5")
    images = sampled(last(conditional), tmp_path, *(part for text in typed for part in ("--condition", text)))
    assert len(set(images)) == 3


@pytest.mark.parametrize(
    ("config", "augment", "policies"), [("dcgan_landscapes", "null", 3), ("gan_landscapes", "[]", 0)]
)
def test_scores_change_the_images(config: str, augment: str, policies: int, tmp_path: Path) -> None:
    root = write_tiny_cars(tmp_path / "cars", tiny_scores(24))
    data = ["--data", "datamodules.cars.CarsDataModule", "--data.root", str(root)]
    run = fit(config, root, tmp_path, *data, f"{MODEL}.augment", augment)
    assert len(load_module(last(run), GAN).augment.policies) == policies, "of few images, as asked for"
    texts = ("Moira=1,Ferdinando=2,Esther=3", "Moira=9,Ferdinando=2,Esther=3")
    images = sampled(last(run), tmp_path / "s", *(part for text in texts for part in ("--condition", text)))
    assert len(set(images)) == 2


def test_the_discriminator_compares_image_and_condition(conditional: Path) -> None:
    module = load_module(last(conditional), GAN)
    image, vectors = torch.rand(1, 3, 32, 32), torch.eye(5)
    with torch.no_grad():
        opinions = module.discriminator(image.expand(5, -1, -1, -1), vectors).logits
    assert len(opinions.unique()) == 5


def test_the_average_is_of_the_generators_weights_and_statistics(unconditional: Path) -> None:
    checkpoint = load_checkpoint(last(unconditional))
    averages = checkpoint[EMA_KEY]
    assert isinstance(averages, dict)
    network = load_module(last(unconditional), GAN).network
    norms = [
        name for name, layer in network.named_modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    ]
    statistics = {f"{name}.{kind}" for name in norms for kind in ("running_mean", "running_var")}
    weights = {name for name, _ in network.named_parameters()}
    assert norms and averages.keys() == {f"network.{name}" for name in weights | statistics}
    state = checkpoint["state_dict"]
    assert isinstance(state, dict)
    assert any(not torch.equal(state[name], averages[name]) for name in averages)


def test_a_checkpoint_without_averages_samples_too(unconditional: Path, tmp_path: Path) -> None:
    content = torch.load(last(unconditional), weights_only=True)
    del content[EMA_KEY], content["ema_updates"]
    torch.save(content, tmp_path / "plain.ckpt")
    plain = sampled(tmp_path / "plain.ckpt", tmp_path / "plain")
    assert plain and plain != sampled(last(unconditional), tmp_path / "averaged")


def test_verbs_on_a_gan(unconditional: Path, tmp_path: Path) -> None:
    given = ["--checkpoint", str(last(unconditional))]
    assert main(["describe", *given]) == 0
    assert main(["evaluate", *given, "--count", "4", "--output", str(tmp_path / "card.json")]) == 0
    assert main(["interpolate", *given, "--to-seed", "3", "--output", str(tmp_path / "way.png")]) == 0
    assert main(["predict", "--ckpt_path", str(last(unconditional))]) == 0
    assert len(list((unconditional / "predictions" / "last").glob("*.png"))) == 3
    assert (tmp_path / "card.json").is_file() and (tmp_path / "way.png").is_file()


def test_verbs_that_a_gan_cannot_do_say_so(
    unconditional: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint", str(last(unconditional))]
    image = str(pictures / "0.JPG")
    places = ["--input", image, "--output", str(tmp_path / "out.png")]
    for verb in ("translate", "upscale"):
        assert "makes images from nothing but noise" in failed(capsys, verb, *given, *places)
    for verb in ("embed", "reconstruct"):
        assert "no encoder" in failed(capsys, verb, *given)
    assert "no encoder" in failed(
        capsys, "interpolate", *given, "--from", image, "--to", str(pictures / "6.jpg")
    )
    assert "unconditional" in failed(capsys, "sample", *given, "--condition", "coast")
    message = failed(capsys, "sample", *given, "--then", str(last(unconditional)))
    assert "makes images from nothing but noise" in message


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_state(pictures: Path, tmp_path: Path) -> None:
    options = f"--trainer.max_epochs 4 {MODEL}.penalty_weight 1 {MODEL}.penalty_every 2"
    options += f" {adaptive(images=200, target=0.01)}"
    options += f" {MODEL}.discriminator_steps 2 {MODEL}.learning_rate_schedule vedute.schedules.WarmupCosine"
    options += f" {MODEL}.discriminator_schedule vedute.schedules.LinearWarmup"
    first, second = killed_and_resumed("dcgan_pictures", pictures, tmp_path, 2, 1, *options.split())
    assert_same_end(first, second)
    for name in ("train/discriminator_loss", "train/augment_probability"):
        assert column(first, name) == column(second, name), name


@pytest.mark.slow
def test_two_processes_end_with_equal_weights(pictures: Path, tmp_path: Path) -> None:
    options = f"--trainer.max_epochs 3 --data.batch_size 4 {MODEL}.penalty_weight 1"
    options += f" {MODEL}.discriminator_steps 2 {adaptive(images=100, every=1)}"
    one, other = in_two_processes("dcgan_pictures", pictures, tmp_path, *options.split())
    assert one["step"] == other["step"] and one["step"]
    for name, weight in one["weights"].items():  # type: ignore[attr-defined]
        assert torch.equal(weight, other["weights"][name]), name  # type: ignore[index]
    level = "augment.adaptive.level"
    assert torch.equal(one["buffers"][level], other["buffers"][level])  # type: ignore[index]


@pytest.mark.parametrize(
    ("option", "instead"),
    [("gradient_clip_val", "model.gradient_clip"), ("accumulate_grad_batches", "batch_size")],
)
def test_options_for_one_optimiser_are_refused_with_what_to_use_instead(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, instead: str
) -> None:
    given = arguments("dcgan_pictures", pictures, tmp_path, f"--trainer.{option}", "2")
    message = failed(capsys, *given)
    assert f"trainer.{option}" in message and instead in message


def test_a_broken_training_stops_and_keeps_the_last_good_state(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poison = callback("tests.data.adversarial.Poison", epoch=1, batch=1)
    message = failed(
        capsys, *arguments("dcgan_pictures", pictures, tmp_path, *poison, "--trainer.max_epochs", "3")
    )
    kept = last(run_of("dcgan_pictures", tmp_path))
    assert "epoch 2" in message and str(kept) in message and "learning rate" in message
    state = load_checkpoint(kept)["state_dict"]
    assert isinstance(state, dict) and all(value.isfinite().all() for value in state.values())
    assert sampled(kept, tmp_path / "images")
