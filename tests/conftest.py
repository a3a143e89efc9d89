"""What tests share: a cache of their own, tiny pictures, and one small trained run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the cores; set before torch is imported, and for what tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # for tests.data

_CONFIG = """
seed_everything: 0
data:
  class_path: datamodules.landscapes.LandscapesDataModule
  init_args: {{root: {root}, image_size: 32, batch_size: 4}}
model:
  class_path: lightning_modules.cvae.CVAE
  init_args:
    network:
      class_path: vedute.networks.residual_vae.ResidualVAE
      init_args: {{latent_size: 4, encoder_widths: [8, 8, 8], decoder_widths: [8, 8, 8]}}
    optimizer: {{class_path: torch.optim.AdamW, init_args: {{lr: 1.0e-3, betas: [0.9, 0.99]}}}}
    learning_rate_schedule: {{class_path: vedute.schedules.WarmupCosine, init_args: {{warmup: 0.1}}}}
checkpoint: {{monitor: val/loss, mode: min}}
trainer:
  max_epochs: 2
  log_every_n_steps: 1
  precision: 32-true
  callbacks:
    - class_path: vedute.callbacks.ema.EMA
    - class_path: vedute.callbacks.sample_grid.SampleGrid
      init_args: {{every_n_epochs: 1, columns: 2}}
"""


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep prepared caches and painted samples out of the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # One for all processes: samples are painted once.
        folder = tmp_path_factory.getbasetemp().parent / "cache"
        folder.mkdir(exist_ok=True)
    before = os.environ.get("VEDUTE_CACHE")
    os.environ["VEDUTE_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["VEDUTE_CACHE"]
    else:
        os.environ["VEDUTE_CACHE"] = before


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write folders of tiny pictures, two classes, in the layout of the landscapes archive."""
    root = tmp_path_factory.mktemp("class_folders")
    noise = np.random.default_rng(0)
    for part, count in (("Training Data", 10), ("Validation Data", 4), ("Testing Data", 4)):
        for level, name in ((60, "Coast"), (180, "Forest")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(level - 40, level + 40, (36, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write tiny landscapes in the record format; a file's tests share them."""
    from tests.data.landscapes import write_tiny_landscapes

    return write_tiny_landscapes(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_config(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the configuration of a tiny CVAE on the tiny pictures."""
    path = tmp_path_factory.mktemp("configs") / "tiny.yaml"
    path.write_text(_CONFIG.format(root=class_folders), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def _trained(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vedute.cli import main

    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(["fit", "--config", str(tiny_config)]) == 0
    return root


@pytest.fixture
def trained(_trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a copy of a finished two-epoch run in ``runs/tiny/0``."""
    folder = tmp_path / "work"
    shutil.copytree(_trained, folder)
    monkeypatch.chdir(folder)
    return folder
