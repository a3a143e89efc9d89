"""Every shipped YAML trains on its painted sample at 32 pixels, samples and reloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedute.checkpoints import load_checkpoint
from vedute.cli import main

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


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_trains_two_steps_and_leaves_a_whole_run(config: str, tmp_path: Path) -> None:
    small = "--data.image_size 32 --data.batch_size 8 --trainer.limit_train_batches 2"
    short = "--trainer.max_epochs 1 --trainer.limit_val_batches 1 --trainer.enable_progress_bar false"
    network = [f"--model.network.init_args.{option}" for option in SMALLER.get(config, [])]
    flow = FLOW if "flow" in config else []
    place = ["--trainer.default_root_dir", str(tmp_path)]
    options = [*small.split(), *short.split(), *" ".join(network).split(), *place, *flow]
    if config in BEFORE:
        before = str(ROOT / "configs" / f"{BEFORE[config]}.yaml")
        assert main(["fit", "--config", before, *options[: -len(flow) or None]]) == 0
        codec = tmp_path / "runs" / BEFORE[config] / "0" / "checkpoints" / "best.ckpt"
        options += ["--model.codec", str(codec)]
    assert main(["fit", "--config", str(ROOT / "configs" / config), *options]) == 0
    run = tmp_path / "runs" / Path(config).stem / "0"
    assert (run / "config.yaml").is_file() and (run / "metrics.csv").is_file()
    for name in ("best", "last"):
        checkpoint = load_checkpoint(run / "checkpoints" / f"{name}.ckpt")
        assert {"hyper_parameters", "datamodule_hyper_parameters", "state_dict"} <= checkpoint.keys()
