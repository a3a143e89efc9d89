"""The options of ``sample --strategy``: which strategy takes which, and the strategy that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import positive
from vedute.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.base import GenerativeModule
    from vedute.sampling.rankers import Ranker
    from vedute.sampling.score_distribution import ConditionDistribution
    from vedute.sampling.strategies import Strategy

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "direct": (),
    "ensemble": ("members", "spread"),
    "probability": ("distribution", "spread"),
    "refine": ("rounds", "noise"),
    "best-of": ("candidates", "classifier", "regressor", "prefer"),
    "truncation": ("truncation", "truncate"),
}
"""The options of each strategy."""

_SPREAD = 0.5


def add_options(options: argparse.ArgumentParser) -> None:
    """Add ``--strategy`` and the options of all strategies."""
    options.add_argument("--strategy", choices=tuple(OPTIONS), default="direct", help="how images are made")
    group = options.add_argument_group(
        "options of strategies", "Each is an error with a strategy that does not use it."
    )

    def add(name: str, use: str, **details: object) -> None:
        # Suppressed: an option that is not given is not there, so one that is given in vain is seen.
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, help=use, **details)  # type: ignore[arg-type]

    number: dict[str, object] = {"type": float, "metavar": "X"}
    add("members", "ensemble: conditions whose images are averaged (8)", type=positive, metavar="N")
    add(
        "spread",
        "ensemble, probability: how far conditions lie from the wanted one, in standard deviations of the "
        f"training scores, or of the logarithms of class probabilities ({_SPREAD})",
        **number,
    )
    add(
        "distribution",
        "probability: conditions around the wanted one, or as they come in the training data, given that "
        "they are about the wanted one; scores may then be left out of --condition (around)",
        choices=("around", "learned"),
    )
    add("rounds", "refine: times that an image is encoded and decoded (3)", type=positive, metavar="N")
    add("noise", "refine: share of fresh noise in each round, below 1 (0)", **number)
    add("candidates", "best-of: images made for each one that is kept (16)", type=positive, metavar="N")
    add("classifier", "best-of: checkpoint of a classifier, for classes", type=Path, metavar="FILE")
    add("regressor", "best-of: checkpoint of a regressor, for scores", type=Path, metavar="FILE")
    add(
        "prefer",
        "best-of with a regressor: scores near the wanted ones, or as high as can be (close)",
        choices=("close", "high"),
    )
    add("truncation", "truncation: below 1, more typical images and less variety (0.7)", **number)
    add(
        "truncate",
        "truncation: scale all noise by it, or redraw what lies beyond it (scale)",
        choices=("scale", "redraw"),
    )


def check_options(given: argparse.Namespace) -> None:
    """Make sure that every option that is given has a use.

    Raises:
        ConfigurationError: The strategy does not use one, or lacks a judge.
    """
    wanted = OPTIONS[given.strategy]
    for name in dict.fromkeys(name for names in OPTIONS.values() for name in names):
        if name in given and name not in wanted:
            users = " and ".join(strategy for strategy, names in OPTIONS.items() if name in names)
            raise ConfigurationError(
                f"--{name} is an option of --strategy {users}; the strategy is {given.strategy}."
            )
    if given.strategy == "best-of":
        judges = [name for name in ("classifier", "regressor") if name in given]
        if len(judges) != 1:
            raise ConfigurationError(
                "--strategy best-of needs a judge: give --classifier FILE for classes or --regressor FILE "
                f"for scores{', not both' if judges else ''}."
            )
        if "prefer" in given and judges == ["classifier"]:
            raise ConfigurationError("--prefer is about scores: it needs --regressor.")


def build_strategy(given: argparse.Namespace, model: GenerativeModule) -> Strategy:
    """Return the strategy that the options describe.

    Args:
        given: Options that passed :func:`check_options`.
        model: The model, in eval mode.

    Raises:
        CheckpointError: A judge that cannot be used.
        ConfigurationError: An option out of range, or a strategy that the model cannot do.
        DataError: No training data to learn from.
    """
    from vedute.promises import as_latent_generator
    from vedute.sampling import strategies
    from vedute.sampling.score_distribution import standard_limits

    spread = getattr(given, "spread", _SPREAD)
    limits = None
    if model.condition_kind == "score":
        limits = standard_limits(
            model.condition_names, model.condition_range, model.condition_mean, model.condition_scale
        )
    strategy: Strategy
    if given.strategy == "ensemble":
        strategy = strategies.Ensemble(getattr(given, "members", 8), spread, limits)
    elif given.strategy == "probability":
        # Looked at first: a distribution is only there for classes and scores.
        strategies.check_vector(as_latent_generator(model), "probability")
        strategy = strategies.Probability(_distribution(given, model, spread, limits))
    elif given.strategy == "refine":
        strategy = strategies.Refine(getattr(given, "rounds", 3), getattr(given, "noise", 0.0))
    elif given.strategy == "best-of":
        strategy = strategies.BestOf(getattr(given, "candidates", 16), _ranker(given, model))
    elif given.strategy == "truncation":
        strategy = strategies.Truncation(
            getattr(given, "truncation", 0.7), getattr(given, "truncate", "scale")
        )
    else:
        strategy = strategies.Direct()
    strategy.check(as_latent_generator(model))
    return strategy


def _distribution(
    given: argparse.Namespace,
    model: GenerativeModule,
    spread: float,
    limits: tuple[Tensor, Tensor] | None,
) -> ConditionDistribution:
    """Return the distribution that conditions are drawn from."""
    from vedute.sampling.score_distribution import LearnedClasses, LearnedScores, around

    if getattr(given, "distribution", "around") == "around":
        return around(model.condition_kind, spread, limits)
    vectors = _training_conditions(given.checkpoint)
    if vectors.shape[1] != len(model.condition_names):
        raise ConfigurationError(
            f"The data of {given.checkpoint} have {vectors.shape[1]} conditions, the model "
            f"{len(model.condition_names)}: --distribution learned needs the data it was trained on."
        )
    if model.condition_kind == "class":
        return LearnedClasses(vectors, spread)
    return LearnedScores(vectors, spread, *(limits or (None, None)))


def _training_conditions(checkpoint: Path) -> Tensor:
    """Return the condition vectors (M, D) of the training images of a checkpoint's data."""
    import torch

    from vedute.checkpoints import load_datamodule
    from vedute.promises import as_image_data
    from vedute.sampling.conditions import spread

    data = as_image_data(load_datamodule(checkpoint))
    parts = []
    rows = spread(data.size("train"), 5000)  # enough for a distribution; images are read with them
    for start in range(0, len(rows), 250):
        vector = data.batch("train", rows[start : start + 250]).condition.vector
        assert vector is not None
        parts.append(vector)
    return torch.cat(parts)


