"""Flow matching as a model: what is trained, what is generated, and the commands."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_modules.flow_matching import FlowMatching
from lightning_modules.mean_flow import MeanFlow
from tests.data.landscapes import write_tiny_landscapes
from vedute.augment.conditioned import ConditionedAugmentation
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_checkpoint, load_datamodule, load_module
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.networks.flow_unet import FlowUNet
from vedute.promises import as_image_data
from vedute.sampling.flow_sampler import FlowSampler
from vedute.sampling.seeds import seeded_normal
from vedute.schedules import Progress, SigmoidFall, WarmupDecay

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
NAMES = ["red", "green", "blue"]
SMALL = partial(FlowUNet, widths=(16, 32), attention=(1,), embedding_size=32)
FACTS = {
    "image_size": (8, 16),
    "image_channels": 3,
    "train_size": 64,
    "optimizer": partial(torch.optim.AdamW, lr=1e-3),
}


def flow(kind: str = "class", module: type[FlowMatching] = FlowMatching, **options: object) -> FlowMatching:
    """Build a small model whose last layers are not zero, so that conditions matter."""
    torch.manual_seed(0)
    facts = {"condition_kind": kind, "condition_names": [] if kind in ("none", "image") else NAMES, **FACTS}
    if kind == "image":
        facts["condition_channels"] = 1
    model = module(network=SMALL, **{**facts, **options})  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(std=0.05)
    return model.eval()


def batch(count: int = 6, kind: str = "class") -> Batch:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(count, 3, 8, 16, generator=generator)
    vector = torch.eye(3)[torch.arange(count) % 3] if kind != "none" else None
    return Batch(image, Condition(vector), torch.arange(count))


# Training


def test_the_loss_is_that_of_the_straight_path() -> None:
    model, given = flow(condition_dropout=0.0), batch()
    noise, t = torch.randn(6, 3, 8, 16), torch.rand(6)
    with torch.no_grad():
        losses = model._losses(model._ends(given, noise, None), t)
        data, side = 2 * given.image - 1, t[:, None, None, None]
        told = model._condition(given.condition, 6)
        expected = model.network((1 - side) * noise + side * data, t, told) - (data - noise)
    assert torch.allclose(losses, expected.square().mean(dim=(1, 2, 3)), atol=1e-5)


def test_a_network_that_predicts_data_has_the_velocity_towards_them() -> None:
    model = flow(prediction="data", condition_dropout=0.0)
    x, t = torch.randn(4, 3, 8, 16), torch.tensor([0.0, 0.3, 0.6, 0.9])
    told = model._condition(batch(4).condition, 4)
    with torch.no_grad():
        velocity, data = model._velocity(x, t, told), model.network(x, t, told)
    arrived = x + (1 - t)[:, None, None, None] * velocity
    assert torch.allclose(arrived, data, atol=1e-4), "a step to the end arrives at the data"


def test_conditions_are_left_out_image_by_image() -> None:
    model = flow(condition_dropout=0.25)
    torch.manual_seed(0)
    kept = torch.stack([model._kept(64) for _ in range(100)])  # type: ignore[misc]
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.02)
    assert int((kept.float().std(dim=1) > 0).sum()) > 0, "within a batch, not batch by batch"
    assert flow("none")._kept(8) is None and flow(condition_dropout=0.0)._kept(8) is None


def test_what_the_network_is_told_changes_images_only_where_it_is_kept() -> None:
    model = flow()
    x, t = torch.randn(2, 3, 8, 16), torch.full((2,), 0.5)
    one, other = Condition(torch.eye(3)[[0, 0]]), Condition(torch.eye(3)[[1, 1]])
    with torch.no_grad():
        assert not torch.allclose(model._field(one, 2)(x, t), model._field(other, 2)(x, t))
        assert torch.equal(model._field(one, 2, kept=False)(x, t), model._field(other, 2, kept=False)(x, t))


def test_validation_is_the_same_each_time_and_whatever_the_batches(tmp_path: Path) -> None:
    model, given = flow(), batch()
    logged: dict[str, list[Tensor]] = {}

    def log(stage: str, values: dict[str, Tensor], size: int) -> None:
        for name, value in values.items():
            logged.setdefault(name, []).append(value * size)

    model.log_stage = log  # type: ignore[assignment]
    with torch.no_grad():
        model.validation_step(given)
        for rows in (slice(0, 2), slice(2, 6)):
            model.validation_step(given[rows])
    whole, *parts = logged["loss"]
    assert float(whole) == pytest.approx(float(sum(parts)), rel=1e-5)


# Sampling


def test_an_image_depends_on_its_seed_and_condition_alone() -> None:
    model = flow(sampler=FlowSampler(steps=3, guidance=2.0))
    seeds, condition = torch.tensor([3, 14, 15]), Condition(torch.eye(3))
    with torch.no_grad():
        together = model.sample(condition, seeds)
        alone = torch.cat([model.sample(condition[[row]], seeds[[row]]) for row in range(3)])
        noise = seeded_normal(seeds, model.latent_shape)
        assert torch.allclose(model.generate(condition, noise), together, atol=1e-6)
    assert together.shape == (3, 3, 8, 16) and 0 <= float(together.min()) <= float(together.max()) <= 1
    assert torch.allclose(together, alone, atol=1e-5)


def test_renewed_noise_belongs_to_the_seed_too() -> None:
    model = flow(sampler=FlowSampler(steps=4, noise_scale=0.5))
    seeds, condition = torch.tensor([3, 14]), Condition(torch.eye(3)[:2])
    with torch.no_grad():
        first = model.sample(condition, seeds)
        assert torch.allclose(model.sample(condition, seeds), first, atol=1e-6)
        assert torch.allclose(model.sample(condition[[1]], seeds[[1]]), first[[1]], atol=1e-5)
        noise = seeded_normal(seeds, model.latent_shape)
        made = model.generate(condition, noise)
        assert torch.allclose(model.generate(condition[[1]], noise[[1]]), made[[1]], atol=1e-5)
        assert not torch.allclose(made[0], made[1])


def test_guidance_one_is_the_condition_and_zero_is_none() -> None:
    model = flow(sampler=FlowSampler(steps=3))
    condition, noise = Condition(torch.eye(3)), torch.randn(3, 3, 8, 16)

    def made(guidance: float, given: Condition = condition) -> Tensor:
        model.set_sampler(replace(model.sampler, guidance=guidance))
        with torch.no_grad():
            return model.generate(given, noise)

    plain = made(1.0)
    without = made(0.0)
    assert torch.allclose(without, made(0.0, condition[[1, 2, 0]])), "the condition counts for nothing"
    assert not torch.allclose(plain, without, atol=1e-4)
    assert (made(2.0) - plain).abs().max() > 1e-3


def test_a_guide_is_another_model() -> None:
    model, guide = flow(sampler=FlowSampler(steps=2, guidance=2.0)), flow()
    condition, noise = Condition(torch.eye(3)), torch.randn(3, 3, 8, 16)
    with torch.no_grad():
        model.set_sampler(model.sampler, model)
        itself = model.generate(condition, noise)
        model.set_sampler(replace(model.sampler, guidance=1.0))
        assert torch.allclose(itself, model.generate(condition, noise), atol=1e-5), (
            "away from itself: nowhere"
        )
        list(guide.network.parameters())[-2].mul_(3)
        model.set_sampler(replace(model.sampler, guidance=2.0), guide)
        assert not torch.allclose(itself, model.generate(condition, noise), atol=1e-4)
    assert not any("_guide" in name for name in model.state_dict())
    with pytest.raises(ConfigurationError, match="take one of the same data"):
        model.set_sampler(model.sampler, flow("none"))


def test_guidance_without_dropout_is_told_to_do_nothing() -> None:
    for model in (flow(condition_dropout=0.0), flow("none")):
        with pytest.warns(UserWarning, match="guidance 3 does nothing"):
            model.set_sampler(FlowSampler(steps=2, guidance=3.0))
        condition = Condition() if model.condition_kind == "none" else Condition(torch.eye(3)[:1])
        with torch.no_grad():
            assert model.generate(condition, torch.randn(1, 3, 8, 16)).isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow().set_sampler(FlowSampler(guidance=3.0))


def test_images_come_back_from_their_noise() -> None:
    model, given = flow(sampler=FlowSampler(steps=60, guidance=2.0)), batch()
    with torch.no_grad():
        noise = model.embed(given)
        assert noise.shape == (6, 3 * 8 * 16)
        assert (model.reconstruct(given) - given.image).abs().max() < 0.02
        model.set_sampler(replace(model.sampler, guidance=1.0))
        same = model.decode(noise, given.condition)
        model.set_sampler(replace(model.sampler, guidance=10.0))
        other = model.decode(noise, Condition(given.condition.vector.roll(1, 1)))  # type: ignore[union-attr]
    assert (same - given.image).abs().max() < 0.02 < (other - given.image).abs().max()


def test_likelihood_is_of_each_image() -> None:
    model, given = flow(sampler=FlowSampler(steps=4)), batch(3)
    seeds = torch.arange(3)
    bits = model.bits_per_dimension(given, seeds)
    assert bits.shape == (3,) and bits.isfinite().all()
    alone = model.bits_per_dimension(given[[2]], seeds[[2]])
    assert float(alone) == pytest.approx(float(bits[2]), abs=1e-3)
    with torch.inference_mode():  # as Lightning's loops do
        inside = model.bits_per_dimension(batch(3).map(torch.clone), seeds)
    assert torch.allclose(inside, bits, atol=1e-3)


def test_a_network_that_predicts_data_leaves_no_noise() -> None:
    model = flow(prediction="data", condition_dropout=0.0, sampler=FlowSampler(steps=16))
    wanted = torch.rand(2, 3, 8, 16)
    model.network.forward = lambda x, t, condition, span=None: 2 * wanted - 1  # type: ignore[method-assign]
    with torch.no_grad():
        made = model.generate(Condition(torch.eye(3)[:2]), torch.randn(2, 3, 8, 16))
    assert (made - wanted).abs().max() < 1e-3


# Conditioned augmentation


def test_augmented_images_are_described_and_others_left_alone() -> None:
    image = torch.rand(64, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    changed, told = ConditionedAugmentation(probability=0.5)(image)
    assert changed.shape == image.shape and told.shape == (64, ConditionedAugmentation.size)
    assert float(changed.min()) >= 0 and float(changed.max()) <= 1
    plain = ~told.any(dim=1)
    assert torch.equal(changed[plain], image[plain])
    assert ((changed - image).abs().flatten(1).amax(dim=1) > 1e-3)[~plain].all()
    still, none = ConditionedAugmentation(probability=0.0, flip=False)(image)
    assert torch.equal(still, image) and not none.any()


def test_a_mirrored_image_is_exactly_that() -> None:
    image = torch.rand(32, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    changed, told = ConditionedAugmentation(probability=0.0)(image)
    mirrored = told[:, 0] == 1
    assert mirrored.any() and not mirrored.all()
    assert torch.allclose(changed[mirrored], image[mirrored].flip(3), atol=1e-5)
    assert torch.equal(changed[~mirrored], image[~mirrored])


def test_a_mask_is_changed_as_its_image_is() -> None:
    model = flow("image", augment=ConditionedAugmentation(probability=1.0), condition_dropout=0.0)
    mask = (torch.rand(4, 1, 8, 16) > 0.5).float()
    given = Batch(mask.expand(-1, 3, -1, -1), Condition(image=mask), torch.arange(4))
    model.train()
    _, data, told = model._ends(given, torch.randn(4, 3, 8, 16), None)
    assert told.image is not None and told.augmentation is not None and told.augmentation.any()
    assert torch.allclose(data[:, :1], 2 * told.image - 1, atol=1e-5)


# Mean velocities


def test_a_straight_flow_has_its_mean_velocity_everywhere() -> None:
    """Where the velocity is the same all along, both rules of training are met by that velocity."""
    model = flow(module=MeanFlow)
    assert isinstance(model, MeanFlow)
    x, t, span = torch.randn(5, 3, 8, 16), torch.rand(5) / 2, torch.rand(5) / 2
    velocity = torch.randn(5, 3, 8, 16)

    def constant(x: Tensor, t: Tensor, span: Tensor) -> Tensor:
        return velocity + 0 * x * span[:, None, None, None]

    for ratio in (None, lambda progress: 0.5, lambda progress: 1.0):
        model.ratio = ratio
        model.progress = lambda ahead=0: Progress(0.0, 0.0)  # type: ignore[method-assign]
        difference, losses = model._span_error(constant, x, t, span, velocity)
        assert difference.abs().max() < 1e-5 and losses.max() < 1e-5


def test_both_rules_of_mean_velocities_agree_in_the_limit() -> None:
    model = flow(module=MeanFlow, weight_power=0.0)
    assert isinstance(model, MeanFlow)
    model.progress = lambda ahead=0: Progress(0.0, 0.0)  # type: ignore[method-assign]
    x, t, span = torch.randn(5, 3, 8, 16), torch.rand(5) / 2, torch.rand(5) / 2
    velocity = torch.randn(5, 3, 8, 16)
    average = model._average(model._condition(batch(5).condition, 5))
    model.ratio = None
    exact = model._span_error(average, x, t, span, velocity)[0].detach()
    errors = []
    for ratio in (0.2, 0.008):
        model.ratio = lambda progress, ratio=ratio: ratio
        errors.append(float((model._span_error(average, x, t, span, velocity)[0] - exact).abs().max()))
    assert errors[1] < 0.25 * errors[0] < 0.25 * float(exact.abs().max())


def test_one_step_of_a_mean_flow_takes_the_whole_span() -> None:
    model = flow(module=MeanFlow, sampler=FlowSampler(steps=1, solver="euler"))
    assert isinstance(model, MeanFlow)
    condition, noise = Condition(torch.eye(3)), torch.randn(3, 3, 8, 16)
    with torch.no_grad():
        average = model._average(model._condition(condition, 3))
        expected = noise + average(noise, torch.zeros(3), torch.ones(3))
        assert torch.allclose(model.generate(condition, noise), model._image(expected), atol=1e-6)


# Schedules


def test_the_ratio_falls_and_the_rate_is_a_trapezoid() -> None:
    fall = SigmoidFall(0.2, 0.8)
    values = [fall(Progress(0.0, share / 100)) for share in range(101)]
    assert values[0] == 1 and values[100] == 0 and values[50] == pytest.approx(0.5)
    assert all(first >= second for first, second in pairwise(values))
    rate = WarmupDecay(0.1, 0.4)
    assert rate(Progress(0.0, 0.05)) == pytest.approx(0.5) and rate(Progress(0.0, 0.5)) == 1
    assert rate(Progress(0.0, 0.8)) == pytest.approx(0.5) and rate(Progress(0.0, 1.0)) == 0
    for wrong in (lambda: WarmupDecay(0.5, 0.6), lambda: WarmupDecay(-0.1), lambda: SigmoidFall(0.5, 0.5)):
        with pytest.raises(ConfigurationError):
            wrong()


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prediction": "noise"}, "velocity' or 'data"),
        ({"condition_dropout": 1.0}, r"\[0, 1\)"),
        ({"coupling": True, "augment": ConditionedAugmentation()}, "nothing would move"),
        ({"image_size": (9, 16)}, "multiple"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        flow(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"span_share": 0.0}, "span_share"),
        ({"prediction": "data"}, "mean velocities"),
        ({"guidance": 2.0, "condition_dropout": 0.0}, "condition_dropout"),
    ],
)
def test_mean_flows_that_cannot_work_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        flow(module=MeanFlow, **options)  # type: ignore[arg-type]


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
    ):
        capsys.readouterr()
        assert main([*given, *wrong, "--output", str(tmp_path / "wrong.png")]) == 2
        assert said in capsys.readouterr().err


def test_a_flows_card_says_how_images_were_made(run: Path, tmp_path: Path) -> None:
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    options = ["--count", "4", "--steps", "2", "--solver", "euler", "--cas-images", "0"]
    assert main(["evaluate", "--checkpoint", checkpoint, *options, "--output", str(tmp_path / "c.json")]) == 0
    card = json.loads((tmp_path / "c.json").read_text())
    assert card["settings"]["sampler"]["steps"] == 2 and card["settings"]["sampler"]["guidance"] == 1.5
    assert card["reconstruction"]["psnr"] > 5


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


def test_a_flow_of_maps_needs_no_other_file(behind_a_codec: Path, tmp_path: Path) -> None:
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
    with pytest.raises(ConfigurationError, match="how likely"):
        model.bits_per_dimension(batch(1), torch.zeros(1, dtype=torch.int64))


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
