"""The diversity alarm: its ratio for generators that repeat themselves or not, its warning, a run."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.data.stubs import StubData, StubGenerator
from tests.data.training import column
from vedute.batch import Batch, Condition
from vedute.callbacks.diversity_alarm import DiversityAlarm
from vedute.cli import main
from vedute.errors import ConfigurationError


class Recorded(StubGenerator):
    """A generator that keeps what is logged; ``repeated`` classes are always the same image."""

    def __init__(self, kind: str = "class", repeated: tuple[int, ...] = ()) -> None:
        super().__init__(StubData(), kind)
        self.repeated = repeated
        self.values: dict[str, float] = {}

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        wanted = seeds if condition.vector is None else condition.vector.argmax(1) + 3 * seeds
        fixed = torch.isin(wanted % 3, torch.tensor(self.repeated, dtype=torch.int64))
        return self.data.batch("train", torch.where(fixed, wanted % 3, wanted % 90)).image

    def log(self, name: str, value: float, **_: object) -> None:
        self.values[name] = value

    stochastic = True

    def condition_of(self, batch: Batch) -> Condition:
        return batch.condition

    condition_mean: ClassVar[list[float]] = []
    condition_scale: ClassVar[list[float]] = []

    def reconstruct(self, *_: object) -> None: ...
    def embed(self, *_: object) -> None: ...
    def latent_scores(self, *_: object) -> None: ...


def measure(alarm: DiversityAlarm, generator: StubGenerator, times: int = 1) -> None:
    """Let the alarm see the end of some validations."""
    trainer = SimpleNamespace(
        sanity_checking=False,
        state=SimpleNamespace(fn="validate"),
        strategy=SimpleNamespace(root_device="cpu"),
        datamodule=generator.data,
        world_size=1,
        global_rank=0,
        is_global_zero=True,
        current_epoch=4,
    )
    alarm.setup(trainer, generator, "fit")  # type: ignore[arg-type]
    for _ in range(times):
        alarm.on_validation_epoch_end(trainer, generator)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["class", "none"])
def test_a_generator_as_various_as_the_data_has_a_ratio_of_one(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    generator = Recorded(kind)
    measure(DiversityAlarm(count=30), generator, 3)
    assert generator.values["val/diversity_ratio"] == pytest.approx(1, abs=0.15)
    classes = {f"val/diversity_ratio/{name}" for name in generator.condition_names}
    assert set(generator.values) == {"val/diversity_ratio", *classes}
    assert not caplog.records


def test_one_class_that_repeats_itself_is_reported_once_after_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    generator, alarm = Recorded(repeated=(1,)), DiversityAlarm(patience=2)
    with caplog.at_level(logging.WARNING, "vedute"):
        measure(alarm, generator)
        assert not caplog.records
        resumed = DiversityAlarm(patience=2)
        resumed.load_state_dict(alarm.state_dict())
        measure(resumed, generator, 3)
    (record,) = caplog.records
    text = record.getMessage()
    assert "green 0.00" in text and "red" not in text and "2 times" in text
    assert "kl_weight" in text and "discriminator" not in text, "this one has none"
    assert generator.values["val/diversity_ratio/green"] == 0
    assert generator.values["val/diversity_ratio"] == pytest.approx(2 / 3, abs=0.1)


def test_a_gan_is_told_its_options(caplog: pytest.LogCaptureFixture) -> None:
    class GAN(Recorded):
        discriminator: ClassVar = nn.Identity()

    measure(DiversityAlarm(patience=1), GAN(repeated=(0, 1, 2)))
    assert "model.augment" in caplog.text and "model.discriminator_optimizer" in caplog.text


def test_data_without_any_variety_have_no_ratio() -> None:
    generator = Recorded(repeated=(0, 1, 2))
    generator.data = StubData(train=3)
    measure(DiversityAlarm(patience=1), generator)
    assert generator.values == {}


def test_models_from_images_to_images_are_refused() -> None:
    generator = Recorded()
    generator.condition_kind = "image"
    with pytest.raises(ConfigurationError, match="leave it out"):
        measure(DiversityAlarm(), generator)


@pytest.mark.parametrize("wrong", [{"count": 1}, {"limit": 0.0}, {"patience": 0}, {"every_n_epochs": 0}])
def test_wrong_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        DiversityAlarm(**wrong)  # type: ignore[arg-type]


def test_a_run_logs_the_ratio(tiny_config: Path, tmp_path: Path) -> None:
    config = tmp_path / "alarmed.yaml"
    callback = (
        "  callbacks:\n    - class_path: vedute.callbacks.diversity_alarm.DiversityAlarm\n"
        "      init_args: {every_n_epochs: 1, count: 8, patience: 1}\n"
    )
    text = tiny_config.read_text(encoding="utf-8")
    config.write_text(text.replace("  callbacks:\n", callback), encoding="utf-8")
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--config", str(config), *quiet]) == 0
    run = tmp_path / "runs" / "alarmed" / "0"
    ratios = column(run, "val/diversity_ratio")
    assert len(ratios) == 2 and min(ratios) >= 0
    assert len(column(run, "val/diversity_ratio/coast")) == 2
