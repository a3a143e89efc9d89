"""A flow that is known in closed form: from standard normal noise to normal data, along straight lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


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