def _ranker(given: argparse.Namespace, model: GenerativeModule) -> Ranker:
    """Return what is best in the eyes of the given judge."""
    from vedute.metrics.judge import load_judge, load_score_judge
    from vedute.sampling.rankers import class_ranker, score_ranker

    names, channels = model.condition_names, model.image_channels
    needed = "class" if "classifier" in given else "score"
    if model.condition_kind != needed:
        judge = "classifier ranks by classes" if needed == "class" else "regressor ranks by scores"
        raise ConfigurationError(
            f"A {judge}, but the conditions of this model are of the kind '{model.condition_kind}'."
        )
    if needed == "class":
        return class_ranker(load_judge(given.classifier, model.device), names, channels)
    score_judge = load_score_judge(given.regressor, model.device)
    return score_ranker(
        score_judge,
        names,
        channels,
        model.condition_mean or [0.0] * len(names),
        model.condition_scale or [1.0] * len(names),
        getattr(given, "prefer", "close"),
    )


def partial_scores(model: GenerativeModule, text: str) -> Tensor:
    """Return a condition (D,) in which the scores that ``text`` does not name are NaN.

    Raises:
        ConditionError: An unknown name, a score that is none, or none at all.
    """
    from vedute.conditions import match_name

    named = [match_name(part.partition("=")[0], model.condition_names) for part in text.split(",")]
    left_out = [number for number in range(len(model.condition_names)) if number not in named]
    if not left_out:
        return model.parse_condition(text)
    means = model.condition_mean or [0.0] * len(model.condition_names)
    others = [f"{model.condition_names[number]}={means[number]:.9g}" for number in left_out]
    vector = model.parse_condition(",".join([text, *others]))
    vector[left_out] = float("nan")
    return vector
