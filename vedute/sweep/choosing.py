"""What chooses the values of trials, and what finds hopeless ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("none", "median", "hyperband")


def make_sampler(kind: str, seed: int, number: int) -> BaseSampler:
    """Return what chooses the values of one trial.

    Its random numbers follow from the seed and the trial's number: two workers never draw the same, and how
    many there are does not matter to a random search.

    Args:
        kind: One of :data:`SAMPLERS`; a grid's points are queued, so it chooses nothing.
        seed: The sweep's seed.
        number: The trial's number.
    """
    import numpy as np
    from optuna.samplers import RandomSampler, TPESampler

    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if kind == "tpe":
        # constant_liar: trials under way count as bad ones, so that several workers spread out
        return TPESampler(seed=own, constant_liar=True)
    return RandomSampler(seed=own)


def make_pruner(kind: str) -> BasePruner:
    """Return what finds hopeless trials: one of :data:`PRUNERS`."""
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if kind == "median":
        return MedianPruner(n_startup_trials=5)
    return HyperbandPruner() if kind == "hyperband" else NopPruner()
