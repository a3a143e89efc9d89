"""How long the reference systems' training jobs take on a GPU, and how much memory.

    python benchmarks/gpu_jobs.py                    both jobs, each at its best batch size
    python benchmarks/gpu_jobs.py --compile          with torch.compile
    python benchmarks/gpu_jobs.py --model wide_plus_256 --batch-size 16
                                                     does the network of 636M weights fit?
    python benchmarks/gpu_jobs.py --image-size 32 --steps 5 --batch-size 8 --images 64
                                                     a trial on a machine without a GPU

The module of the shipped configuration, trained by a bare loop in the way of ``fit`` on a GPU: bfloat16
autocast, channels last, fused Adam, random uint8 images on the device (``residence: device``), a new random
order as in an epoch. What a Trainer adds (a few ms a step, validation, checkpoints) is not in it. Without
``--batch-size``, sizes are doubled until the speed grows by less than a twentieth or memory ends; what a
training at that size learns is another matter.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from shipped_models import MODELS, build
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.latent import LatentModule
from vedute.batch import Batch, Condition

GIGABYTE = 1024**3
SMALLEST, LARGEST = 16, 4096


@dataclass(frozen=True)
class Job:
    """A training of the reference.

    Attributes:
        model: Name in ``MODELS``.
        images: Training images.
        epochs: Epochs.
        hours: What the reference reports.
        where: On which hardware.
        goal_minutes: What is wanted on one H200; None: nothing.
    """

    model: str
    images: int
    epochs: int
    hours: float
    where: str
    goal_minutes: float | None


JOBS = (
    Job("street_view", 165_030, 100, 1.9, "two V100", 3),
    Job("wide_plus_128", 10_000, 1000, 22, "a Colab GPU", 15),
    Job("wide_plus_256", 10_000, 100, 3.5, "a Colab GPU", None),
)


class Loop:
    """A bare training loop on images that lie on the device."""

    def __init__(self, module: LatentModule, classes: int, images: int, compiled: bool) -> None:
        """Make images, and what trains.

        Args:
            module: On its device.
            classes: Number of classes.
            images: Random images to train on.
            compiled: Whether torch.compile makes the network's code.
        """
        self.module = module.train()
        self.device = module.device
        height, width = module.image_size
        size = (images, height, width, 3)
        # Channels last in memory, as the data set keeps them: no copy turns them around.
        self.images = torch.randint(256, size, dtype=torch.uint8, device=self.device).permute(0, 3, 1, 2)
        self.labels = torch.randint(classes, (images,), device=self.device)
        self.classes = classes
        self.order = torch.randperm(images, device=self.device)
        self.position = 0
        module.to(memory_format=torch.channels_last)
        trained = (one for one in module.parameters() if one.requires_grad)
        self.optimizer = torch.optim.Adam(trained, lr=1e-5, fused=True)
        if compiled:
            module.network.compile()

    def step(self, batch_size: int) -> Tensor:
        """Train by one batch; returns the loss, ()."""
        if self.position + batch_size > len(self.order):
            self.order, self.position = torch.randperm(len(self.order), device=self.device), 0
        rows = self.order[self.position : self.position + batch_size]
        self.position += batch_size
        image = self.images[rows].float() / 255
        batch = Batch(
            image.contiguous(memory_format=torch.channels_last),
            Condition(F.one_hot(self.labels[rows], self.classes).float()),
        )
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            terms, _ = self.module.terms(self.module.code(batch))
            loss = self.module.objective.plain(terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def speed(self, batch_size: int, steps: int, warm_up: int = 3) -> float:
        """Return images a second over ``steps`` steps."""
        for _ in range(warm_up):
            self.step(batch_size)
        self._wait()
        begin = time.perf_counter()
        for _ in range(steps):
            loss = self.step(batch_size)
        self._wait()
        seconds = time.perf_counter() - begin
        if not bool(loss.isfinite()):
            raise SystemExit("The loss is no number: the figures would be of nothing.")
        return batch_size * steps / seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def best_batch_size(speed: Callable[[int], float], largest: int) -> tuple[int, float]:
    """Return the batch size from which larger ones are hardly faster, and its speed, images/s."""
    chosen, fastest, size = 0, 0.0, min(SMALLEST, largest)
    while size <= largest:
        try:
            found = speed(size)
        except torch.OutOfMemoryError:
            break
        print(f"  batch {size:>5}: {found:,.0f} images/s", flush=True)
        if found < 1.05 * fastest:
            break
        chosen, fastest, size = size, found, 2 * size
    if not chosen:
        raise SystemExit(f"Even {SMALLEST} images at once do not fit into this GPU's memory.")
    return chosen, fastest


def measure(job: Job, options: argparse.Namespace, device: torch.device) -> None:
    """Measure and print one job."""
    model = MODELS[job.model]
    torch.manual_seed(0)
    with device:  # the weights are made where they stay
        module = build(model, options.image_size)
    module.to(device)
    weights = sum(one.numel() for one in module.parameters() if one.requires_grad)
    height, width = module.image_size
    print(
        f"\n{model.config}: {weights:,} weights, {height}x{width}, {job.images:,} images, {job.epochs} epochs"
    )
    loop = Loop(module, model.classes, options.images, options.compile)
    if options.batch_size:
        batch_size, speed = options.batch_size, loop.speed(options.batch_size, options.steps)
    else:
        batch_size, speed = best_batch_size(
            lambda size: loop.speed(size, options.steps), min(LARGEST, options.images)
        )
    hours = job.images * job.epochs / speed / 3600
    print(f"  {speed:,.0f} images/s at batch {batch_size}: {hours:.3g} h ({60 * hours:.3g} min) for the job")
    print(f"  the reference: {job.hours:g} h on {job.where}, {job.hours / hours:.3g} times as long")
    if job.goal_minutes is not None:
        print(f"  goal on one H200: {job.goal_minutes:g} min")
    # float32 weights, gradients, and Adam's two moments
    print(f"  weights, gradients and Adam: {16 * weights / GIGABYTE:.2f} GB", end="")
    if device.type == "cuda":
        peak, whole = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(device).total_memory
        print(f"; peak in all {peak / GIGABYTE:.2f} of {whole / GIGABYTE:.0f} GB")
    else:
        print("; the peak is measured on a GPU only")
    if options.image_size is not None:
        print("  At another image size than the reference's: no figure of its job.")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [job.model for job in JOBS]
    parser.add_argument("--model", choices=names, action="append", help="default: the first two")
    parser.add_argument("--batch-size", type=int, help="images a batch (default: chosen by speed)")
    parser.add_argument("--image-size", type=int, help="pixels a side (default: the configuration's)")
    parser.add_argument("--steps", type=int, default=50, help="measured steps (default: 50)")
    parser.add_argument("--images", type=int, default=8192, help="images on the device (default: 8192)")
    parser.add_argument("--compile", action="store_true", help="compile the network")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU here: figures of this processor"
    print(f"{name}; torch {torch.__version__}, bfloat16 autocast, compile {options.compile}")
    for job in JOBS:
        if job.model in (options.model or names[:2]):
            measure(job, options, device)
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
