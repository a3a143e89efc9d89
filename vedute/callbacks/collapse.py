"""Whether the two networks of a GAN still learn from each other."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from vedute.errors import ConfigurationError

_log = logging.getLogger("vedute.collapse")

_LOGITS = ("train/real_logits", "train/fake_logits")


@runtime_checkable
class Adversarial(Protocol):
    """A module with a discriminator, which logs what it thinks."""

    discriminator: nn.Module


class CollapseAlarm(Callback):
    """Warns when a discriminator is always right, or its logits explode.

    It reads what the module logs: ``train/discriminator_accuracy``, ``train/real_logits`` and
    ``train/fake_logits``. Each of the two warnings comes once in a training and says what to change.
    """

    def __init__(
        self,
        accuracy: float = 0.98,
        logits: float = 100.0,
        batches: int = 500,
        every_n_batches: int = 10,
    ) -> None:
        """Say what is too much, and for how long.

        Args:
            accuracy: Share of right judgements, in (0.5, 1], from which on the generator learns little.
            logits: Size of the mean logits above which they count as exploding.
            batches: Batches over which both are averaged, and before which nothing is said.
            every_n_batches: Batches between two readings, each of which waits for a GPU.

        Raises:
            ConfigurationError: A number is out of its range.
        """
        if not 0.5 < accuracy <= 1 or not logits > 0 or not 1 <= every_n_batches <= batches:
            raise ConfigurationError(
                "CollapseAlarm needs accuracy in (0.5, 1], logits above 0, and every_n_batches from 1 to "
                f"batches; got {accuracy:g}, {logits:g}, {every_n_batches} and {batches}."
            )
        self.accuracy = accuracy
        self.logits = logits
        self.batches = batches
        self.every_n_batches = every_n_batches
        readings = batches // every_n_batches
        self._accuracies: deque[float] = deque(maxlen=readings)
        self._sizes: deque[float] = deque(maxlen=readings)
        self._said: set[str] = set()

    @property
    def state_key(self) -> str:
        """Where a checkpoint keeps this callback's state, whatever its options."""
        return type(self).__name__

    def state_dict(self) -> dict[str, list[float] | list[str]]:
        """Return the last readings and what has been said."""
        return {
            "accuracies": list(self._accuracies),
            "sizes": list(self._sizes),
            "said": sorted(self._said),
        }

    def load_state_dict(self, state_dict: dict[str, list[float] | list[str]]) -> None:
        """Go on from a checkpoint."""
        self._accuracies.extend(map(float, state_dict["accuracies"]))
        self._sizes.extend(map(float, state_dict["sizes"]))
        self._said = set(map(str, state_dict["said"]))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make sure that there is a discriminator.

        Raises:
            ConfigurationError: There is none.
        """
        if not isinstance(pl_module, Adversarial):
            raise ConfigurationError(
                f"CollapseAlarm watches a discriminator, but {type(pl_module).__name__} has none: leave it "
                "out of trainer.callbacks."
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Read what the step logged, every few batches."""
        if (batch_idx + 1) % self.every_n_batches:
            return
        self._read(trainer.callback_metrics)
        if not trainer.is_global_zero:
            return
        seen = len(self._accuracies) * self.every_n_batches
        if len(self._accuracies) == self._accuracies.maxlen:
            mean = sum(self._accuracies) / len(self._accuracies)
            if mean >= self.accuracy:
                self._warn(
                    "accuracy",
                    f"The discriminator was right about {mean:.1%} of the images of {seen} batches: the "
                    "generator learns little from it. Change one thing at a time: augment what it sees "
                    "(model.augment), raise model.penalty_weight, lower the learning rate in "
                    "model.discriminator_optimizer, or give it smaller widths (model.discriminator).",
                )
        if len(self._sizes) == self._sizes.maxlen:
            mean = sum(self._sizes) / len(self._sizes)
            if not mean <= self.logits:
                self._warn(
                    "logits",
                    f"The discriminator's logits are {mean:.3g} on average: they explode. Raise "
                    "model.penalty_weight (or compute the penalty more often, model.penalty_every), choose a "
                    "discriminator with spectral norm, or lower the learning rate in "
                    "model.discriminator_optimizer.",
                )

    def _read(self, logged: Mapping[str, Tensor]) -> None:
        accuracy = logged.get("train/discriminator_accuracy")
        if accuracy is not None:
            self._accuracies.append(float(accuracy))
        logits = [abs(float(logged[name])) for name in _LOGITS if name in logged]
        if logits:
            self._sizes.append(max(logits))

    def _warn(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            _log.warning("%s", text)
