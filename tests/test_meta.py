"""Samplers, balances and losses without memory, as ``compare`` builds models to count their weights."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import pytest
import torch
from torch import nn

import vedute.losses
import vedute.sampling
from vedute.losses.adversarial import AdversarialBalance
from vedute.losses.balance import GradientNorm, OnPlateau, Uncertainty
from vedute.losses.histogram import ColourHistogram
from vedute.losses.likelihood import GaussianLikelihood
from vedute.losses.objective import Objective
from vedute.losses.perceptual import Perceptual
from vedute.losses.pixel import AbsoluteError, SquaredError
from vedute.losses.similarity import StructuralDissimilarity
from vedute.losses.terms import ImageLoss, LossBalance
from vedute.sampling.latent_flow import LatentFlow
from vedute.sampling.latents import ClassGaussian, LatentSampler, StandardNormal
from vedute.sampling.mixture import GaussianMixture


def _balanced(balance: LossBalance) -> LossBalance:
    Objective({"reconstruction": 1.0, "kl": 1.0, "adversarial": 1.0}, balance=balance)
    return balance


BUILDS: list[Callable[[], nn.Module]] = [
    lambda: StandardNormal(3, 8),
    lambda: ClassGaussian(3, 8),
    lambda: GaussianMixture(3, 8),
    lambda: LatentFlow(3, 7),
    lambda: _balanced(OnPlateau(["kl"])),
    lambda: _balanced(GradientNorm()),
    lambda: _balanced(Uncertainty()),
    lambda: _balanced(AdversarialBalance()),
    SquaredError,
    AbsoluteError,
    StructuralDissimilarity,
    ColourHistogram,
    lambda: GaussianLikelihood("learned"),
    lambda: Perceptual("squeezenet1_1"),
]


@pytest.mark.parametrize("build", BUILDS)
def test_it_can_be_built_without_memory(build: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        made = build()
    assert all(tensor.is_meta for tensor in (*made.parameters(), *made.buffers()))
    assert {name: value.shape for name, value in made.state_dict().items()} == {
        name: value.shape for name, value in build().state_dict().items()
    }


def test_none_is_left_out() -> None:
    for package in (vedute.losses, vedute.sampling):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    tried = {type(build()) for build in BUILDS}
    for base in (LatentSampler, LossBalance, ImageLoss):
        own = {kind for kind in _below(base) if kind.__module__.startswith("vedute.")}
        assert own <= tried


def _below(base: type) -> set[type]:
    """Return the subclasses that can be built."""
    kinds = {below for kind in base.__subclasses__() for below in (kind, *_below(kind))}
    return {kind for kind in kinds if not inspect.isabstract(kind)}
