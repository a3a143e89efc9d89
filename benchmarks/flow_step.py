"""What flow matching costs: training steps against plain loops and diffusers, and sampling.

    python benchmarks/flow_step.py                            package beside a plain float32 loop
    python benchmarks/flow_step.py --diffusers                also a U-Net of diffusers (install it first)
    python benchmarks/flow_step.py --model flow_transformer   a transformer instead of the U-Net
    python benchmarks/flow_step.py --size small --compile     on a GPU: share of the matrix rate, memory
    python benchmarks/flow_step.py --sampling                 images/s by solver and number of steps

'package' is what ``fit`` does: the shipped configuration under Lightning's Trainer in the precision that
suits this machine. 'plain' is a hand-written loop on a copy of its network: float32, channels first, AdamW as
it comes. 'diffusers' is that library's UNet2DModel with about as many weights, in the loop of its own
training example (noise prediction with DDPMScheduler, AdamW, float32; and in bfloat16), without conditions,
attention on the same levels. All see the same images in turns. The share of the matrix rate compares the
network's operations with what one large matrix product reaches on this machine in the same precision.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from interleaved import DEVICE, Images, measure, now, report
from shipped_models import Model, build
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lightning_modules.flow_matching import FlowMatching
from vedute.batch import Batch
from vedute.hardware import best_precision
from vedute.networks.flow import FlowCondition

SIZES: dict[str, dict[str, dict[str, object]]] = {
    "flow_unet": {
        "tiny": {},
        "small": {"widths": [128, 256, 384], "blocks": 2, "embedding_size": 512},
        "base": {"widths": [192, 384, 576], "blocks": 3, "embedding_size": 768},
    },
    "flow_transformer": {
        "tiny": {},
        "small": {"width": 384, "depth": 12, "heads": 6},
        "base": {"width": 768, "depth": 12, "heads": 12},
    },
}
CLASSES = {
    "flow_unet": "vedute.networks.flow_unet.FlowUNet",
    "flow_transformer": "vedute.networks.flow_transformer.FlowTransformer",
}
SAMPLED = (("euler", 1), ("euler", 8), ("euler", 32), ("midpoint", 8), ("heun", 16), ("rk4", 8))
DIFFUSERS = {"tiny": (48, 104, 168), "small": (112, 224, 352), "base": (208, 400, 616)}
"""Channels of a UNet2DModel with about as many weights."""


def plain_step(module: FlowMatching) -> Callable[[Batch], Tensor]:
    """Return what trains a copy of a module's network by one batch, without a thought about speed."""
    network = copy.deepcopy(module.network).to(DEVICE)
    optimizer = torch.optim.AdamW(network.parameters(), lr=6e-4)

    def step(batch: Batch) -> Tensor:
        data = 2 * batch.image.contiguous() - 1
        count = len(data)
        noise, t = torch.randn_like(data), torch.sigmoid(torch.randn(count, device=DEVICE))
        kept = torch.rand(count, device=DEVICE) >= 0.1
        side = t[:, None, None, None]
        told = FlowCondition(batch.condition.vector, None, kept)
        output = network((1 - side) * noise + side * data, t, told)
        loss = F.mse_loss(output, data - noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def diffusers_step(size: str, side: int, half: bool) -> tuple[Callable[[Batch], Tensor], int]:
    """Return a training step of diffusers' example, and how many weights it trains."""
    from diffusers import DDPMScheduler, UNet2DModel

    channels = DIFFUSERS[size]
    network = UNet2DModel(
        sample_size=side,
        in_channels=3,
        out_channels=3,
        layers_per_block=1 if size == "tiny" else 2,
        block_out_channels=channels,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    ).to(DEVICE)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    scheduler = DDPMScheduler(num_train_timesteps=1000)

    def step(batch: Batch) -> Tensor:
        data = 2 * batch.image.contiguous() - 1
        noise = torch.randn_like(data)
        times = torch.randint(0, 1000, (len(data),), device=DEVICE)
        noisy = scheduler.add_noise(data, noise, times)
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=half):
            loss = F.mse_loss(network(noisy, times).sample.float(), noise)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step, sum(weight.numel() for weight in network.parameters())


