"""How fast ``translate`` is on a large mask, against nothing but its network, and how much memory it takes.

    python benchmarks/translate.py                       5000 x 5000 pixels, the 9-block ResNet generator
    python benchmarks/translate.py --side 1500 --width 16    a smaller picture and network
    python benchmarks/translate.py --device cuda --batch_size 8

'network' computes one tile again and again, 'translate' is the whole command: reading the mask, statistics,
tiles, blending, writing. Both run in one process of their own, and their ratio is that of the time for each
tile; the time for each pixel of the picture is longer by what the tiles overlap. The network is measured
before and after, because other work on the machine changes its speed. The peak is the resident memory of the
whole process, of which the libraries (PyTorch above all) are there before the work begins. Weights are drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile


def write_mask(path: Path, side: int) -> None:
    """Write houses at random, deflate in strips, as such masks mostly come."""
    blocks = np.random.default_rng(0).random((side // 25 + 1, side // 25 + 1)) < 0.3
    mask = blocks.repeat(25, 0).repeat(25, 1)[:side, :side] * np.uint8(255)
    tifffile.imwrite(path, mask, compression="deflate", rowsperstrip=16, metadata=None)


def peak() -> float:
    """Return the peak of resident memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """Measure in this process."""
    import torch
    from torch import Tensor

    from vedute import checkpoints
    from vedute.batch import Condition
    from vedute.cli import main
    from vedute.networks.translators import ResnetGenerator
    from vedute.sampling.tiling import Tiling, plan

    class Model(torch.nn.Module):
        """What the command sees of a model."""

        condition_kind, condition_channels, image_channels, scale = "image", 1, 3, 1
        image_size = (256, 256)

        def __init__(self) -> None:
            super().__init__()
            size = self.image_size
            self.network = ResnetGenerator(size, 3, 1, 0, width=given.width, norm=given.norm)
            self.tile_multiple = self.network.multiple
            self.device = torch.device(given.device)

        def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
            image = condition.image
            assert image is not None
            return self.network(image, image.new_zeros(len(image), 0))

    model = Model().to(given.device).eval()
    checkpoints.load_module = lambda *_: model  # type: ignore[assignment]  # no checkpoint is at hand
    (folder / "model.ckpt").touch()
    libraries = peak()
    tiles = torch.rand(given.batch_size, 1, given.tile, given.tile).to(given.device)
    tiles = tiles.to(memory_format=torch.channels_last)
    model.to(memory_format=torch.channels_last)
    seeds = torch.zeros(given.batch_size, dtype=torch.int64)

    @torch.inference_mode()
    def network() -> float:
        model.sample(Condition(image=tiles), seeds).cpu()
        started = time.perf_counter()
        for _ in range(given.repeats):
            model.sample(Condition(image=tiles), seeds).float().cpu()
        return (time.perf_counter() - started) / given.repeats / given.batch_size

    before = network()
    started = time.perf_counter()
    options = f"--tile {given.tile} --overlap {given.overlap} --batch-size {given.batch_size}"
    places = [f"--{name}={folder / file}" for name, file in
              (("checkpoint", "model.ckpt"), ("input", "mask.tif"), ("output", "city.tif"))]  # fmt: skip
    assert main(["translate", *places, "--device", given.device, *options.split()]) == 0
    seconds = time.perf_counter() - started
    after = network()
    spans = plan(given.side, Tiling(given.tile, given.overlap), model.tile_multiple)
    return {
        "network": (before + after) / 2,
        "seconds": seconds,
        "tiles": len(spans) ** 2,
        "statistics": 2 if given.norm == "instance" else 0,
        "peak": peak(),
        "libraries": libraries,
    }


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--side", type=int, default=5000)
    options.add_argument("--tile", type=int, default=512)
    options.add_argument("--overlap", type=int, default=64)
    options.add_argument("--width", type=int, default=64, help="of the generator")
    options.add_argument("--norm", choices=("batch", "instance"), default="instance")
    options.add_argument("--batch_size", type=int, default=1)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--device", default="cpu")
    options.add_argument("--in_process", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.in_process is not None:
        print(json.dumps(run(given.in_process, given)))
        return
    with tempfile.TemporaryDirectory() as name:
        write_mask(Path(name) / "mask.tif", given.side)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, __file__, *sys.argv[1:], "--in_process", name]
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    result = json.loads(output.splitlines()[-1])
    passed = result["tiles"] + result["statistics"]
    each = result["seconds"] / passed
    print(f"mask of {given.side} x {given.side}, {given.norm} norm, {result['tiles']} tiles of {given.tile}")
    print(f"network alone      {result['network']:.3f} s a tile")
    print(f"translate          {each:.3f} s a tile, {result['seconds']:.1f} s: "
          f"{100 * (each / result['network'] - 1):+.1f} % of the network's own")  # fmt: skip
    if result["statistics"]:
        print(f"  of it statistics as many pixels as {result['statistics']} tiles, "
              f"{100 * result['statistics'] / result['tiles']:.0f} %")  # fmt: skip
    print(f"peak memory        {result['peak']:.0f} MB, of it libraries {result['libraries']:.0f} MB")


if __name__ == "__main__":
    main()
