"""pix2pix: a mask in, an image out; what the discriminator sees; the verbs; bad input."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_modules.pix2pix import Pix2Pix
from tests.data.adversarial import Turns, arguments, fit, in_two_processes, note_logged, run_of, train
from tests.data.aerial import write_inria
from tests.data.commands import failed
from tests.data.landscapes import write_tiny_landscapes
from tests.data.training import column
from vedute.augment.differentiable import Colour, Cutout, Policy, Translation
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_checkpoint, load_module
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.losses.adversarial import RelativisticPaired
from vedute.losses.pixel import SquaredError
from vedute.networks.discriminators import PatchDiscriminator
from vedute.networks.translators import ResidualUNet
from vedute.schedules import FromEpoch

MODEL = "--model.init_args"


def build(**options: object) -> Pix2Pix:
    facts = {"image_size": (32, 32), "image_channels": 3, "condition_kind": "image", "train_size": 40}
    torch.manual_seed(0)
    return Pix2Pix(
        network=lambda *sizes: ResidualUNet(*sizes, width=4, levels=3, norm="instance"),
        discriminator=lambda *sizes: PatchDiscriminator(*sizes, width=4, layers=2, norm="instance"),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01),
        **{**facts, "condition_names": [], "condition_channels": 1, "penalty_weight": 0.0, **options},  # type: ignore[arg-type]
    )


def masks(count: int = 4, height: int = 32, width: int = 32) -> Tensor:
    torch.manual_seed(1)
    return (torch.rand(count, 1, height, width) > 0.5).float()


def batches(count: int = 3) -> list[Batch]:
    return [Batch(torch.rand(4, 3, 32, 32), Condition(image=masks())) for _ in range(count)]


@pytest.fixture(scope="module")
def inria(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inria(tmp_path_factory.mktemp("inria"), side=80)


@pytest.fixture(scope="module")
def trained(inria: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit("pix2pix_aerial", inria, tmp_path_factory.mktemp("run"), "--trainer.max_epochs", "3")


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def test_what_is_promised_is_logged_and_the_image_comes_nearer(trained: Path) -> None:
    for stage in ("train", "val"):
        for name in (
            "loss",
            "l1",
            "adversarial",
            "psnr",
            "real_logits",
            "fake_logits",
            "discriminator_accuracy",
        ):
            assert column(trained, f"{stage}/{name}"), f"{stage}/{name} is missing"
    for name in ("generator_loss", "discriminator_loss", "weight/l1", "gradient_norm/generator"):
        assert column(trained, f"train/{name}"), f"train/{name} is missing"
    differences = column(trained, "train/l1")
    assert sum(differences[-3:]) < sum(differences[:3])


def test_masks_of_any_size_become_images_and_seeds_change_nothing(trained: Path) -> None:
    module = load_module(last(trained), Pix2Pix)
    assert module.tile_multiple == 8 and module.scale == 1 and not module.stochastic
    for height, width in ((8, 8), (32, 32), (40, 64), (16, 72)):
        mask = masks(2, height, width)
        with torch.no_grad():
            one, other = (
                module.sample(Condition(image=mask), torch.tensor(seeds)) for seeds in ([0, 1], [7, 0])
            )
        assert one.shape == (2, 3, height, width) and torch.equal(one, other)
        assert one.min() >= 0 and one.max() <= 1
        assert (one[0] - one[1]).abs().max() > 0, "another mask, another image"


def test_gradients_reach_the_network_whose_turn_it_is() -> None:
    turns = Turns()
    train(build(penalty_weight=1.0, penalty_every=2, augment=[Translation()]), batches(), turns)
    assert turns.turns == [["discriminator", "network"]] * 3


def test_the_judgement_depends_on_the_mask() -> None:
    module, batch = build(), batches(1)[0]
    generated = module._generated(batch)
    assert module.judged_channels == 4 and generated.real.shape == (4, 4, 32, 32)
    assert torch.equal(generated.real[:, 3:], generated.fake[:, 3:])
    other = torch.cat([generated.real[:, :3], 1 - generated.real[:, 3:]], dim=1)
    with torch.no_grad():
        logits = [module.discriminator(image, generated.vector).logits for image in (generated.real, other)]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@pytest.mark.parametrize("policies", [[Translation()], [Cutout()], [Translation(), Cutout()]])
def test_a_mask_moves_with_its_image(policies: list[Policy]) -> None:
    module, mask = build(augment=policies), masks()
    changed = module.change(mask.expand(-1, 4, -1, -1))
    assert torch.equal(changed[:, 3:].expand(-1, 3, -1, -1), changed[:, :3])
    assert not torch.equal(changed[:, 3:], mask)


def test_a_mask_keeps_its_values_where_colours_change() -> None:
    module, mask = build(augment=[Colour()]), masks()
    image = torch.rand(4, 3, 32, 32)
    changed = module.change(torch.cat([image, mask], dim=1))
    assert torch.equal(changed[:, 3:], mask) and not torch.equal(changed[:, :3], image)


def test_the_generators_turn_changes_real_and_generated_images_alike() -> None:
    module = build(augment=[Translation(), Colour()], adversarial=RelativisticPaired()).train()
    seen: list[Tensor] = []
    module.discriminator.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
    generated = module._generated(batches(1)[0])
    generated.image = generated.target
    module.judge(generated)
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], generated.real)


def test_without_its_loss_the_discriminator_rests() -> None:
    turns, module = Turns(), build(adversarial_weight=0.0)
    logged = note_logged(module)
    trainer = train(module, batches(), turns)
    assert turns.moved == [{"network"}] * 3 and trainer.global_step == 3
    assert not any("adversarial" in values or "discriminator_loss" in values for values in logged)


def test_several_losses_make_the_generators() -> None:
    module = build(losses={"squared": SquaredError(weight=3.0)}, l1_weight=10.0)
    logged = note_logged(module)
    train(module, batches(1))
    values = next(values for values in logged if "loss" in values)
    expected = 10 * values["l1"] + 3 * values["squared"] + values["adversarial"]  # type: ignore[operator]
    assert float(values["loss"]) == pytest.approx(float(expected), rel=1e-4)  # type: ignore[arg-type]


def test_verbs_on_pix2pix(trained: Path, tmp_path: Path) -> None:
    given = ["--checkpoint", str(last(trained))]
    mask = np.where(masks(1, 45, 53)[0, 0].numpy() > 0.5, 255, 0).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    places = ["--input", str(tmp_path / "mask.png"), "--output", str(tmp_path / "city.png")]
    assert main(["translate", *given, *places]) == 0
    assert Image.open(tmp_path / "city.png").size == (53, 45)
    typed = ["--condition", str(tmp_path / "mask.png"), "--count", "1", "--output", str(tmp_path / "one")]
    assert main(["sample", *given, *typed]) == 0
    assert main(["sample", *given, "--count", "1", "--output", str(tmp_path / "masks.png")]) == 0
    assert main(["evaluate", *given, "--count", "4", "--output", str(tmp_path / "card.json")]) == 0
    assert main(["describe", *given]) == 0
    assert main(["predict", "--ckpt_path", str(last(trained))]) == 0
    assert len(list((trained / "predictions" / "last").glob("*.png"))) == 4


def test_verbs_that_pix2pix_cannot_do_say_so(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint", str(last(trained))]
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    image = str(tmp_path / "image.png")
    for verb in ("embed", "reconstruct"):
        assert "no encoder" in failed(capsys, verb, *given)
    assert "nothing to draw" in failed(capsys, "interpolate", *given, "--to-seed", "3")
    assert "translate" in failed(capsys, "upscale", *given, "--input", image, "--output", tmp_path / "o.png")
    assert "cannot enlarge" in failed(capsys, "sample", *given, "--then", str(last(trained)))
    assert "is no file" in failed(capsys, "sample", *given, "--condition", "coast")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l1_weight": -1.0}, "'l1' is -1"),
        ({"adversarial_weight": math.inf}, "'adversarial' is inf"),
        ({"l1_weight": 0.0, "adversarial_weight": 0.0}, "All weights"),
        ({"loss_schedules": {"perceptual": FromEpoch(1)}}, "perceptual.*It has: l1, adversarial"),
        ({"losses": {"l1": SquaredError()}}, "l1"),
        (
            {"condition_kind": "none", "condition_channels": 0},
            "but the data have none",
        ),
        ({"image_size": (36, 32)}, "36"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**options)


def test_data_without_masks_are_refused_before_training(
    inria: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failed(capsys, *arguments("pix2pix_aerial", inria, tmp_path, "--data.condition", "none"))
    assert "data.condition" in said and not run_of("pix2pix_aerial", tmp_path).exists()
    root = write_tiny_landscapes(tmp_path / "landscapes")
    options = arguments("pix2pix_aerial", inria, tmp_path)
    split = options.index("--data.split")
    del options[split : split + 2]
    data = ["--data", "datamodules.landscapes.LandscapesDataModule", "--data.root", str(root)]
    assert "the data have none" in failed(capsys, *options, *data)


def test_a_schedule_for_an_unknown_loss_is_refused_by_the_command_line(
    inria: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = '{"feature": {"class_path": "vedute.schedules.FromEpoch", "init_args": {"epoch": 1}}}'
    given = arguments("pix2pix_aerial", inria, tmp_path, f"{MODEL}.loss_schedules", schedule)
    assert "names the loss 'feature'" in failed(capsys, *given)


@pytest.mark.slow
def test_two_processes_end_with_equal_weights(inria: Path, tmp_path: Path) -> None:
    norms = f"{MODEL}.network.init_args.norm batch {MODEL}.discriminator.init_args.norm batch"
    options = f"--trainer.max_epochs 2 --data.batch_size 4 {norms} {MODEL}.penalty_weight 1"
    one, other = in_two_processes("pix2pix_aerial", inria, tmp_path, *options.split())
    assert one["step"] == other["step"] and one["step"]
    for name, weight in one["weights"].items():  # type: ignore[attr-defined]
        assert torch.equal(weight, other["weights"][name]), name  # type: ignore[index]


def test_a_checkpoint_has_the_averages_of_the_generator_only(trained: Path) -> None:
    averages = load_checkpoint(last(trained))["ema_state_dict"]
    assert all(name.startswith("network.") for name in averages)  # type: ignore[attr-defined]
