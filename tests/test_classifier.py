"""The judge through the command line: it learns, stops early, reloads, and shows what it confuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from lightning_modules.classifier import Classifier
from tests.data.landscapes import write_tiny_landscapes
from tests.data.training import column
from vedute.augment.jitter import ColourJitter
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_checkpoint, load_datamodule, load_module
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.networks.classifiers import ResidualClassifier
from vedute.promises import as_image_data

ROOT = Path(__file__).parents[1]
NAMES = ["coast", "desert", "forest", "glacier", "mountain"]
CONFIG = str(ROOT / "configs" / "classifier_landscapes.yaml")


def arguments(root: Path, folder: Path, *extra: str) -> list[str]:
    return [
        *["fit", "--config", CONFIG, "--data.root", str(root), "--data.image_size", "32"],
        *["--data.batch_size", "8", "--data.validation_share", "0.2"],
        *["--model.network.init_args.widths", "[8, 16]", "--trainer.default_root_dir", str(folder)],
        *["--trainer.enable_progress_bar", "false", "--trainer.precision", "32-true", *extra],
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"Train": 80, "Valid": 20, "Test": 20}
    return write_tiny_landscapes(tmp_path_factory.mktemp("tiny"), counts)


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert main(arguments(tiny, folder, "--trainer.max_epochs", "10")) == 0
    return folder / "runs" / "classifier_landscapes" / "0"


def test_it_learns_and_logs_accuracy_in_total_and_by_class(run: Path) -> None:
    accuracy = column(run, "val/accuracy")
    assert max(accuracy) > 0.7, "five classes: chance is 0.2"
    by_class = [
        column(run, f"val/accuracy/{name}") for name in ("coast", "desert", "forest", "glacier", "mountain")
    ]
    assert np.allclose(np.mean(by_class, axis=0), accuracy, atol=1e-6), "as many images of each class"


def test_the_shipped_validation_split_stays_out_of_training_and_stopping(run: Path) -> None:
    data = as_image_data(load_datamodule(run / "checkpoints" / "best.ckpt"))
    assert (data.size("train"), data.size("val"), data.size("test")) == (65, 15, 20)
    seen = {bytes(image.numpy()) for part in ("train", "val") for image in data.batch(part, range(8)).image}
    assert not any(bytes(image.numpy()) in seen for image in data.batch("test", range(20)).image)


def test_a_checkpoint_alone_is_a_judge(run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    judge = load_module(path, Classifier)
    assert judge.condition_names == NAMES
    data = as_image_data(load_datamodule(path))
    batch = data.batch("test", range(data.size("test")))
    with torch.inference_mode():
        features = judge.features(batch.image)
        logits = judge(batch.image)
        again = judge.classify(features)
        one_by_one = torch.cat([judge(image[None]) for image in batch.image])
    assert features.shape == (20, 16) and (features >= 0).all()
    assert torch.equal(logits, again)
    assert torch.allclose(logits, one_by_one, atol=1e-4), "the same in any batch"
    assert batch.condition.vector is not None
    accuracy = (logits.argmax(1) == batch.condition.vector.argmax(1)).float().mean()
    assert accuracy > 0.7
    assert not any("confusion" in name for name in load_checkpoint(path)["state_dict"])  # type: ignore[attr-defined]


def test_confusion_matrices_are_drawn_at_the_end_of_fit_and_test(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Image.open(run / "samples" / "confusion_val.png").width > 200
    assert (
        main(
            ["test", "--ckpt_path", str(run / "checkpoints" / "best.ckpt"), "--trainer.precision", "32-true"]
        )
        == 0
    )
    assert Image.open(run / "samples" / "confusion_test.png").width > 200
    assert "test/accuracy/glacier" in capsys.readouterr().out


def test_training_stops_when_accuracy_no_longer_rises(tiny: Path, tmp_path: Path) -> None:
    # Without learning, accuracy never rises: patience 6 of the shipped configuration ends it.
    still = arguments(tiny, tmp_path, "--trainer.max_epochs", "40", "--model.optimizer.init_args.lr", "0.0")
    assert main([*still, "--trainer.limit_train_batches", "1"]) == 0
    assert len(column(tmp_path / "runs" / "classifier_landscapes" / "0", "val/accuracy")) < 40


def module(**options: object) -> Classifier:
    given = {
        "image_size": (32, 32),
        "image_channels": 3,
        "condition_kind": "class",
        "condition_names": ["coast", "forest"],
        "train_size": 10,
        "network": lambda size, channels, classes: ResidualClassifier(size, channels, classes, widths=(4, 8)),
        "optimizer": torch.optim.AdamW,
    }
    return Classifier(**{**given, **options})  # type: ignore[arg-type]


def test_the_loss_takes_class_probabilities() -> None:
    classifier = module().eval()
    logged: dict[str, float] = {}
    classifier.log = lambda name, value, **_: logged.update({name: float(torch.as_tensor(value).detach())})  # type: ignore[method-assign]
    image, label = torch.rand(4, 3, 32, 32), torch.tensor([[1, 0], [0.7, 0.3], [0, 0.9], [0.5, 0.5]])
    loss = classifier.training_step(Batch(image, Condition(label)))
    expected = -(label * F.log_softmax(classifier(image), dim=1)).sum(1).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    torch.autograd.backward(loss)
    assert all(parameter.grad is not None for parameter in classifier.network.parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"condition_kind": "score"}, "at least two classes"),
        ({"condition_names": ["coast"]}, "at least two classes"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"image_size": (2, 32)}, "at least 4 pixels"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        module(**options)


def test_colour_jitter_changes_light_and_nothing_else() -> None:
    image = torch.rand(64, 3, 8, 8) * 0.4 + 0.3
    batch = Batch(image, target=image)
    assert torch.allclose(ColourJitter(brightness=0, contrast=0, saturation=0)(batch).image, image, atol=1e-6)
    assert torch.equal(ColourJitter(probability=0)(batch).image, image)
    changed = ColourJitter(contrast=0, saturation=0, brightness=0.2)(batch)
    added = (changed.image - image).flatten(1)
    assert (added - added[:, :1]).abs().max() < 1e-6, "one value for the whole image"
    assert 0.15 < added.abs().max() <= 0.2 and len(added[:, 0].unique()) == 64, "its own for each"
    changed = ColourJitter(brightness=0, contrast=0.5, saturation=0)(batch)
    assert torch.allclose(changed.image.mean((1, 2, 3)), image.mean((1, 2, 3)), atol=1e-5)
    spread = changed.image.std((1, 2, 3)) / image.std((1, 2, 3))
    assert 0.5 <= spread.min() < 0.7 and 1.3 < spread.max() <= 1.5
    changed = ColourJitter(brightness=0, contrast=0, saturation=1)(batch)
    assert torch.allclose(changed.image.mean(1), image.mean(1), atol=1e-5), "grey stays"
    assert changed.target is image
    extreme = ColourJitter(brightness=1)(batch).image
    assert extreme.min() >= 0 and extreme.max() <= 1
    with pytest.raises(ConfigurationError, match=r"ColourJitter\.contrast"):
        ColourJitter(contrast=1.5)


def test_the_default_network_has_the_weights_that_are_stated_and_takes_odd_sizes() -> None:
    with torch.device("meta"):
        network = ResidualClassifier((64, 64), 3, 4)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_226_052
    small = ResidualClassifier((31, 45), 1, 3, widths=(4, 8, 8), blocks=2).eval()
    assert small(torch.rand(2, 1, 31, 45)).shape == (2, 3)
