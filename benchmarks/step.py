"""How long a training step takes: this package's way against a plain float32 PyTorch loop.

    python benchmarks/step.py                       the street-view VAE: the two, interleaved in one run
    python benchmarks/step.py --parts               also what each part of the difference brings alone
    python benchmarks/step.py --model residual      another model, see --help

'package' is what ``fit`` does: the module of the shipped configuration under Lightning's Trainer in the
precision that suits this machine, with channels-last weights and the configuration's optimiser (fused).
'plain' is a hand-written loop without a thought about speed: float32, channels first, Adam as it comes. It
trains the same network class; for the street-view VAE (14,186,531 weights) a network written down anew in
PyTorch, checked to compute the same function. All see the same images, batch for batch.
"""

from __future__ import annotations

import argparse
import copy
import logging
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from plain_street_view import written_down
from shipped_models import MODELS, build
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.utils.data import DataLoader

from lightning_modules.latent import LatentModule
from vedute.batch import Batch, Condition
from vedute.hardware import best_precision

RATE = 1e-4


def hand_written_step(
    network: nn.Module,
    pixel_weight: float,
    kl_weight: float,
    channels_last: bool = False,
    bfloat16: bool = False,
    fused: bool = False,
) -> Callable[[Batch], Tensor]:
    """Return what trains a network by one batch: ``pixel_weight`` * MSE + ``kl_weight`` * KL."""
    if channels_last:
        network.to(memory_format=torch.channels_last)
    weights = network.parameters()
    optimizer = Adam(weights, lr=RATE, fused=True) if fused else Adam(weights, lr=RATE)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def step(batch: Batch) -> Tensor:
        image = batch.image.contiguous(memory_format=layout)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            output, _, mu, logvar = network(image, batch.condition.vector)
        mu, logvar = mu.float(), logvar.float()
        kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum() / len(image)
        loss = pixel_weight * F.mse_loss(output.float(), image) + kl_weight * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        detached: Tensor = loss.detach()
        return detached

    return step


class Images:
    """As many equal-sized batches of random images as asked for, all in memory."""

    def __init__(self, batches: int, batch_size: int, image_size: tuple[int, int], classes: int) -> None:
        """Draw them; four different ones that repeat."""
        generator = torch.Generator().manual_seed(0)
        self.batches = batches
        self.kept = []
        for _ in range(4):
            image = torch.rand(batch_size, 3, *image_size, generator=generator)
            label = torch.randint(classes, (batch_size,), generator=generator)
            vector = F.one_hot(label, classes).float()
            # As the datamodules deliver them: channels last.
            self.kept.append(Batch(image.contiguous(memory_format=torch.channels_last), Condition(vector)))

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.batches

    def __getitem__(self, position: int) -> Batch:
        """Return a batch."""
        return self.kept[position % len(self.kept)]


class Interleaved(Callback):
    """Times the Trainer's steps, and before each one a step of every hand-written loop."""

    def __init__(self, others: dict[str, Callable[[Batch], Tensor]], warm_up: int) -> None:
        """Keep the loops to compare with and the number of rounds to leave out."""
        self.others = others
        self.warm_up = warm_up
        self.seconds: dict[str, list[float]] = {name: [] for name in (*others, "package")}
        self._started = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Run and time the other loops on the same batch, then start the clock."""
        with torch.enable_grad():
            for name, step in self.others.items():
                started = time.perf_counter()
                step(batch)
                self.seconds[name].append(time.perf_counter() - started)
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Stop the clock."""
        self.seconds["package"].append(time.perf_counter() - self._started)

    def median(self, name: str) -> float:
        """Return the median time of a loop's step, seconds."""
        return statistics.median(self.seconds[name][self.warm_up :])

    def ratio(self, name: str, other: str) -> float:
        """Return how often a step of ``name`` fits into one of ``other``: the median over rounds."""
        pairs = zip(self.seconds[other], self.seconds[name], strict=True)
        return statistics.median([a / b for a, b in pairs][self.warm_up :])


def hand_written_loops(name: str, module: LatentModule, parts: bool) -> dict[str, Callable[[Batch], Tensor]]:
    """Return the loops to compare with, each on a copy of the module's network."""
    pixels = 3 * module.image_size[0] * module.image_size[1]
    # The street view's loss sums over pixels, the others' is MSE * number of training images.
    weights = module.objective.weights
    pixel_weight = weights["reconstruction"] * module.train_size + weights.get("squared_error", 0.0) * pixels

    def loop(
        channels_last: bool = False, bfloat16: bool = False, fused: bool = False
    ) -> Callable[[Batch], Tensor]:
        network: nn.Module = copy.deepcopy(module.network)
        if name == "street_view":
            network = written_down(module.network)
        return hand_written_step(network, pixel_weight, weights["kl"], channels_last, bfloat16, fused)

    loops = {"plain": loop()}
    if parts:
        loops["plain + channels last"] = loop(channels_last=True)
        loops["plain + bfloat16 autocast"] = loop(bfloat16=True)
        loops["plain + fused Adam"] = loop(fused=True)
        loops["plain + all three"] = loop(True, True, True)
    return loops


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="street_view", help="default: street_view")
    parser.add_argument("--rounds", type=int, default=20, help="measured steps of each loop (default: 20)")
    parser.add_argument("--batch_size", type=int, default=64, help="images a batch (default: 64)")
    parser.add_argument("--image_size", type=int, help="pixels a side (default: the configuration's)")
    parser.add_argument("--parts", action="store_true", help="also measure each part alone")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")

    torch.manual_seed(0)
    model = MODELS[options.model]
    if options.model == "street_view" and options.image_size not in (None, 128):
        parser.error("street_view is compared with a network of 128x128 pixels: leave out --image_size")
    module = build(model, options.image_size)
    warm_up = 3
    timing = Interleaved(hand_written_loops(options.model, module, options.parts), warm_up)
    precision = best_precision("cpu")
    trainer = Trainer(
        accelerator="cpu",
        max_steps=options.rounds + warm_up,
        precision=precision,
        callbacks=[timing],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    images = Images(options.rounds + warm_up, options.batch_size, module.image_size, model.classes)
    trainer.fit(module, DataLoader(images, batch_size=None, shuffle=False))  # type: ignore[arg-type]

    weights = sum(one.numel() for one in module.parameters() if one.requires_grad)
    height, width = module.image_size
    print(
        f"{model.config}: {weights:,} weights, {height}x{width}, batch {options.batch_size}, "
        f"{torch.get_num_threads()} threads, {precision}"
    )
    for name in timing.seconds:
        milliseconds = 1000 * timing.median(name)
        print(f"{name:<28}{milliseconds:8.0f} ms   {timing.ratio(name, 'plain'):5.2f} x as fast as plain")


if __name__ == "__main__":
    main()
