"""Every kind of model trains in two processes (gloo) by configs/with/ddp.yaml, to equal weights in both.

Not here: those with tests of their own (DCGAN, pix2pix, ESRGAN, VAE-GAN, VQ-VAE, mean flows).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.data.adversarial import callback

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
NETWORK = "--model.init_args.network.init_args"
CONFIGS = {
    "ae_landscapes": f"{NETWORK}.encoder_widths [8,8,8,8,8] {NETWORK}.decoder_widths [8,8,8,8]",
    "vae_landscapes": "",
    "cvae_landscapes": "",
    "cvae_ladder_landscapes": "",
    "cvae_residual_cars": "",
    "gan_landscapes": "",
    "flow_landscapes": "",
    "flow_aerial": "",
    "classifier_landscapes": "",
    "regressor_cars": "",
    "segmenter_aerial": "",
}
SMALL = (
    "--data.image_size 32 --data.batch_size 4 --trainer.precision 32-true --trainer.max_epochs 1 "
    "--trainer.limit_train_batches 3 --trainer.limit_val_batches 2 --trainer.enable_progress_bar false"
)

ALL = """
import json, sys
from vedute.cli import main
for command in json.load(open(sys.argv[1])):
    if main(command) != 0:
        sys.exit(f"failed: {command}")
"""


def command(config: str, folder: Path, processes: int, *options: str) -> list[str]:
    """Return the command of a training that keeps each process's weights in a folder."""
    folder.mkdir(exist_ok=True)
    files = [f"--config={ROOT / 'configs' / name}.yaml" for name in (config, "with/ddp")]
    many = ["--trainer.accelerator", "cpu", "--trainer.devices", str(processes)]
    keep = callback("tests.data.adversarial.SaveAtEnd", folder=folder)
    place = ["--trainer.default_root_dir", str(folder)]
    return ["fit", *files, *many, *SMALL.split(), *place, *options, *keep]


def start(program: list[str], **variables: str) -> subprocess.Popen[str]:
    """Start Python on this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, *program], env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def weights(folder: Path, processes: int) -> list[dict[str, Tensor]]:
    """Return what each process has kept."""
    found = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(processes))
    return [state["weights"] for state in found]


def train(config: str, folder: Path, processes: int, *options: str) -> list[dict[str, Tensor]]:
    """Train by a shipped configuration, in processes that Lightning starts."""
    with start([str(ROOT / "cli.py"), *command(config, folder, processes, *options)]) as process:
        _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return weights(folder, processes)


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train all configurations, one after the other, in two processes started as torchrun starts them.

    Starting two processes for each of them would take most of the time.
    """
    folder = tmp_path_factory.mktemp("approaches")
    commands = []
    for config, options in CONFIGS.items():
        data = ["--data.root", str(tiny)] if "landscapes" in config else []
        commands.append(command(config, folder / config, 2, *options.split(), *data))
    (folder / "commands.json").write_text(json.dumps(commands))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    torchrun = {**shared, "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}
    program = ["-c", ALL, str(folder / "commands.json")]
    processes = [start(program, RANK=rank, LOCAL_RANK=rank, **torchrun) for rank in "01"]
    for process in processes:
        _, said = process.communicate(timeout=900)
        assert process.returncode == 0, said
    return folder


@pytest.mark.parametrize("config", CONFIGS)
def test_two_processes_end_with_equal_weights(config: str, trained: Path) -> None:
    one, other = weights(trained / config, 2)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
        assert value.isfinite().all(), name
    run = trained / config / "runs" / config / "0"
    assert (run / "checkpoints" / "last.ckpt").is_file() and not run.with_name("1").exists()


def test_two_processes_learn_what_one_learns_from_twice_the_batch(tiny: Path, tmp_path: Path) -> None:
    """Without batch normalisation and noise; sums are taken in another order, so not to the last bit."""
    plain = ["--data.root", str(tiny), "--data.augmentations", "[]", "--trainer.limit_train_batches", "5"]
    widths = "--model.network.init_args.encoder_widths [8,8] --model.network.init_args.decoder_widths [8,8]"
    network = ["--model.network", "vedute.networks.residual_vae.ResidualVAE", *widths.split()]
    slow = ["--model.optimizer", "torch.optim.SGD", "--model.optimizer.init_args.lr", "1.0e-4"]
    options = [*plain, *network, *slow, "--model.reconstruction_weight", "1.0"]
    both, _ = train("ae_landscapes", tmp_path / "two", 2, *options)
    (one,) = train("ae_landscapes", tmp_path / "one", 1, *options, "--data.batch_size", "8")
    (alone,) = train("ae_landscapes", tmp_path / "alone", 1, *options)
    for name, value in one.items():
        torch.testing.assert_close(both[name], value, rtol=1e-4, atol=1e-6)
    near, far = (
        max(float((other[name] - value).abs().max()) for name, value in one.items())
        for other in (both, alone)
    )
    assert near < far / 100, "the training is long enough to tell: half the batch learns something else"
