"""MeanFlow: images in one or a few steps, trained from scratch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_modules.flow_matching import FlowMatching
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.networks.flow import FlowCondition
from vedute.sampling.times import time_grid
from vedute.schedules import Schedule

Average = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From states (N, C, H, W), times (N,) and spans (N,) to average velocities (N, C, H, W)."""

_LEAST = 5e-3  # ratios nearer to 0 or 1 are taken for it
_SMOOTH = 1e-2  # keeps the weight of a tiny error finite


class MeanFlow(FlowMatching):
    """A flow that knows the mean velocity over any span of time, so that one step can go all the way.

    The mean velocity u over a span h from t fulfils u = v + h du/dt, where the derivative follows the path
    with the end held fixed; it is found by forward-mode differentiation. Instead, over a finite first part
    ``ratio`` of the span, u = ratio v + (1 - ratio) u' holds with the mean velocity u' over the rest: a
    ratio of 1 is flow matching over spans, 1/2 a shortcut model, towards 0 it becomes the former.
    Training that goes from 1 to 0 is steadier (``ratio``).

    With ``solver: euler`` the sampler takes mean velocities, each over its step; any other solver follows
    the velocity at a time, which the network knows too (a span of 0), as do inversion and likelihood.

    Sources: Geng et al. 2025, https://arxiv.org/abs/2505.13447; Zhang et al. 2025 (alpha-Flow),
    https://arxiv.org/abs/2510.20771.
    """

    spans: ClassVar[bool] = True

    def __init__(
        self,
        ratio: Schedule | None = None,
        span_share: float = 0.25,
        guidance: float = 1.0,
        weight_power: float = 1.0,
        **options: Any,
    ) -> None:
        """Build the network.

        Args:
            ratio: First part of a span that is taken at the velocity of the data, in [0, 1], over the run;
                null: 0, which is MeanFlow.
            span_share: Share of images trained with a span above 0, in (0, 1].
            guidance: Guidance of the velocity that is learned, as guidance while sampling would double the
                cost of a step: 1 is none.
            weight_power: Errors count with their size to this power less: 0 is the mean squared error.
            options: See ``FlowMatching``.

        Raises:
            ConfigurationError: A number is out of its range, or the network's output is not a velocity.
        """
        super().__init__(**options)
        if not 0 < span_share <= 1:
            raise ConfigurationError(f"model.span_share is a share of images in (0, 1], got {span_share:g}.")
        if self.prediction != "velocity":
            raise ConfigurationError("MeanFlow predicts mean velocities: set model.prediction to velocity.")
        if guidance != 1 and not self.condition_dropout:
            raise ConfigurationError(
                f"model.guidance {guidance:g} compares with what the model says without a condition: it "
                "needs data with conditions and a condition_dropout above 0. Set it to 1 to go without."
            )
        self.ratio = ratio
        self.span_share = span_share
        self.guidance = guidance
        self.weight_power = weight_power

    def schedules(self) -> dict[str, Schedule]:
        """Return all schedules by the options that they are given with."""
        own = {} if self.ratio is None else {"model.ratio": self.ratio}
        return {**super().schedules(), **own}

    def _average(self, condition: FlowCondition) -> Average:
        def average(x: Tensor, t: Tensor, span: Tensor) -> Tensor:
            found: Tensor = self.network(x, t, condition, span).float()
            return found

        return average

    def _ratio(self) -> float:
        value = 0.0 if self.ratio is None else self.ratio(self.progress())
        return 0.0 if value <= _LEAST else 1.0 if value >= 1 - _LEAST else value

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch at random times, some of it over random spans."""
        count = len(batch)
        noise = torch.randn(count, *self.latent_shape, device=self.device)
        noise, data, condition = self._ends(batch, noise, self._kept(count))
        first, second = (self.times(count, self.device) for _ in range(2))
        spread = torch.arange(count, device=self.device) < max(1, round(self.span_share * count))
        t = torch.where(spread, torch.minimum(first, second), first)
        span = torch.where(spread, (first - second).abs(), 0.0)
        x = self.path.at(noise, data, t)
        velocity = self._guided(x, t, self.path.velocity(noise, data), condition)
        plain, far = torch.where(~spread)[0], torch.where(spread)[0]
        error = torch.zeros(count, device=self.device)
        if len(plain):
            given = self.network(x[plain], t[plain], condition[plain], span[plain]).float()
            error = error.index_add(0, plain, self._weighted(given - velocity[plain]))
        average = self._average(condition[far])
        difference, size = self._span_error(average, x[far], t[far], span[far], velocity[far])
        error = error.index_add(0, far, size)
        loss = error.mean()
        values = {"loss": loss, "span_error": difference.detach().square().mean()}
        if self.ratio is not None:
            values["ratio"] = torch.tensor(self._ratio())
        self.log_stage("train", values, count)
        return loss

    def _span_error(
        self, average: Average, x: Tensor, t: Tensor, span: Tensor, velocity: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return how far mean velocities are from what they should be (N, C, H, W), and the losses (N,)."""
        ratio = self._ratio()
        if ratio > 0:
            given = average(x, t, span)
            with torch.no_grad():
                part = ratio * span
                rest = average(x + part[:, None, None, None] * velocity, t + part, span - part)
                target = ratio * velocity + (1 - ratio) * rest
            difference = (given - target) / ratio
            # The squared error over the ratio: its gradient is that of the derivative's error below.
            return difference, self._weighted(difference, ratio)
        ones = torch.ones_like(t)
        with torch.autocast(x.device.type, enabled=False):
            given, derivative = torch.func.jvp(average, (x, t, span), (velocity, ones, -ones))[:2]
        target = velocity + span[:, None, None, None] * derivative
        difference = given - target.detach()
        return difference, self._weighted(difference)

    def _weighted(self, difference: Tensor, factor: float = 1.0) -> Tensor:
        """Return (N,) squared errors, large ones weighing less (see ``weight_power``)."""
        square = difference.square().flatten(1).mean(dim=1)
        return factor * square / (square.detach() + _SMOOTH) ** self.weight_power

    @torch.no_grad()
    def _guided(self, x: Tensor, t: Tensor, velocity: Tensor, condition: FlowCondition) -> Tensor:
        """Return the velocity that is learned: away from what is said without the condition."""
        if self.guidance == 1 or condition.kept is None:
            return velocity
        null = FlowCondition(
            condition.vector, condition.image, torch.zeros_like(condition.kept), condition.augmentation
        )
        without = self.network(x, t, null, torch.zeros_like(t)).float()
        guided = without + self.guidance * (velocity - without)
        return torch.where(condition.kept[:, None, None, None], guided, velocity)

    def _solve(self, condition: Condition, noise: Tensor, seeds: Tensor) -> Tensor:
        sampler = self._fitting_sampler
        if sampler.solver != "euler" or sampler.guidance != 1:
            return super()._solve(condition, noise, seeds)
        average = self._average(self._condition(condition.to(self.device), len(noise)))
        x = noise.float()
        times = time_grid(sampler.steps, sampler.schedule).tolist()
        for start, end in pairwise(times):
            t = torch.full((len(x),), start, device=x.device)
            x = x + (end - start) * average(x, t, torch.full_like(t, end - start))
        return self._image(x)
