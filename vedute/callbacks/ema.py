"""Exponential moving average of a generator's weights, and of its batch norms' statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

EMA_KEY = "ema_state_dict"
"""Where a checkpoint keeps the averaged weights, by parameter name."""


class EMA(Callback):
    """Averages the weights that the module names; validation, test and sampling use them.

    The average starts short and lengthens (``min(decay, (1 + n) / (10 + n))`` after n
    updates), so that a run of a few minutes is averaged over its end and not its beginning.
    Optimisers with several steps per batch do not matter: it updates once per batch.

    Source: Polyak & Juditsky 1992; the warm-up as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, decay: float = 0.999) -> None:
        """Average with ``decay`` per training batch, in (0, 1)."""
        if not 0 < decay < 1:
            raise ValueError(f"EMA needs a decay in (0, 1), got {decay}")
        self.decay = decay
        self.updates = 0
        self._averages: dict[str, Tensor] = {}
        self._originals: dict[str, Tensor] = {}

    def _tensors(self, module: LightningModule) -> dict[str, Tensor]:
        named = getattr(module, "averaged_tensors", None)
        return named() if named is not None else dict(module.named_parameters())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current weights, or continue the loaded averages on their device."""
        for name, tensor in self._tensors(pl_module).items():
            kept = self._averages.get(name)
            self._averages[name] = tensor.detach().float().clone() if kept is None else kept.to(tensor.device)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Move the averages towards the new weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages, values = [], []
        for name, tensor in self._tensors(pl_module).items():
            averages.append(self._averages[name])
            values.append(tensor.detach().float())
        torch._foreach_lerp_(averages, values, 1 - decay)

    @torch.no_grad()
    def _swap_in(self, module: LightningModule) -> None:
        if self._originals or not self._averages:
            return
        for name, tensor in self._tensors(module).items():
            self._originals[name] = tensor.detach().clone()
            tensor.copy_(self._averages[name])

    @torch.no_grad()
    def _swap_out(self, module: LightningModule) -> None:
        for name, tensor in self._tensors(module).items():
            if name in self._originals:
                tensor.copy_(self._originals[name])
        self._originals = {}

    @contextmanager
    def applied(self, module: LightningModule) -> Iterator[None]:
        """Use the averaged weights inside the block."""
        fresh = not self._originals
        if fresh:
            self._swap_in(module)
        try:
            yield
        finally:
            if fresh:
                self._swap_out(module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate with the averaged weights."""
        self._swap_in(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the training weights."""
        self._swap_out(pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test with the averaged weights."""
        self._swap_in(pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the training weights back."""
        self._swap_out(pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Predict with the averaged weights."""
        self._swap_in(pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the training weights back."""
        self._swap_out(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the training weights back when validation is interrupted."""
        self._swap_out(pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Write the averages beside the training weights, which stay what ``state_dict`` holds."""
        if not self._averages:
            return
        checkpoint[EMA_KEY] = dict(self._averages)
        checkpoint["ema_updates"] = self.updates
        state = checkpoint["state_dict"]
        assert isinstance(state, dict)
        state.update(self._originals)  # saved while the averages are swapped in: validation

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Continue the averages of a checkpoint."""
        averages = checkpoint.get(EMA_KEY)
        if isinstance(averages, dict):
            self._averages = {name: value.clone() for name, value in averages.items()}
            updates = checkpoint.get("ema_updates", 0)
            assert isinstance(updates, int)
            self.updates = updates
