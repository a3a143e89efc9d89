"""What Lightning and everything around a training step cost: ``fit`` against a bare loop.

    python benchmarks/overhead.py                                     configs/cvae_landscapes.yaml
    python benchmarks/overhead.py --data.root DATASET --data.batch_size 64    other options of fit too

Runs ``fit`` with all that the configuration asks for (EMA, pictures, tables, loggers, checkpoints, run log),
and before each of its steps one of a bare loop: the same network, loss, precision, layout and fused
optimiser, and the same average of the weights, on a batch that is already there. A period of ``fit`` is the
whole time from one batch to the next: also loading, transfer and augmentation. Validation and what happens
between epochs are left out.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from step import hand_written_step
from torch import Tensor

from lightning_modules.latent import LatentModule
from vedute.batch import Batch
from vedute.callbacks.ema import EMA
from vedute.cli.training import TrainingCLI
from vedute.cli.training_arguments import complete

WARM_UP = 10


class Turns(Callback):
    """Before each batch of the Trainer, one of the bare loop; keeps the times of both."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.bare: list[float] = []
        self.fit: list[float] = []
        self._step: Callable[[Batch], Tensor] | None = None
        self._began: float | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Build the bare loop."""
        assert isinstance(pl_module, LatentModule)
        weights = pl_module.objective.weights
        network = copy.deepcopy(pl_module.network)
        step = hand_written_step(
            network,
            weights["reconstruction"] * pl_module.train_size,
            weights["kl"],
            channels_last=True,
            bfloat16="bf16" in str(trainer.precision),
            fused=True,
        )
        parameters = list(network.parameters())
        averages = [parameter.detach().clone() for parameter in parameters]
        averaging = any(isinstance(callback, EMA) for callback in trainer.callbacks)  # type: ignore[attr-defined]

        def whole(batch: Batch) -> Tensor:
            loss = step(batch)
            if averaging:
                with torch.no_grad():
                    torch._foreach_lerp_(averages, parameters, 0.001)
            return loss

        self._step = whole

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out what lies between two epochs."""
        self._began = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Stop the clock of the batch before, and run the bare loop."""
        assert self._step is not None
        began = time.perf_counter()
        if self._began is not None:
            self.fit.append(began - self._began)
        with torch.enable_grad():
            self._step(batch)
        ended = time.perf_counter()
        if self._began is not None:
            self.bare.append(ended - began)
        self._began = ended


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/cvae_landscapes.yaml", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=2, help="epochs to train (default: 2)")
    options, others = parser.parse_known_args()
    turns = Turns()

    class Measured(TrainingCLI):
        """``fit`` with the other loop in between."""

        def _callbacks(self, given: list[object], bar: bool) -> list[Callback]:  # type: ignore[override]
            return [turns, *super()._callbacks(given, bar)]

    with tempfile.TemporaryDirectory() as folder:
        place = ["--trainer.default_root_dir", folder, "--trainer.max_epochs", str(options.epochs)]
        Measured("fit", complete("fit", ["--config", options.config, *place, *others])).execute()
    pairs = list(zip(turns.fit, turns.bare, strict=True))[WARM_UP:]
    bare = statistics.median(bare for _, bare in pairs)
    extra = statistics.median(fit - bare for fit, bare in pairs)
    print(f"bare loop {1000 * bare:.1f} ms a step, fit {1000 * (bare + extra):.1f} ms")
    share = f"{100 * extra / bare:.1f} % of the bare step"
    print(f"{1000 * extra:.2f} ms more, {share} ({len(pairs)} steps, {torch.get_num_threads()} threads)")


if __name__ == "__main__":
    main()
