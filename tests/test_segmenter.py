"""The judge of masks: its losses and metric, and its training through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.classification import BinaryJaccardIndex

from lightning_modules.segmenter import Segmenter
from tests.data.judged import MaskedDataModule, write_config
from vedute.batch import Batch, Condition
from vedute.callbacks.mask_pictures import MaskPictures, differences
from vedute.checkpoints import load_checkpoint, load_module
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.loggers import read_metrics
from vedute.losses.overlap import binary_cross_entropy, soft_dice
from vedute.metrics.overlap import MaskOverlap
from vedute.networks.segmenters import UNet

MODEL = """{class_path: lightning_modules.segmenter.Segmenter, init_args: {
  network: {class_path: vedute.networks.segmenters.UNet, init_args: {widths: [8, 16, 32]}},
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 3.0e-3}}}}"""
EXTRA = "checkpoint: {monitor: val/iou, mode: max}"
PICTURES = "vedute.callbacks.mask_pictures.MaskPictures"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmenter")
    config = write_config(folder / "masked.yaml", MODEL, "MaskedDataModule", EXTRA)
    options = ["--trainer.default_root_dir", str(folder), f"--trainer.callbacks+={PICTURES}"]
    assert main(["fit", "--config", str(config), *options]) == 0
    return folder / "runs" / "masked" / "0"


# Training


def test_it_learns_to_find_the_masks(run: Path) -> None:
    rows = [row for row in read_metrics(run / "metrics.csv") if row["val/iou"]]
    assert float(rows[-1]["val/loss"]) < float(rows[0]["val/loss"])
    assert max(float(row["val/iou"]) for row in rows) > 0.8, "all foreground has about 0.2"
    assert max(float(row["val/pixel_accuracy"]) for row in rows) > 0.9


def test_a_checkpoint_alone_is_a_judge_of_masks(run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    judge = load_module(path, Segmenter)
    data = MaskedDataModule(image_size=32)
    batch = data.batch("test", range(data.size("test")))
    with torch.inference_mode():
        logits, found = judge(batch.image), judge.segment(batch.image)
        one_by_one = torch.cat([judge(image[None]) for image in batch.image])
        again = load_module(path, Segmenter)(batch.image)
    assert logits.shape == (8, 1, 32, 32) and set(torch.unique(found).tolist()) == {0, 1}
    assert torch.equal(found, (logits > 0).float()) and torch.equal(logits, again)
    assert torch.allclose(logits, one_by_one, atol=1e-3), "the same in any batch"
    assert batch.condition.image is not None
    overlap = MaskOverlap()
    overlap.update(found.bool(), batch.condition.image.bool())
    assert overlap.compute()["iou"] > 0.8
    assert not any("overlap" in name for name in load_checkpoint(path)["state_dict"])  # type: ignore[attr-defined]


def test_masks_are_drawn_and_scored_by_test(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(path.name for path in (run / "samples").iterdir())
    assert names == ["masks_epoch_0005.png", "masks_epoch_0008.png"]
    picture = Image.open(run / "samples" / names[-1])
    assert picture.width > 8 * 128 and picture.height > 4 * 128
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", best]) == 0
    assert "test/iou" in capsys.readouterr().out


# The module


def module(**options: object) -> Segmenter:
    given = {
        "image_size": (32, 32),
        "image_channels": 3,
        "condition_kind": "image",
        "condition_names": [],
        "condition_channels": 1,
        "train_size": 10,
        "network": lambda size, channels: UNet(size, channels, widths=(4, 8)),
        "optimizer": torch.optim.AdamW,
    }
    return Segmenter(**{**given, **options})  # type: ignore[arg-type]


def test_the_loss_is_cross_entropy_and_weighted_dice() -> None:
    segmenter = module(dice_weight=0.5).eval()
    logged: dict[str, float] = {}
    segmenter.log = lambda name, value, **_: logged.update({name: float(value.detach())})  # type: ignore[method-assign]
    image, mask = torch.rand(4, 3, 32, 32), (torch.rand(4, 1, 32, 32) > 0.7).float()
    loss = segmenter.training_step(Batch(image, Condition(image=mask)))
    logits = segmenter(image)
    expected = binary_cross_entropy(logits, mask).mean() + 0.5 * soft_dice(logits, mask).mean()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5) == logged["train/loss"]
    torch.autograd.backward(loss)
    assert all(parameter.grad is not None for parameter in segmenter.network.parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"condition_channels": 0, "condition_kind": "class"},
            r"one mask an image; these have none .*'class'",
        ),
        ({"condition_channels": 3}, "these have 3"),
        ({"dice_weight": -1.0}, "dice_weight must be at least 0"),
        ({"image_size": (32, 33)}, r"multiples of 2, got 32x33: change data\.image_size"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        module(**options)


def test_data_without_masks_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "scores.yaml", MODEL, "RatedDataModule")
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "A segmenter needs data with one mask an image" in said and "Traceback" not in said


# The network


def test_the_default_network_has_the_weights_that_are_stated_and_takes_other_sizes() -> None:
    with torch.device("meta"):
        network = UNet((64, 64), 3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 488_001
    small = UNet((16, 24), 1, widths=(4, 8, 8)).eval()
    assert small(torch.rand(2, 1, 16, 24)).shape == (2, 1, 16, 24)
    assert small(torch.rand(2, 1, 8, 40)).shape == (2, 1, 8, 40)
    with pytest.raises(ConfigurationError, match=r"with 3 levels .* multiples of 4, got 8x42"):
        small(torch.rand(2, 1, 8, 42))


# Losses and metric


def test_losses_equal_hand_computed_ones() -> None:
    logits = torch.tensor([[100.0, 100.0, -100.0, -100.0], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 2, 2)
    mask = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]).view(2, 1, 2, 2)
    assert soft_dice(logits, mask, smoothing=0).tolist() == pytest.approx([1 - 2 / 3, 1 - 4 / 6])
    assert binary_cross_entropy(logits, mask).tolist() == pytest.approx([25, np.log(2)])


def test_perfect_masks_lose_nothing_and_empty_ones_can_be_perfect() -> None:
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:5] = 1
    perfect = 200 * mask - 100
    assert float(soft_dice(perfect, mask).abs().max()) < 1e-6
    assert float(binary_cross_entropy(perfect, mask).max()) < 1e-6
    assert float(soft_dice(-perfect, mask).min()) > 0.95


def counted(*pairs: tuple[torch.Tensor, torch.Tensor]) -> MaskOverlap:
    overlap = MaskOverlap()
    for predicted, mask in pairs:
        overlap.update(predicted.bool(), mask.bool())
    return overlap


def test_overlap_counts_the_pixels_of_all_images_together() -> None:
    first = torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 0])
    second = torch.tensor([1, 1, 1, 1]), torch.tensor([1, 1, 1, 0])
    scores = counted(first, second).compute()
    assert float(scores["iou"]) == pytest.approx(4 / 6)
    assert float(scores["pixel_accuracy"]) == pytest.approx(6 / 8)


def test_overlap_equals_torchmetrics_where_there_is_foreground() -> None:
    predicted, mask = torch.rand(6, 1, 16, 16) > 0.4, torch.rand(6, 1, 16, 16) > 0.7
    other = BinaryJaccardIndex()
    other.update(predicted.int(), mask.int())
    assert float(counted((predicted, mask)).compute()["iou"]) == pytest.approx(float(other.compute()))


def test_a_perfect_prediction_has_iou_one_also_of_nothing() -> None:
    mask = torch.rand(3, 1, 8, 8) > 0.5
    none = torch.zeros(3, 1, 8, 8, dtype=torch.bool)
    assert counted((mask, mask)).compute()["iou"] == 1
    assert counted((none, none)).compute() == {"iou": 1, "pixel_accuracy": 1}
    assert counted((mask, none)).compute()["iou"] == counted((none, mask)).compute()["iou"] == 0


def test_two_processes_find_what_one_finds() -> None:
    pairs = [(torch.rand(2, 1, 8, 8) > 0.5, torch.rand(2, 1, 8, 8) > 0.7) for _ in range(5)]
    ranks, together = [counted(*pairs[:3]), counted(*pairs[3:])], MaskOverlap()
    for name, reduction in together._reductions.items():
        assert callable(reduction)
        setattr(together, name, reduction(torch.stack([getattr(rank, name) for rank in ranks])))
    together._update_count = 1
    assert together.compute() == counted(*pairs).compute()


def test_overlap_of_billions_of_pixels_is_exact() -> None:
    overlap = counted((torch.ones(1, 4), torch.ones(1, 4)))
    overlap.false_positive += 2**40
    overlap.update(torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.bool))
    assert int(overlap.false_positive) == 2**40 + 1


# The picture


def test_differences_are_red_where_missed_and_blue_where_invented() -> None:
    mask, found = torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    shown = differences(torch.zeros(1, 3, 1, 4), mask.view(1, 1, 1, 4), found.view(1, 1, 1, 4))[0, :, 0]
    right, missed, invented, ground = shown.unbind(1)
    assert torch.equal(right, ground) and len(torch.unique(right)) == 1
    assert missed.argmax() == 0 and invented.argmax() == 2


@pytest.mark.parametrize("option", ["every_n_epochs", "columns"])
def test_a_picture_of_nothing_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        MaskPictures(**{option: 0})
