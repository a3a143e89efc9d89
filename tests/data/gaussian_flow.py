"""A flow that is known in closed form: from standard normal noise to normal data, along straight lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vedute.networks.flow import FlowCondition
from vedute.sampling.seeds import seeded_normal

SEEDS = torch.tensor([3, 14, 15, 92])
NOISE = seeded_normal(SEEDS, (3, 4, 4))
DATA = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


@dataclass
class GaussianFlow:
    """The velocity of data whose entries are independent and normal; called as networks are.

    Attributes:
        mean: Of the data.
        deviation: Of the data.
        evaluations: How often it was called.
        rows: Rows it computed.
    """

    mean: float = 0.7
    deviation: float = 0.3
    evaluations: int = 0
    rows: int = 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return what data minus noise is on average at x, (N, ...), at times (N,)."""
        assert t.shape == (len(x),)
        assert ((t >= 0) & (t <= 1)).all()
        self.evaluations += 1
        self.rows += len(x)
        time = t.reshape(-1, *[1] * (x.ndim - 1)).to(x)
        variance = (1 - time).square() + (time * self.deviation).square()
        slope = (time * self.deviation**2 - (1 - time)) / variance
        return self.mean + slope * (x - time * self.mean)

    def at(self, noise: Tensor, t: float) -> Tensor:
        """Return where the flow takes noise (N, ...) at a time."""
        return t * self.mean + math.sqrt((1 - t) ** 2 + (t * self.deviation) ** 2) * noise

    def log_density(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density of data (N, ...), (N,) in nats."""
        standard = ((x - self.mean) / self.deviation).flatten(1)
        constant = 0.5 * math.log(2 * math.pi) + math.log(self.deviation)
        return (-0.5 * standard.square() - constant).sum(dim=1)


class GaussianNetwork(nn.Module):
    """The same where a model expects its network: with a weight that does nothing, without conditions."""

    def __init__(self, *_: object, flow: GaussianFlow) -> None:
        """Keep the flow; the sizes that a model gives to a network do not matter."""
        super().__init__()
        self.flow = flow
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, t: Tensor, condition: FlowCondition, span: Tensor | None = None) -> Tensor:
        """Return the velocity at x, (N, ...), at times (N,)."""
        return self.flow(x, t) + self.weight


STRONG, WEAK = GaussianFlow(0.7, 0.3), GaussianFlow(0.0, 0.6)


def doubled(x: Tensor, t: Tensor) -> Tensor:
    """Return the strong velocities of the first half of the rows, the weak ones of the second."""
    first, second = x.chunk(2)
    return torch.cat([STRONG(first, t[: len(first)]), WEAK(second, t[len(first) :])])
