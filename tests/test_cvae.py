"""The CVAE through the command line: it learns, samples by seed, and reloads as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from lightning_modules.base import GenerativeModule
from lightning_modules.cvae import CVAE
from tests.data.training import column, fit_cvae
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_checkpoint, load_module


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_cvae(tiny, tmp_path_factory.mktemp("run"), "--trainer.max_epochs", "8")


def test_the_loss_falls_and_everything_promised_is_logged(trained: Path) -> None:
    losses = column(trained, "train/loss")
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    for stage in ("train", "val"):
        for name in ("loss", "reconstruction", "mse", "psnr", "kl", "active_units"):
            assert column(trained, f"{stage}/{name}"), f"{stage}/{name} is missing"
    assert column(trained, "train/data_wait") and column(trained, "train/images_per_second")
    with (trained / "latents.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0][:3] == ["epoch", "stage", "kl_0"] and {row[1] for row in rows[1:]} == {"train", "val"}


def test_logged_values_agree_with_each_other(trained: Path) -> None:
    checkpoint = load_checkpoint(trained / "checkpoints" / "last.ckpt")
    train_size = checkpoint["hyper_parameters"]["train_size"]  # type: ignore[index]
    values = zip(column(trained, "val/reconstruction"), column(trained, "val/mse"), strict=True)
    for reconstruction, mse in values:
        assert reconstruction == pytest.approx(mse * train_size, rel=1e-4)
    with (trained / "latents.csv").open() as file:
        kl = [sum(map(float, row[2:])) for row in csv.reader(file) if row[1] == "val"]
    assert kl == pytest.approx(column(trained, "val/kl"), rel=1e-3)


def test_grids_of_samples_and_reconstructions_are_there(trained: Path) -> None:
    grids = {path.name for path in (trained / "samples").glob("epoch_*.png")}
    assert grids == {"epoch_0005.png", "epoch_0008.png"}, "every fifth epoch and the last"
    assert (trained / "samples" / "reconstructions_epoch_0008.png").is_file()


def test_a_checkpoint_alone_gives_the_model_with_averaged_weights(trained: Path) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    module = load_module(path, GenerativeModule)
    assert isinstance(module, CVAE) and not module.training
    checkpoint = load_checkpoint(path)
    name = "network.to_image.weight"
    averages, weights = checkpoint["ema_state_dict"], checkpoint["state_dict"]
    assert torch.equal(module.state_dict()[name], averages[name])  # type: ignore[index]
    assert not torch.equal(averages[name], weights[name])  # type: ignore[index]


@torch.no_grad()
def test_an_image_depends_on_its_seed_and_condition_only(trained: Path) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt", GenerativeModule)
    condition = Condition(torch.eye(module.condition_size)[torch.tensor([0, 1, 2, 0])])
    together = module.sample(condition, torch.tensor([3, 4, 5, 6]))
    alone = module.sample(condition[2:3], torch.tensor([5]))
    assert torch.allclose(together[2:3], alone, atol=1 / 255)
    assert together.min() >= 0 and together.max() <= 1
    other_seed = module.sample(condition[2:3], torch.tensor([6]))
    assert (other_seed - alone).abs().max() > 1 / 255


@torch.no_grad()
def test_a_fuzzy_label_lies_between_its_classes(trained: Path) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt", GenerativeModule)
    texts = ("coast", "coast=0.5,forest=0.5", "forest")
    vectors = torch.stack([module.parse_condition(text) for text in texts])
    coast, fuzzy, forest = module.sample(Condition(vectors), torch.tensor([1, 1, 1]))
    assert (fuzzy - coast).square().mean() < (forest - coast).square().mean()
    assert (fuzzy - forest).square().mean() < (forest - coast).square().mean()


@torch.no_grad()
def test_reconstructions_come_from_the_image(trained: Path) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt", GenerativeModule)
    batch = Batch(torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)]), Condition(torch.eye(5)[:2]))
    dark, bright = module.reconstruct(batch)
    assert bright.mean() > dark.mean()
    assert module.embed(batch).shape == (2, 128)


def test_two_runs_of_one_seed_are_equal(tiny: Path, tmp_path: Path) -> None:
    runs = [fit_cvae(tiny, tmp_path / str(n), "--trainer.max_epochs", "1") for n in range(2)]
    assert column(runs[0], "train/loss") == column(runs[1], "train/loss")
    assert column(runs[0], "val/loss") == column(runs[1], "val/loss")
    other = fit_cvae(tiny, tmp_path / "other", "--trainer.max_epochs", "1", "--seed_everything", "1")
    assert column(other, "train/loss") != column(runs[0], "train/loss")
