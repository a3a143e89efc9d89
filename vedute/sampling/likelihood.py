"""How likely data are under a flow, by the change of variables along its paths.

Sources: Chen et al. 2018, https://arxiv.org/abs/1806.07366 (instantaneous change of variables); Grathwohl
et al. 2019, https://arxiv.org/abs/1810.01367 (FFJORD: the trace by Hutchinson's estimate, with one probe for
the whole path); Theis et al. 2016, https://arxiv.org/abs/1511.01844 (dequantisation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vedute.errors import ConfigurationError
from vedute.sampling.paths import precise
from vedute.sampling.seeds import seeded_normal
from vedute.sampling.solvers import SOLVERS, Solver, Velocity, heun
from vedute.sampling.times import check_schedule, time_grid

_LEVELS = 256
_DEQUANTISATION, _PROBES = 200_000, 200_001
"""Streams of noise, see ``seeds``; the stochastic solver's lie between 100,000 and these."""


@dataclass(frozen=True)
class Integration:
    """How a likelihood is computed; apart from how images are drawn, which may be in a step or two.

    Too few steps flatter a model: the divergence is largest near the data, where ``cosine`` has short ones.

    Attributes:
        steps: Number of steps.
        solver: ``euler``, ``midpoint``, ``heun`` or ``rk4``.
        schedule: Where the steps are; see ``times.time_grid``.
        probes: Estimates of the trace that are averaged.
    """

    steps: int = 64
    solver: str = "heun"
    schedule: str = "cosine"
    probes: int = 1

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigurationError: One is unknown or out of its range.
        """
        if min(self.steps, self.probes) < 1:
            raise ConfigurationError(
                f"A likelihood needs at least 1 step and 1 probe, got steps {self.steps} and probes "
                f"{self.probes}."
            )
        if self.solver not in SOLVERS:
            raise ConfigurationError(
                f"A likelihood needs a solver with fixed steps ({', '.join(SOLVERS)}), got '{self.solver}'."
            )
        check_schedule(self.schedule)

    def bits_per_dimension(self, velocity: Velocity, data: Tensor, seeds: Tensor) -> Tensor:
        """Return the bits per value (N,) of 8-bit images; see :func:`bits_per_dimension`."""
        times = time_grid(self.steps, self.schedule)
        return bits_per_dimension(
            velocity, data, times, seeds, probes=self.probes, solver=SOLVERS[self.solver]
        )


def bits_per_dimension(
    velocity: Velocity,
    data: Tensor,
    times: Tensor,
    seeds: Tensor,
    dequantisation: Tensor | None = None,
    probes: int = 1,
    solver: Solver = heun,
) -> Tensor:
    """Return the bits that 8-bit images need for each value under a flow: an upper bound, on average.

    The flow is one of images scaled to [-1, 1], in which a level k of an image is 2 k / 255 - 1. To have
    a density each level is spread evenly over its share of the line, of the width 2 / 255, around it. So
    the bits are -log2 of the flow's density per value, plus log2(255 / 2) = 6.994, the offset.
    They depend on the noise and the probes by chance; other seeds show how much.

    Args:
        velocity: Of the flow, under the condition of each image, differentiable in its first argument. Its
            other tensors must not come from ``torch.inference_mode``.
        data: (N, ...) in [0, 1]; rounded to the 256 levels.
        times: (S + 1,) from 0 to 1, as ``times.time_grid`` gives them.
        seeds: (N,) int64, of noise and probes.
        dequantisation: (N, ...) noise in [0, 1) by which levels are spread; None: uniform, from the seeds.
        probes: Vectors with which the trace is estimated; its error falls with their root.
        solver: With fixed steps.

    Returns:
        (N,) bits per value.
    """
    if dequantisation is None:
        normal = seeded_normal(seeds, data.shape[1:], data.device, _DEQUANTISATION)
        dequantisation = torch.special.ndtr(normal)  # uniform in [0, 1]
    levels = (precise(data) * (_LEVELS - 1)).round()
    x = 2 * (levels + dequantisation.to(levels) - 0.5) / (_LEVELS - 1) - 1
    size = data[0].numel() if len(data) else 1
    nats = log_density(velocity, x, times, seeds, probes, solver)
    return -nats / (size * math.log(2)) + math.log2((_LEVELS - 1) / 2)


def log_density(
    velocity: Velocity,
    x: Tensor,
    times: Tensor,
    seeds: Tensor,
    probes: int = 1,
    solver: Solver = heun,
) -> Tensor:
    """Return the logarithm of a flow's density at points of its own space.

    Args:
        velocity: See :func:`bits_per_dimension`.
        x: (N, ...) where the flow's data are, e.g. images in [-1, 1] or standardised latent vectors.
        times: See :func:`bits_per_dimension`.
        seeds: (N,) int64, of the probes.
        probes: See :func:`bits_per_dimension`.
        solver: With fixed steps.

    Returns:
        (N,) nats.

    Raises:
        ValueError: No probes.
    """
    if probes < 1:
        raise ValueError(f"The trace needs at least 1 probe, got {probes}")
    # Validation runs without gradients, and in a mode that forbids them.
    with torch.inference_mode(False), torch.no_grad():
        x = precise(x).clone()
        signs = [
            torch.where(seeded_normal(seeds, x.shape[1:], x.device, _PROBES + probe) < 0, -1.0, 1.0).to(x)
            for probe in range(probes)
        ]

        def augmented(state: Tensor, t: Tensor) -> Tensor:
            """Return velocity and trace, (N, Z + 1), of a point and what it has gathered."""
            slope, trace = _with_trace(velocity, state[:, :-1].reshape(x.shape), t, signs)
            return torch.cat([slope.flatten(1), trace[:, None]], dim=1)

        state = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], dim=1)
        state = solver(augmented, state, times.flip(0))
        noise, gathered = state[:, :-1], state[:, -1]
        return gathered - 0.5 * (noise.square() + math.log(2 * math.pi)).sum(dim=1)


def _with_trace(velocity: Velocity, x: Tensor, t: Tensor, signs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return velocities (N, ...) and estimates of the trace of their derivative (N,)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        slope = velocity(x, t).to(x)
        trace = x.new_zeros(len(x))
        for position, sign in enumerate(signs):
            (product,) = torch.autograd.grad(slope, x, sign, retain_graph=position + 1 < len(signs))
            trace = trace + (product * sign).flatten(1).sum(dim=1) / len(signs)
    return slope.detach(), trace
