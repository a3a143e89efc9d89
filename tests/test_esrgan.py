"""ESRGAN: two phases, what small images are, the verbs on it, resuming across the phases, bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_modules.esrgan import ESRGAN
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
from tests.data.commands import failed
from tests.data.landscapes import write_tiny_landscapes
from tests.data.pictures import write_tiny_pictures
from tests.data.training import column
from vedute.augment.degradation import Bicubic, Realistic
from vedute.augment.differentiable import Translation
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_checkpoint, load_module
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.losses.adversarial import RelativisticAverage
from vedute.networks.rrdb import RRDB
from vedute.networks.translators import ResidualUNet
from vedute.networks.unet_discriminator import UNetDiscriminator
from vedute.schedules import FromEpoch

MODEL = "--model.init_args"
CLASSES = ["--data", "datamodules.landscapes.LandscapesDataModule"]


def phase(epoch: float) -> list[str]:
    begin = f'{{"class_path": "vedute.schedules.FromEpoch", "init_args": {{"epoch": {epoch}}}}}'
    return [f"{MODEL}.loss_schedules", f'{{"adversarial": {begin}}}']


def build(scale: int = 4, **options: object) -> ESRGAN:
    facts = {"image_size": (32, 32), "image_channels": 3, "condition_kind": "class", "train_size": 40}
    torch.manual_seed(0)
    return ESRGAN(
        network=lambda *sizes: RRDB(*sizes, scale=scale, width=4, blocks=1, growth=4),
        discriminator=lambda *sizes: UNetDiscriminator(*sizes, width=4),
        adversarial=RelativisticAverage(),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01),
        **{**facts, "condition_names": ["coast", "forest"], "penalty_weight": 0.0, **options},  # type: ignore[arg-type]
    )


def batches(count: int = 2) -> list[Batch]:
    torch.manual_seed(1)
    return [
        Batch(torch.rand(4, 3, 32, 32), Condition(torch.eye(2)[torch.arange(4) % 2]), torch.arange(4) + 4 * n)
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def landscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_landscapes(tmp_path_factory.mktemp("landscapes"))


@pytest.fixture(scope="module")
def trained(landscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = [*CLASSES, "--data.root", str(landscapes), "--trainer.max_epochs", "3", *phase(1)]
    return fit("esrgan_pictures", landscapes, tmp_path_factory.mktemp("run"), *options)


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def test_what_is_promised_is_logged(trained: Path) -> None:
    for name in ("loss", "l1", "psnr", "adversarial", "discriminator_accuracy"):
        assert column(trained, f"train/{name}") and column(trained, f"val/{name}"), name
    assert len(column(trained, "train/l1")) == 15, "in both phases"
    assert len(column(trained, "train/discriminator_loss")) == 10, "in the second one"
    differences = column(trained, "train/l1")
    assert sum(differences[-3:]) < sum(differences[:3])


def test_the_discriminator_rests_until_its_phase_begins() -> None:
    turns, module = Turns(), build(loss_schedules={"adversarial": FromEpoch(1.5)}, augment=[Translation()])
    before = {name: value.clone() for name, value in module.discriminator.state_dict().items()}
    logged = note_logged(module)
    train(module, batches(), turns, epochs=1)
    assert turns.turns == [["network"]] * 2
    for name, value in module.discriminator.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} moved"
    assert not any("adversarial" in values for values in logged)
    turns = Turns()
    train(build(loss_schedules={"adversarial": FromEpoch(1.5)}), batches(), turns, epochs=3)
    assert turns.turns == [["network"]] * 3 + [["discriminator", "network"]] * 3
    assert turns.moved == [set(turn) for turn in turns.turns]


def test_small_images_of_a_row_are_the_same_but_in_training() -> None:
    module, batch = build(degradation=Realistic(4)), batches(2)[1]
    module.eval()
    first = module.condition_of(batch).image
    torch.manual_seed(9)
    again, alone = module.condition_of(batch).image, module.condition_of(batch[2:3]).image
    assert first is not None and first.shape == (4, 3, 8, 8)
    assert torch.equal(first, again) and torch.equal(first[2:3], alone)  # type: ignore[arg-type]
    module.train()
    one, other = (module.condition_of(batch).image for _ in range(2))
    assert not torch.equal(one, other)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [2, 4])
def test_images_of_any_size_are_enlarged_and_seeds_change_nothing(scale: int) -> None:
    module = build(scale, degradation=Bicubic(scale)).eval()
    assert module.scale == scale and not module.stochastic
    multiple = module.tile_multiple
    image = torch.rand(2, 3, 5 * multiple, 8 * multiple)
    with torch.no_grad():
        one, other = (
            module.sample(Condition(image=image), torch.tensor(seeds)) for seeds in ([0, 1], [5, 0])
        )
    assert one.shape == (2, 3, 5 * multiple * scale, 8 * multiple * scale)
    assert torch.equal(one, other) and one.min() >= 0 and one.max() <= 1


def test_the_datas_conditions_play_no_part(trained: Path) -> None:
    module = load_module(last(trained), ESRGAN)
    assert module.condition_kind == "image" and module.condition_names == [] and module.condition_size == 0
    assert module.condition_channels == module.image_channels == module.judged_channels == 3
    batch = batches(1)[0]
    others = Batch(batch.image, Condition(batch.condition.vector.flip(0)), batch.index)  # type: ignore[union-attr]
    with torch.no_grad():
        images = [module.sample(module.condition_of(one), torch.arange(4)) for one in (batch, others)]
    assert torch.equal(*images)


def test_verbs_on_esrgan(trained: Path, tmp_path: Path) -> None:
    given = ["--checkpoint", str(last(trained))]
    Image.new("RGB", (13, 10), (90, 140, 40)).save(tmp_path / "small.png")
    places = ["--input", str(tmp_path / "small.png"), "--output", str(tmp_path / "large.png")]
    assert main(["upscale", *given, *places, "--factor", "4"]) == 0
    assert Image.open(tmp_path / "large.png").size == (52, 40)
    assert main(["sample", *given, "--count", "1", "--output", str(tmp_path / "rows")]) == 0
    written = list((tmp_path / "rows").glob("*.png"))
    assert len(written) == 10 and Image.open(written[0]).size == (32, 32)
    assert main(["sample", *given, "--count", "1", "--output", str(tmp_path / "grid.png")]) == 0
    assert main(["evaluate", *given, "--count", "4", "--output", str(tmp_path / "card.json")]) == 0
    assert main(["describe", *given]) == 0
    for verb in ("test", "predict"):
        assert main([verb, "--ckpt_path", str(last(trained))]) == 0
    written = list((trained / "predictions" / "last").glob("*.png"))
    assert len(written) == 10 and Image.open(written[0]).size == (32, 32)


def test_verbs_that_esrgan_cannot_do_say_so(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint", str(last(trained))]
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    image = str(tmp_path / "image.png")
    places = ["--input", image, "--output", str(tmp_path / "out.png")]
    for verb in ("embed", "reconstruct"):
        assert "no encoder" in failed(capsys, verb, *given)
    assert "nothing to draw" in failed(capsys, "interpolate", *given, "--to-seed", "3")
    assert "upscale" in failed(capsys, "translate", *given, *places)
    assert "enlarges 4 times, not 2" in failed(capsys, "upscale", *given, *places, "--factor", "2")
    for text in (image, "coast"):
        assert "'upscale --input" in failed(capsys, "sample", *given, "--condition", text)


def test_what_a_gan_makes_is_enlarged(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gan = fit("dcgan_pictures", write_tiny_pictures(tmp_path / "pictures"), tmp_path)
    command = ["sample", "--checkpoint", str(last(gan)), "--then", str(last(trained)), "--count", "2"]
    assert main([*command, "--output", str(tmp_path / "large")]) == 0
    sizes = [Image.open(path).size for path in (tmp_path / "large").glob("*.png")]
    assert sizes == [(128, 128)] * 2
    table = ["--table", "landscapes", "--output", tmp_path / "table.md"]
    assert "None of the runs has classes" in failed(capsys, "compare", gan, trained, *table)


def test_a_checkpoint_without_averages_enlarges_too(trained: Path, tmp_path: Path) -> None:
    content = torch.load(last(trained), weights_only=True)
    for key in ("ema_state_dict", "ema_updates"):
        del content[key]
    torch.save(content, tmp_path / "plain.ckpt")
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        plain, averaged = (
            load_module(path, ESRGAN).sample(Condition(image=image), torch.zeros(1, dtype=torch.int64))
            for path in (tmp_path / "plain.ckpt", last(trained))
        )
    assert not torch.equal(plain, averaged)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_run_resumes_to_the_same_state(landscapes: Path, tmp_path: Path, epoch: int) -> None:
    degradation = f"{MODEL}.degradation vedute.augment.degradation.Realistic {MODEL}.penalty_weight 1"
    policies = f'{MODEL}.augment+={{"class_path":"vedute.augment.differentiable.Colour"}}'
    adaptive = f"{MODEL}.adaptive vedute.augment.adaptive.AdaptiveProbability {MODEL}.adaptive.init_args"
    schedule = f"{MODEL}.learning_rate_schedule vedute.schedules.WarmupCosine"
    text = f"{degradation} {policies} {adaptive}.images 200 {schedule} --trainer.max_epochs 4"
    options = [*CLASSES, "--data.root", str(landscapes), *text.split(), *phase(1.8)]
    first, second = killed_and_resumed("esrgan_pictures", landscapes, tmp_path, epoch, 2, *options)
    assert_same_end(first, second)
    for name in ("train/l1", "train/discriminator_loss", "val/loss"):
        assert column(first, name) == column(second, name), name


@pytest.mark.slow
def test_two_processes_change_phases_together(landscapes: Path, tmp_path: Path) -> None:
    options = [*CLASSES, "--data.root", str(landscapes), "--trainer.max_epochs", "3", *phase(1.5)]
    one, other = in_two_processes("esrgan_pictures", landscapes, tmp_path, *options)
    assert one["step"] == other["step"] and one["step"]
    for name, weight in one["weights"].items():  # type: ignore[attr-defined]
        assert torch.equal(weight, other["weights"][name]), name  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 2}, "enlarges 2 times, but the degradation shrinks 4 times"),
        ({"degradation": Bicubic(2)}, "enlarges 4 times, but the degradation shrinks 2 times"),
        ({"image_size": (40, 40), "degradation": Bicubic(16)}, "multiples of 16"),
        ({"image_size": (36, 32)}, "multiple of 8"),
        ({"network": lambda *sizes: ResidualUNet(*sizes, width=4, levels=3)}, "enlarges 1 times"),
        ({"l1_weight": -1.0}, "'l1' is -1"),
        ({"loss_schedules": {"perceptual": FromEpoch(1)}}, "perceptual"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        network = options.pop("network", None)
        if network is None:
            build(**options)  # type: ignore[arg-type]
        else:
            ESRGAN(
                network=network,  # type: ignore[arg-type]
                optimizer=torch.optim.Adam,
                image_size=(32, 32),
                image_channels=3,
                condition_kind="none",
                condition_names=[],
                train_size=10,
            )


def test_sizes_that_do_not_fit_are_refused_before_training(
    landscapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = arguments("esrgan_pictures", landscapes, tmp_path, *CLASSES, "--data.root", str(landscapes))
    assert "30" in failed(capsys, *options, "--data.image_size", "30")
    message = failed(capsys, *options, f"{MODEL}.degradation.init_args.scale", "2")
    assert "give both the same scale" in message
    assert not run_of("esrgan_pictures", tmp_path).exists()


def test_a_broken_training_stops_and_keeps_the_last_good_state(
    landscapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poison = callback("tests.data.adversarial.Poison", epoch=1, batch=1)
    options = [*CLASSES, "--data.root", str(landscapes), "--trainer.max_epochs", "3", *poison]
    message = failed(capsys, *arguments("esrgan_pictures", landscapes, tmp_path, *options))
    kept = last(run_of("esrgan_pictures", tmp_path))
    assert "epoch 2" in message and str(kept) in message
    state = load_checkpoint(kept)["state_dict"]
    assert isinstance(state, dict) and all(value.isfinite().all() for value in state.values())
