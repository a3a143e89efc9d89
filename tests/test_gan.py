"""GANs: whose turn it is, penalties, augmentation, seeds, conditions, averages, resuming, bad input."""

from __future__ import annotations

import math
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.base import GenerativeModule
from lightning_modules.gan import GAN
from tests.data.adversarial import (
    Turns,
    arguments,
    assert_same_end,
    callback,
    fit,
    in_two_processes,
    killed_and_resumed,
    note_logged,
    run_of,
    train,
)
from tests.data.cars import tiny_scores, write_tiny_cars
from tests.data.commands import failed
from tests.data.landscapes import write_tiny_landscapes
from tests.data.pictures import write_tiny_pictures
from tests.data.training import column
from vedute.augment.adaptive import AdaptiveProbability
from vedute.augment.differentiable import Colour, Cutout, Translation
from vedute.batch import Batch, Condition
from vedute.callbacks.ema import EMA_KEY
from vedute.checkpoints import load_checkpoint, load_module
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.losses.adversarial import RelativisticPaired, zero_centred_penalty
from vedute.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from vedute.networks.discriminators import Discriminator
from vedute.networks.residual_gan import ResidualDiscriminator

MODEL = "--model.init_args"
ADAPTIVE = f"{MODEL}.adaptive vedute.augment.adaptive.AdaptiveProbability {MODEL}.adaptive.init_args"


def batch_norms(*sizes: object) -> Discriminator:
    return DCGANDiscriminator(*sizes, width=4)  # type: ignore[arg-type]


def without_norms(*sizes: object) -> Discriminator:
    return ResidualDiscriminator(*sizes, widths=(8, 8))  # type: ignore[arg-type]


def build(**options: object) -> GAN:
    facts = {"image_size": (16, 16), "image_channels": 3, "condition_kind": "class", "train_size": 40}
    more = {"discriminator": batch_norms, "condition_names": ["coast", "forest"], "augment": []}
    torch.manual_seed(0)
    return GAN(
        network=lambda *sizes: DCGANGenerator(*sizes, noise_size=8, width=4),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        **{**facts, **more, **options},  # type: ignore[arg-type]
    )


