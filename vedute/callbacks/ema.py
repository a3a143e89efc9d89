"""Exponential moving average of a generator's weights, and of its batch norms' statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vedute.errors import ConfigurationError

EMA_KEY = "ema_state_dict"
"""Where a checkpoint keeps the averaged weights, by parameter name."""

FURTHER_KEY = "ema_further"
"""Where it keeps further averages, by their decay as text, then by parameter name."""


class EMA(Callback):
    """Averages the weights that the module names; validation, test and sampling use them.

    The average starts short and lengthens (``min(decay, (1 + n) / (10 + n))`` after n
    updates), so that a run of a few minutes is averaged over its end and not its beginning.
    Optimisers with several steps per batch do not matter: it updates once per batch.

    How long the best average is shows only after training. ``further`` keeps averages of other lengths in the
    checkpoints, which the verbs use on request (``--average 0.9998``).

    Source: Polyak & Juditsky 1992; the warm-up as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, decay: float = 0.999, further: Sequence[float] = ()) -> None:
        """Say how long.

        Args:
            decay: Per training batch, in (0, 1).
            further: Decays of further averages, each as large as the weights.

        Raises:
            ConfigurationError: A decay is out of its range, or given twice.
        """
        decays = [decay, *further]
        if not all(0 < one < 1 for one in decays) or len(set(decays)) < len(decays):
            raise ConfigurationError(f"EMA needs different decays in (0, 1), got {decays}.")
        self.decay = decay
        self.further = list(further)
        self._further: dict[str, dict[str, Tensor]] = {f"{one:g}": {} for one in further}
        self.updates = 0
        self._averages: dict[str, Tensor] = {}
        self._originals: dict[str, Tensor] = {}

    def _tensors(self, module: LightningModule) -> dict[str, Tensor]:
        named = getattr(module, "averaged_tensors", None)
        return named() if named is not None else dict(module.named_parameters())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current weights, or continue the loaded averages on their device."""
        for name, tensor in self._tensors(pl_module).items():
            for averages in (self._averages, *self._further.values()):
                kept = averages.get(name)
                averages[name] = tensor.detach().float().clone() if kept is None else kept.to(tensor.device)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Move the averages towards the new weights."""
        self.updates += 1
        tensors = self._tensors(pl_module)
        values = [tensor.detach().float() for tensor in tensors.values()]
        for decay, averages in zip(
            [self.decay, *self.further], [self._averages, *self._further.values()], strict=True
        ):
            shorter = min(decay, (1 + self.updates) / (10 + self.updates))
            torch._foreach_lerp_([averages[name] for name in tensors], values, 1 - shorter)

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
        if self._further:
            checkpoint[FURTHER_KEY] = {name: dict(averages) for name, averages in self._further.items()}
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
        further = checkpoint.get(FURTHER_KEY)
        if isinstance(further, dict):
            for name in self._further.keys() & further.keys():
                self._further[name] = {key: value.clone() for key, value in further[name].items()}
