"""Balances: how the weights of an objective's terms follow what the losses are.

Each keeps its whole state in buffers and parameters. Weights that follow the epoch only are schedules
(``vedute.schedules``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vedute.errors import ConfigurationError
from vedute.losses.gradients import gradient_norms, ratio_of_norms
from vedute.losses.objective import check_names
from vedute.losses.terms import LossBalance


class OnPlateau(LossBalance):
    """Switches terms on one at a time, each when the validation loss no longer falls.

    The terms in ``order`` start switched off (multiplier 0). After each validation the weighted sum of the
    active terms is compared with its lowest value since the last switch; when it has not fallen by more
    than ``min_delta`` for ``patience`` validations in a row, the next term is switched on.

    The curriculum of system S4.
    """

    active: Tensor
    best: Tensor
    waited: Tensor

    def __init__(self, order: list[str], patience: int = 5, min_delta: float = 0.0) -> None:
        """Choose which terms wait.

        Args:
            order: Names of the terms that start switched off, the first to be switched on first.
            patience: Validations without improvement before the next term, at least 1.
            min_delta: By how much the loss must fall to count as improved, in its own unit.

        Raises:
            ConfigurationError: No term, one twice, or a value out of its range.
        """
        super().__init__()
        if not order or len(set(order)) < len(order):
            raise ConfigurationError(f"OnPlateau needs the names of terms in order, each once; got {order}.")
        if patience < 1 or not 0 <= min_delta < math.inf:
            raise ConfigurationError(
                f"OnPlateau needs patience >= 1 and min_delta >= 0, got {patience} and {min_delta}."
            )
        self.order, self.patience, self.min_delta = list(order), patience, min_delta
        self.register_buffer("active", torch.tensor(0))  # terms of the order that are on
        self.register_buffer("best", torch.tensor(float("inf"), dtype=torch.float64))
        self.register_buffer("waited", torch.tensor(0))  # validations since the best

    def prepare(self, weights: Mapping[str, float]) -> None:
        """Check the order.

        Raises:
            ConfigurationError: It names a term that does not exist, or all that have a weight.
        """
        check_names(self.order, weights, "OnPlateau")
        used = [name for name, weight in weights.items() if weight > 0]
        if set(self.order) >= set(used):
            raise ConfigurationError(
                f"OnPlateau switches all terms off ({', '.join(used)}): leave one with a weight above 0 "
                "out of its order, to be trained from the start."
            )

    def _waiting(self) -> list[str]:
        return self.order[int(self.active) :]

    def forward(
        self, losses: Mapping[str, Tensor], weights: Mapping[str, float], image: Tensor | None = None
    ) -> tuple[dict[str, Tensor | float], Tensor | float]:
        """Return 0 for terms that wait, 1 for the others."""
        waiting = self._waiting()
        return {name: 0.0 if name in waiting else 1.0 for name in losses}, 0.0

    def after_validation(self, losses: Mapping[str, float], weights: Mapping[str, float]) -> None:
        """Switch the next term on if the active ones have stopped falling."""
        waiting = self._waiting()
        if not waiting:
            return
        total = sum(weights[name] * loss for name, loss in losses.items() if name not in waiting)
        if total < float(self.best) - self.min_delta:
            self.best.fill_(total)
            self.waited.zero_()
            return
        self.waited += 1
        if int(self.waited) >= self.patience:
            self.active += 1
            self.best.fill_(float("inf"))  # the next term changes the sum
            self.waited.zero_()


class GradientNorm(LossBalance):
    """Lets each term pull on the generated image as strongly as its weight says.

    Every few steps the norm of each term's gradient in the generated image is measured and smoothed; a
    term is multiplied by how many times larger that of the reference term is. What a term contributes to
    the gradient is then to that of the reference as its weight is to the reference's: give equal weights
    for equal shares, whatever the scales of the losses. The reference itself keeps its weight, and so do
    terms without a gradient in the image: ``kl`` is left alone. Terms of weight 0 are not measured.

    A measurement costs a second way back through the losses (not through the networks that made the
    image). Several processes average their norms and have the same multipliers.

    After Chen et al. 2018 (GradNorm), https://arxiv.org/abs/1711.02257, solved instead of learned; the
    quotient of norms is that of Esser et al. 2021 (VQGAN), https://arxiv.org/abs/2012.09841, equation 7.
    """

    norms: Tensor
    measured: Tensor
    steps: Tensor

    def __init__(
        self,
        reference: str | None = None,
        every_n_steps: int = 10,
        smoothing: float = 0.9,
        limit: float = 1e6,
    ) -> None:
        """Choose the reference and how often to measure.

        Args:
            reference: The term that keeps its weight; null: the first that is on and has a gradient in the
                image (``reconstruction``, unless its weight is 0).
            every_n_steps: Steps from one measurement to the next.
            smoothing: Share of the old norms that a measurement keeps, in [0, 1).
            limit: A multiplier lies between 1 / limit and limit.

        Raises:
            ConfigurationError: A value out of its range.
        """
        super().__init__()
        if every_n_steps < 1 or not 0 <= smoothing < 1 or not 1 <= limit < math.inf:
            raise ConfigurationError(
                "GradientNorm needs every_n_steps >= 1, smoothing in [0, 1) and limit >= 1, got "
                f"{every_n_steps}, {smoothing} and {limit}."
            )
        self.reference = reference
        self.every_n_steps, self.smoothing, self.limit = every_n_steps, smoothing, limit
        self._names: list[str] = []

    def prepare(self, weights: Mapping[str, float]) -> None:
        """Make room for the norms.

        Raises:
            ConfigurationError: The reference is no term, or has weight 0.
        """
        check_names([] if self.reference is None else [self.reference], weights, "GradientNorm")
        self._names = [name for name, weight in weights.items() if weight > 0]
        if self.reference is not None and self.reference not in self._names:
            raise ConfigurationError(
                f"GradientNorm: the reference '{self.reference}' has weight 0: it is not trained, and the "
                f"others would be made as large as it stays. Give it a weight, or take one of: "
                f"{', '.join(self._names)}."
            )
        self.register_buffer("norms", torch.zeros(len(self._names)))
        self.register_buffer("measured", torch.zeros(len(self._names), dtype=torch.bool))
        self.register_buffer("steps", torch.tensor(0))

    def forward(
        self, losses: Mapping[str, Tensor], weights: Mapping[str, float], image: Tensor | None = None
    ) -> tuple[dict[str, Tensor | float], Tensor | float]:
        """Measure when it is time; return the multipliers.

        Raises:
            ConfigurationError: The reference has no gradient in the image, which the first training step
                is the first to know.
        """
        if image is not None and image.requires_grad and torch.is_grad_enabled():
            if int(self.steps) % self.every_n_steps == 0:
                self._measure(losses, image)
            self.steps += 1
        measured = dict(zip(self._names, self.measured.tolist(), strict=True))
        norms = dict(zip(self._names, self.norms.unbind(), strict=True))
        on = [name for name in self._names if measured[name] and weights.get(name, 0.0) > 0]
        reference = next(iter(on), None) if self.reference is None else self.reference
        multipliers: dict[str, Tensor | float] = dict.fromkeys(losses, 1.0)
        if reference is not None and measured[reference]:
            for name in on:
                if name != reference:
                    multipliers[name] = ratio_of_norms(
                        norms[reference], norms[name], 1 / self.limit, self.limit
                    )
        return multipliers, 0.0

    def _measure(self, losses: Mapping[str, Tensor], image: Tensor) -> None:
        norms = gradient_norms({name: losses[name] for name in self._names if name in losses}, image)
        if self.reference is not None and self.reference not in norms:
            raise ConfigurationError(
                f"GradientNorm: the reference '{self.reference}' has no gradient in the image, so nothing "
                "can be compared with it. Leave reference out, or name a loss of images."
            )
        nothing = torch.full_like(self.norms[0], math.nan)
        found = torch.stack([norms.get(name, nothing) for name in self._names])
        usable = found.isfinite()  # a step that went wrong says nothing
        smoothed = torch.where(
            self.measured, self.smoothing * self.norms + (1 - self.smoothing) * found, found
        )
        self.norms.copy_(torch.where(usable, smoothed, self.norms))
        self.measured |= usable


class Uncertainty(LossBalance):
    """Learns a variance for each term: what cannot be predicted well counts less.

    A term of weight w and loss L contributes ``exp(-s) * w * L + s`` with a learned log variance s, whose
    optimum is ``exp(s) = w * L``: each term tends to count 1, and a sum of logarithms is minimised. The
    variance of a term that is switched off (weight 0) rests. Losses must be positive. Adam moves s by at
    most about its learning rate a step: at 1e-3 a loss of 1,000 takes more than 7,000 steps to count 1.

    Meant for terms that compete as equals: several distances of images. It is no way to balance them
    with ``kl``, because a logarithm is a weak pull. Ten times less reconstruction error is worth
    log(10) = 2.3, however many pixels that is, and a code that achieves it costs some 100 nats: with ``kl``
    left out of ``terms`` at weight 1, the optimum is a decoder without a code. With ``kl`` among them it is
    worse: the logarithm of a divergence that vanishes has no end but ``limit``. With a code use
    :class:`vedute.losses.likelihood.GaussianLikelihood`, which counts each of an image's C H W values:
    (C H W / 2) * log(mean squared error) against ``kl``. Weighing ``reconstruction`` alone has the same
    optimum with a ``kl_weight`` of 2 / (C H W), 1.6e-4 for colour images of 64 x 64 pixels; with several
    terms try that weight first. Autoencoders without ``kl`` need none of this.

    Source: Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses",
    https://arxiv.org/abs/1705.07115 (equation 10, times 2).
    """

    def __init__(self, terms: list[str] | None = None, limit: float = 1e6) -> None:
        """Choose the terms.

        Args:
            terms: Names of the terms that are weighed; null: all.
            limit: A multiplier lies between 1 / limit and limit, softly.

        Raises:
            ConfigurationError: No term, one twice, or a limit that is none.
        """
        super().__init__()
        if terms is not None and (not terms or len(set(terms)) < len(terms)):
            raise ConfigurationError(f"Uncertainty needs the names of terms, each once; got {terms}.")
        if not 1 < limit < math.inf:
            raise ConfigurationError(f"The limit of Uncertainty must be a number above 1, got {limit}.")
        self.terms = terms
        self._bound = math.log(limit)
        self._names: list[str] = []

    def prepare(self, weights: Mapping[str, float]) -> None:
        """Create the log variances, all 0: training starts with the plain weights.

        Raises:
            ConfigurationError: A term does not exist.
        """
        check_names(self.terms or [], weights, "Uncertainty")
        self._names = list(self.terms or weights)
        self.log_variances = nn.Parameter(torch.zeros(len(self._names)))

    def forward(
        self, losses: Mapping[str, Tensor], weights: Mapping[str, float], image: Tensor | None = None
    ) -> tuple[dict[str, Tensor | float], Tensor | float]:
        """Return exp(-s) of each term, and the sum of s."""
        bounded = self._bound * torch.tanh(self.log_variances.float() / self._bound)
        multipliers: dict[str, Tensor | float] = dict.fromkeys(losses, 1.0)
        active = torch.zeros_like(bounded)
        for position, name in enumerate(self._names):
            if weights.get(name, 0.0) > 0:
                multipliers[name] = torch.exp(-bounded[position])
                active[position] = 1.0
        return multipliers, (bounded * active).sum()