def multiply_adds(module: FlowMatching, batch_size: int) -> int:
    """Return the operations of forward and backward of a batch, a multiply-add being two."""
    images = Images(1, batch_size, module)[0].to(DEVICE)
    x, t = 2 * images.image - 1, torch.rand(batch_size, device=DEVICE)
    with FlopCounterMode(display=False) as counter:
        module.network.to(DEVICE)(x, t, FlowCondition(images.condition.vector)).sum().backward()
    module.network.zero_grad()
    return counter.get_total_flops()


def matrix_rate(precision: str) -> float:
    """Return the operations a second that a large matrix product reaches in a precision."""
    dtype = {"bf16": torch.bfloat16, "16-m": torch.float16}.get(precision[:4], torch.float32)
    side = 8192 if torch.cuda.is_available() else 1024
    one, other = (torch.randn(side, side, device=DEVICE, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(10):
        start = now()
        one @ other
        times.append(now() - start)
    return 2 * side**3 / min(times)


def sampling(module: FlowMatching, count: int) -> None:
    """Print images a second by solver and steps, without guidance and with."""
    module.to(DEVICE).eval()
    batch = Images(1, count, module)[0].to(DEVICE)
    seeds = torch.arange(count)
    for solver, steps in SAMPLED:
        for guidance in (1.0, 1.5):
            module.set_sampler(replace(module.sampler, solver=solver, steps=steps, guidance=guidance))
            times = []
            half = best_precision("auto").startswith("bf16")
            for _ in range(3):
                start = now()
                with torch.inference_mode(), torch.autocast(DEVICE.type, torch.bfloat16, enabled=half):
                    module.sample(batch.condition, seeds)
                times.append(now() - start)
            rows = module.sampler.evaluations()
            print(
                f"{solver:<10}{steps:4} steps, guidance {guidance:3.1f}: {rows:4} evaluations an image, "
                f"{count / min(times):8.2f} images/s"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=SIZES, default="flow_unet", help="default: flow_unet")
    parser.add_argument("--size", choices=DIFFUSERS, default="tiny", help="default: tiny")
    parser.add_argument("--rounds", type=int, default=10, help="measured steps of each loop (default: 10)")
    parser.add_argument("--batch_size", type=int, default=32, help="images a batch (default: 32)")
    parser.add_argument("--image_size", type=int, default=64, help="pixels a side (default: 64)")
    parser.add_argument("--diffusers", action="store_true", help="also a U-Net of diffusers")
    parser.add_argument("--compile", action="store_true", help="compile the package's network")
    parser.add_argument("--sampling", action="store_true", help="images/s by solver and steps instead")
    options = parser.parse_args()
    torch.manual_seed(0)
    network = {"class_path": CLASSES[options.model], "init_args": SIZES[options.model][options.size]}
    module = build(Model("flow_landscapes_64"), options.image_size, network=network, augment=None)
    assert isinstance(module, FlowMatching)
    if options.sampling:
        sampling(module, options.batch_size)
        return
    loops = {"plain": plain_step(module)}
    if options.diffusers:
        loops["diffusers"], weights = diffusers_step(options.size, options.image_size, half=False)
        loops["diffusers, bfloat16"], _ = diffusers_step(options.size, options.image_size, half=True)
        print(f"diffusers: {weights:,} weights")
    work = multiply_adds(module, options.batch_size)
    if options.compile:
        compiled: nn.Module = torch.compile(module.network)  # type: ignore[assignment]
        module.network = compiled  # type: ignore[assignment]
    timing = measure(module, loops, options.rounds, options.batch_size)
    report(f"{options.model} {options.size}", module, timing, options.batch_size)
    share = work / timing.median("package") / matrix_rate(best_precision("auto"))
    print(
        f"share of the matrix rate: {100 * share:.0f} %, {work / options.batch_size / 1e9:.1f} GFLOP an image"
    )
    if torch.cuda.is_available():
        print(f"memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB, all loops together")


if __name__ == "__main__":
    main()
