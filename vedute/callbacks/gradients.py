"""How large the gradients are that optimisers step by."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

_OF_TWO = ("generator", "discriminator")


class GradientNorms(Callback):
    """Logs the norm of the gradients before a step of each optimiser, as often as other values are logged.

    ``train/gradient_norm``; of a module with a generator's and a discriminator's optimiser, in this
    order, ``train/gradient_norm/generator`` and ``train/gradient_norm/discriminator``. Gradients are
    those before Lightning clips them; a module that clips them itself before its step has clipped ones.
    """

    def __init__(self) -> None:
        """Start with nothing measured."""
        self._norms: dict[str, Tensor] = {}

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Measure when it is time."""
        # As Lightning's loggers count; a norm that nobody reads need not be computed.
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        interval: int = getattr(trainer, "log_every_n_steps")  # noqa: B009  # set by Lightning, not declared
        if interval < 1 or (step + 1) % interval:
            return
        gradients = [
            weight.grad.detach()
            for group in optimizer.param_groups
            for weight in group["params"]
            if weight.grad is not None
        ]
        if not gradients:
            return
        name, optimizers = "train/gradient_norm", trainer.optimizers
        if len(optimizers) == len(_OF_TWO):
            name = f"{name}/{_OF_TWO[optimizers.index(optimizer)]}"
        self._norms[name] = torch.nn.utils.get_total_norm(gradients).float()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Log what was measured."""
        # Not within the step: in the first batch of an epoch Lightning would forget what the step itself
        # has logged so far.
        for name, norm in self._norms.items():
            pl_module.log(name, norm, on_step=True, on_epoch=False, batch_size=1)
        self._norms = {}
