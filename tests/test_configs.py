"""Every shipped YAML trains on its painted sample at 32 pixels, samples and reloads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.data.adversarial import assert_equal
from tests.data.interrupt import Stop
from vedute.callbacks.budget import STATE
from vedute.checkpoints import load_checkpoint
from vedute.cli import main
from vedute.cli.training import TrainingCLI

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))

SMALLER = {
    # 167 million weights whatever the image size: their number is a test of its own (test_weight_counts)
    "cvae_alexnet_landscapes.yaml": ["latent_size 16", "features 32"],
}
"""Options of networks that would write gigabytes of checkpoints even at 32 pixels."""

BEFORE = {"flow_landscapes_128.yaml": "vq_vae_landscapes"}
"""What must be trained before."""

FLOW = ["--model.sampler.steps", "1", "--model.sampler.solver", "euler"]
"""One step an image: what many steps make of it is tested elsewhere."""


def small_options(config: str, folder: Path, batches: int, epochs: int) -> list[str]:
    """Return the options that make a training short; what it begins with is trained."""
    small = f"--data.image_size 32 --data.batch_size 8 --trainer.limit_train_batches {batches}"
    short = f"--trainer.max_epochs {epochs} --trainer.limit_val_batches 1 --trainer.enable_progress_bar false"
    network = [f"--model.network.init_args.{option}" for option in SMALLER.get(config, [])]
    flow = FLOW if "flow" in config else []
    place = ["--trainer.default_root_dir", str(folder)]
    options = [*small.split(), *short.split(), *" ".join(network).split(), *place, *flow]
    if config in BEFORE:
        before = str(ROOT / "configs" / f"{BEFORE[config]}.yaml")
        codec = folder / "runs" / BEFORE[config] / "0" / "checkpoints" / "best.ckpt"
        assert main(["fit", "--config", before, *options[: -len(flow) or None]]) == 0
        options += ["--model.codec", str(codec)]
    return options


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_trains_two_steps_and_leaves_a_whole_run(config: str, tmp_path: Path) -> None:
    options = small_options(config, tmp_path, batches=2, epochs=1)
    assert main(["fit", "--config", str(ROOT / "configs" / config), *options]) == 0
    run = tmp_path / "runs" / Path(config).stem / "0"
    assert (run / "config.yaml").is_file() and (run / "metrics.csv").is_file()
    for name in ("best", "last"):
        checkpoint = load_checkpoint(run / "checkpoints" / f"{name}.ckpt")
        assert {"hyper_parameters", "datamodule_hyper_parameters", "state_dict"} <= checkpoint.keys()


def approaches() -> list[str]:
    """Return a configuration for each pair of model and network, but for networks that only are larger."""
    found: dict[tuple[str, str], str] = {}
    for config in CONFIGS:
        if config in ("cvae_alexnet_landscapes.yaml", "cvae_narrow_landscapes.yaml"):
            continue  # minutes of writing checkpoints
        model = yaml.safe_load((ROOT / "configs" / config).read_text(encoding="utf-8"))["model"]
        network = model["init_args"].get("network") or {}
        found.setdefault((model["class_path"], network.get("class_path", "")), config)
    return list(found.values())


def learned(run: Path) -> dict[str, object]:
    """Return what of a run's last state must not depend on an interruption."""
    content = load_checkpoint(run / "checkpoints" / "last.ckpt")
    kept = {key: value for key, value in content.items() if "hyper_parameters" not in key}
    callbacks: dict[str, object] = content["callbacks"]  # type: ignore[assignment]
    kept["callbacks"] = {name: state for name, state in callbacks.items() if name not in (STATE, "Timer")}
    return kept


@pytest.mark.slow
@pytest.mark.parametrize("config", approaches())
def test_an_approach_goes_on_exactly_amid_an_epoch(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small_options(config, tmp_path, batches=3, epochs=2)
    command = ["fit", "--config", str(ROOT / "configs" / config), *options]
    assert main(command) == 0
    own = TrainingCLI._callbacks
    with monkeypatch.context() as patch:
        patch.setattr(TrainingCLI, "_callbacks", lambda *args: [*own(*args), Stop(1, 2)])
        assert main(command) == 130
    assert main([*command, "--ckpt_path", "last"]) == 0
    whole, parts = (learned(tmp_path / "runs" / Path(config).stem / number) for number in "01")
    assert_equal(whole, parts, "state")
