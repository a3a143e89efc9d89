"""What a model minimises: named terms, each with a weight that may change while training goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from vedute.errors import ConfigurationError
from vedute.losses.terms import LossBalance
from vedute.schedules import Progress, Schedule, check_schedule


class Objective(nn.Module):
    """A sum of terms: weight x schedule x balance of each.

    Schedules depend on the progress only; a balance looks at the losses and keeps a state, which is
    saved with the module that holds this one.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        schedules: Mapping[str, Schedule] | None = None,
        balance: LossBalance | None = None,
    ) -> None:
        """Check that everything named exists.

        Args:
            weights: The weight of each term, by its name; at least 0.
            schedules: Multiply the weights of the terms that they are given for while training.
            balance: Multiplies the weights by what the losses are.

        Raises:
            ConfigurationError: A weight that is negative or no number; a schedule or balance for a term that
                does not exist; a schedule that is none.
        """
        super().__init__()
        for name, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise ConfigurationError(
                    f"The weight of the loss '{name}' is {weight}: give a number of at least 0."
                )
        if weights and not any(weights.values()):
            raise ConfigurationError(f"All weights of the losses ({', '.join(weights)}) are 0: give one.")
        self.weights = dict(weights)
        self.schedules = dict(schedules or {})
        check_names(self.schedules, weights, "loss_schedules")
        for name, schedule in self.schedules.items():
            check_schedule(schedule, f"loss_schedules.{name}")
        self.balance = balance
        if balance is not None:
            balance.prepare(self.weights)

    def forward(
        self, losses: Mapping[str, Tensor], progress: Progress, image: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Add the terms up for a training step.

        Args:
            losses: Each term's mean over the batch, a scalar.
            progress: How far training is.
            image: The generated images (N, C, H, W) that image losses were computed from, with their
                graph: a balance may look at gradients in them.

        Returns:
            The total, and the active weight of each term.
        """
        scheduled = self.scheduled(progress)
        weights = {name: scheduled[name] for name in losses}
        active: dict[str, Tensor | float] = dict(weights)
        extra: Tensor | float = 0.0
        if self.balance is not None:
            multipliers, extra = self.balance(losses, weights, image)
            active = {name: weight * multipliers.get(name, 1.0) for name, weight in weights.items()}
        # A term that is off is left out: 0 times an infinite loss would be no number.
        parts = [
            losses[name] * weight for name, weight in active.items() if isinstance(weight, Tensor) or weight
        ]
        first = next(iter(losses.values()))
        total = torch.stack(parts).sum() if parts else 0.0 * first
        return total + extra, active

    def scheduled(self, progress: Progress) -> dict[str, float]:
        """Return the weight of each term by its schedule, before any balance."""
        return {
            name: weight * (self.schedules[name](progress) if name in self.schedules else 1.0)
            for name, weight in self.weights.items()
        }

    def schedule_options(self) -> dict[str, Schedule]:
        """Return the schedules by the options that they are given with."""
        return {f"loss_schedules ({name})": schedule for name, schedule in self.schedules.items()}

    def plain(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Add the terms up with their own weights: comparable from epoch to epoch."""
        parts = [self.weights[name] * loss for name, loss in losses.items() if self.weights[name]]
        return torch.stack(parts).sum() if parts else 0.0 * next(iter(losses.values()))

    def after_validation(self, losses: Mapping[str, float]) -> None:
        """Tell the balance the means over the validation split."""
        if self.balance is not None:
            self.balance.after_validation(losses, self.weights)


def check_names(given: Iterable[str], terms: Iterable[str], option: str) -> None:
    """Check that all names given to an option are terms of the loss.

    Raises:
        ConfigurationError: One is not; the message lists those that are.
    """
    known = list(terms)
    for name in given:
        if name not in known:
            raise ConfigurationError(
                f"{option} names the loss '{name}', which this model does not have. It has: "
                f"{', '.join(known)}."
            )