def batches(count: int = 4, size: int = 6) -> list[Batch]:
    torch.manual_seed(1)
    vectors = torch.eye(2)[torch.arange(size) % 2]
    return [Batch(torch.rand(size, 3, 16, 16), Condition(vectors)) for _ in range(count)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def landscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_landscapes(tmp_path_factory.mktemp("landscapes"))


@pytest.fixture(scope="module")
def unconditional(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    adaptive = f"{ADAPTIVE}.images 40 {ADAPTIVE.split()[-1]}.every 1 {ADAPTIVE.split()[-1]}.target -0.9"
    penalties = f"{MODEL}.penalty_weight 1 {MODEL}.penalty_every 4 --trainer.max_epochs 3"
    folder = tmp_path_factory.mktemp("unconditional")
    return fit("dcgan_pictures", pictures, folder, *f"{adaptive} {penalties}".split())


@pytest.fixture(scope="module")
def conditional(landscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conditional")
    return fit("gan_landscapes", landscapes, folder, "--trainer.max_epochs", "2")


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


# Whose turn it is


@pytest.mark.parametrize("discriminator", [batch_norms, without_norms])
def test_gradients_reach_the_network_whose_turn_it_is(discriminator: type[Discriminator]) -> None:
    turns = Turns()
    train(build(discriminator=discriminator, penalty_every=2, fake_penalty_weight=0.5), batches(3), turns)
    assert turns.turns == [["discriminator", "network"]] * 3
    assert turns.moved == [{"discriminator", "network"}] * 3


def test_the_generator_waits_for_the_steps_of_the_discriminator() -> None:
    turns, module = Turns(), build(discriminator_steps=3)
    trainer = train(module, batches(5), turns, epochs=2)
    alone, both = ["discriminator"], ["discriminator", "network"]
    assert turns.turns == [alone, alone, both] * 3 + [alone], "counted on over epochs"
    assert turns.moved == [set(turn) for turn in turns.turns]
    assert trainer.global_step == 13


def test_weights_change_by_no_more_than_clipped_gradients_allow() -> None:
    module = build(gradient_clip=1e-3)
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    train(module, batches(1))
    for network in ("network", "discriminator"):
        changes = [
            (weight - before[name]).flatten()
            for name, weight in module.named_parameters()
            if name.startswith(network)
        ]
        norm = torch.cat(changes).norm()
        assert 0 < norm <= 0.1 * 1e-3 * 1.001, "the rate is 0.1"


def test_batch_norms_see_real_and_generated_images_apart() -> None:
    for discriminator, expected in ((batch_norms, [6, 6]), (without_norms, [12])):
        module, seen = build(discriminator=discriminator), []
        note_logged(module)
        module.discriminator.register_forward_hook(
            lambda _, inputs, out, kept=seen: kept.append(len(inputs[0]))
        )
        module._discriminator_loss(module._generated(batches(1)[0]), False)
        assert seen == expected


# Penalties


@pytest.mark.parametrize(("real", "fake"), [(2.0, 0.0), (0.0, 3.0), (2.0, 3.0)])
def test_a_penalty_has_the_weight_of_the_batches_that_it_stands_for(real: float, fake: float) -> None:
    module = build(penalty_weight=real, fake_penalty_weight=fake, penalty_every=5)
    logged, generated = note_logged(module), module._generated(batches(1)[0])
    plain, penalised = (module._discriminator_loss(generated, due) for due in (False, True))

    def half_squared(image: Tensor) -> Tensor:
        def judge(changed: Tensor) -> Tensor:
            return module.discriminator(changed, generated.vector).logits  # type: ignore[no-any-return]

        return 0.5 * zero_centred_penalty(judge, image).mean()

    expected = 5 * (real * half_squared(generated.real) + fake * half_squared(generated.fake))
    torch.testing.assert_close(penalised - plain, expected, rtol=1e-4, atol=1e-5)
    assert not {"penalty", "fake_penalty"} & logged[0].keys()
    assert {"penalty", "fake_penalty"} & logged[1].keys() == {
        name for name, weight in (("penalty", real), ("fake_penalty", fake)) if weight
    }


def test_penalties_are_computed_every_so_many_batches() -> None:
    module = build(penalty_every=3, discriminator_steps=2)
    logged = note_logged(module)
    train(module, batches(4), epochs=2)
    due = ["penalty" in values for values in logged if "discriminator_loss" in values]
    assert due == [True, False, False, True, False, False, True, False], "counted on over epochs"


# Augmentation


def test_few_images_are_augmented_unless_asked_otherwise() -> None:
    kinds = [type(policy) for policy in build(augment=None, train_size=19_999).augment.policies]
    assert kinds == [Colour, Translation, Cutout]
    assert not build(augment=None, train_size=20_000).augment.policies
    assert not build(augment=[], train_size=10).augment.policies
    assert len(build(augment=[Cutout()], train_size=10**6).augment.policies) == 1


def test_validation_judges_images_as_they_are() -> None:
    module = build(augment=[Cutout(), Colour()])
    generated = module._generated(batches(1)[0])
    assert not torch.equal(module.change(generated.real), generated.real)
    for training in (True, False):
        module.train(training)
        with patch.object(module.discriminator, "forward", wraps=module.discriminator.forward) as judged:
            module.judge(generated)
        seen = [call.args[0] for call in judged.call_args_list]
        assert torch.equal(seen[0], generated.real) != training
        assert torch.equal(seen[1], generated.fake) != training


def test_the_probability_of_augmentation_is_logged_saved_and_goes_on(
    unconditional: Path, pictures: Path
) -> None:
    logged = column(unconditional, "train/augment_probability")
    assert logged == sorted(logged) and logged[0] < logged[-1] <= 0.8 + 1e-6
    module = load_module(last(unconditional), GAN)
    assert module.augment.adaptive is not None
    assert float(module.augment.adaptive.probability) == pytest.approx(logged[-1])
    assert "augment.adaptive.level" in load_checkpoint(last(unconditional))["state_dict"]  # type: ignore[operator]


@pytest.mark.parametrize("sets", [1, 3])
def test_the_probability_counts_each_real_image_once(sets: int) -> None:
    adaptive = AdaptiveProbability(target=0.0, images=1000, every=1, start=0.5)
    module = build(augment=[Colour()], adaptive=adaptive, adversarial=RelativisticPaired())
    note_logged(module)
    generated = module._generated(batches(1)[0])
    generated.fake = torch.rand(sets * 6, 3, 16, 16)
    with patch.object(module._adversarial, "margins", side_effect=lambda real, fake: (fake * 0 + 1, fake)):
        module._discriminator_loss(generated, False)
    assert round(float(adaptive.probability) * 1000) == 506


# Sampling


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


# Averages


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


# The verbs


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


# Resuming, several processes


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_state(pictures: Path, tmp_path: Path) -> None:
    adaptive = f"{ADAPTIVE}.images 200 {ADAPTIVE.split()[-1]}.target 0.01"
    options = f"--trainer.max_epochs 4 {MODEL}.penalty_weight 1 {MODEL}.penalty_every 2 {adaptive}"
    options += f" {MODEL}.discriminator_steps 2 {MODEL}.learning_rate_schedule vedute.schedules.WarmupCosine"
    options += f" {MODEL}.discriminator_schedule vedute.schedules.LinearWarmup"
    first, second = killed_and_resumed("dcgan_pictures", pictures, tmp_path, 2, 1, *options.split())
    assert_same_end(first, second)
    for name in ("train/discriminator_loss", "train/augment_probability"):
        assert column(first, name) == column(second, name), name


@pytest.mark.slow
def test_two_processes_end_with_equal_weights(pictures: Path, tmp_path: Path) -> None:
    adaptive = f"{ADAPTIVE}.images 100 {ADAPTIVE.split()[-1]}.every 1 {MODEL}.discriminator_steps 2"
    options = f"--trainer.max_epochs 3 --data.batch_size 4 {MODEL}.penalty_weight 1 {adaptive}"
    one, other = in_two_processes("dcgan_pictures", pictures, tmp_path, *options.split())
    assert one["step"] == other["step"] and one["step"]
    for name, weight in one["weights"].items():  # type: ignore[attr-defined]
        assert torch.equal(weight, other["weights"][name]), name  # type: ignore[index]
    level = "augment.adaptive.level"
    assert torch.equal(one["buffers"][level], other["buffers"][level])  # type: ignore[index]


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty_weight": -1.0}, "penalty_weight"),
        ({"fake_penalty_weight": math.nan}, "fake_penalty_weight"),
        ({"penalty_every": 0}, "penalty_every"),
        ({"discriminator_steps": 0}, "discriminator_steps"),
        ({"gradient_clip": -1.0}, "gradient_clip"),
        ({"adaptive": AdaptiveProbability()}, "adaptive.*augment"),
        ({"condition_kind": "image", "condition_names": [], "condition_channels": 1}, "masks"),
        ({"image_size": (18, 18)}, "18"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**options)


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
