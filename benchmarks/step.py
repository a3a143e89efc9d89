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
from collections.abc import Callable

import torch
from interleaved import DEVICE, measure, report
from plain_street_view import written_down
from shipped_models import MODELS, build
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from lightning_modules.latent import LatentModule
from vedute.batch import Batch

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
    network.to(DEVICE)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    weights = network.parameters()
    optimizer = Adam(weights, lr=RATE, fused=True) if fused else Adam(weights, lr=RATE)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def step(batch: Batch) -> Tensor:
        image = batch.image.contiguous(memory_format=layout)
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=bfloat16):
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
    torch.manual_seed(0)
    model = MODELS[options.model]
    if options.model == "street_view" and options.image_size not in (None, 128):
        parser.error("street_view is compared with a network of 128x128 pixels: leave out --image_size")
    module = build(model, options.image_size)
    assert isinstance(module, LatentModule)
    loops = hand_written_loops(options.model, module, options.parts)
    timing = measure(module, loops, options.rounds, options.batch_size)
    report(model.config, module, timing, options.batch_size)


if __name__ == "__main__":
    main()
