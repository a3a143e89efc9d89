"""EMA: the average itself, the swap around validation, checkpoints, two optimisers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from vedute.callbacks.ema import EMA, EMA_KEY, FURTHER_KEY
from vedute.checkpoints import with_average
from vedute.errors import CheckpointError, ConfigurationError


class Counter(LightningModule):
    """Its weight is the number of steps taken: each step adds one."""

    def __init__(self, optimizers: int = 1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.other = torch.nn.Parameter(torch.zeros(1))
        self.seen_in_validation: list[float] = []
        self.count = optimizers
        self.automatic_optimization = False

    def averaged_tensors(self) -> dict[str, torch.Tensor]:
        return {"weight": self.weight}

    def training_step(self, batch: Tensor) -> None:
        for optimizer in self.optimizers() if self.count > 1 else [self.optimizers()]:  # type: ignore[union-attr]
            optimizer.zero_grad()
            self.manual_backward(-self.weight.sum() / self.count - self.other.sum())
            optimizer.step()

    def validation_step(self, batch: Tensor) -> None:
        self.seen_in_validation.append(self.weight.item())

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([self.weight, self.other], lr=1.0) for _ in range(self.count)]


def fit(module: Counter, ema: EMA, folder: Path, epochs: int, checkpoint: Path | None = None) -> Trainer:
    loader = DataLoader(torch.zeros(5, 1))
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[ema],
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, loader, DataLoader(torch.zeros(1, 1)), ckpt_path=checkpoint)
    return trainer


def expected_average(steps: int, decay: float) -> float:
    average = 0.0
    for step in range(1, steps + 1):
        rate = min(decay, (1 + step) / (10 + step))
        average = rate * average + (1 - rate) * step
    return average


@pytest.mark.parametrize("optimizers", [1, 2])
def test_the_average_is_updated_once_a_batch_and_used_in_validation(tmp_path: Path, optimizers: int) -> None:
    module, ema = Counter(optimizers), EMA(decay=0.9)
    fit(module, ema, tmp_path, epochs=2)
    assert module.seen_in_validation == pytest.approx([expected_average(5, 0.9), expected_average(10, 0.9)])
    assert module.weight.item() == pytest.approx(10), "the training weights are back after validation"


def test_a_checkpoint_has_both_and_resuming_continues_the_average(tmp_path: Path) -> None:
    ema = EMA(decay=0.9)
    trainer = fit(Counter(), ema, tmp_path, epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert saved["state_dict"]["weight"].item() == pytest.approx(5)
    assert saved[EMA_KEY].keys() == {"weight"}, "only what the module names is averaged"
    assert saved[EMA_KEY]["weight"].item() == pytest.approx(expected_average(5, 0.9))
    module = Counter()
    fit(module, EMA(decay=0.9), tmp_path, epochs=2, checkpoint=tmp_path / "one.ckpt")
    assert module.seen_in_validation[-1] == pytest.approx(expected_average(10, 0.9))


def test_further_averages_are_kept_and_used_on_request(tmp_path: Path) -> None:
    fit(Counter(), EMA(0.9, [0.3, 0.2]), tmp_path, epochs=1).save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    for name, decay in (("0.3", 0.3), ("0.2", 0.2)):
        kept = saved[FURTHER_KEY][name]["weight"].item()
        assert kept == pytest.approx(expected_average(5, decay)) != saved[EMA_KEY]["weight"].item()
        chosen = with_average(saved, name, Path("one.ckpt"))[EMA_KEY]
        assert isinstance(chosen, dict) and chosen["weight"].item() == kept
    assert with_average(saved, "none", Path("one.ckpt"))[EMA_KEY] is None
    with pytest.raises(CheckpointError, match=r"no average '0.7'.*none, 0.3, 0.2"):
        with_average(saved, "0.7", Path("one.ckpt"))
    resumed = EMA(0.9, [0.2, 0.3])
    trainer = fit(Counter(), resumed, tmp_path, epochs=2, checkpoint=tmp_path / "one.ckpt")
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    further = torch.load(tmp_path / "two.ckpt", weights_only=True)[FURTHER_KEY]
    assert set(further) == {"0.2", "0.3"}
    assert further["0.2"]["weight"].item() == pytest.approx(expected_average(10, 0.2))


@pytest.mark.parametrize("decays", [(1.0, []), (0.9, [0.0]), (0.9, [0.9])])
def test_decays_that_mean_nothing_are_refused(decays: tuple[float, list[float]]) -> None:
    with pytest.raises(ConfigurationError, match="different decays"):
        EMA(*decays)


def test_a_checkpoint_written_during_validation_holds_the_training_weights(tmp_path: Path) -> None:
    module, ema = Counter(), EMA(decay=0.9)
    trainer = fit(module, ema, tmp_path, epochs=1)
    with ema.applied(module):
        assert module.weight.item() == pytest.approx(expected_average(5, 0.9))
        trainer.save_checkpoint(tmp_path / "during.ckpt")
    assert torch.load(tmp_path / "during.ckpt", weights_only=True)["state_dict"][
        "weight"
    ].item() == pytest.approx(5)
