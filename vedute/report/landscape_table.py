"""The table of landscape generators, one row per variant, in the columns of the reference system (S1).

Here: which value stands in which column, repeats in one row, which value is the best. Not here:
reading run folders (``vedute.report.run_record``), text and files (``vedute.report.table_files``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from vedute.errors import ConfigurationError
from vedute.report.comparison_settings import repeats
from vedute.report.run_record import RunRecord
from vedute.report.table_files import Cell, Column, Row, ScoreTable
from vedute.run_folder import shown

_DEFINITIONS = (
    "F: features before the latent layers. D: latent size. W: trainable weights, a discriminator's "
    "included. T: processor time of the whole training, all cores together. lambda: weight of KL. E_recon "
    "= MSE * number of training images and E_regul = lambda * KL, of the validation split at the best "
    "checkpoint; L = E_recon + E_regul (c = 1, as in the reference's table; in training, E_recon had the "
    "weight c), E_recon alone without a KL term. Q: share of generated images that a classifier "
    "recognises. fd_classifier: Fréchet distance to test images in its features. diversity: mean distance "
    "of two images of one class in its features, 1 = as real test images."
)
_BEST = "Bold: the best of the column (L, E_recon, fd_classifier lowest, Q highest, diversity nearest to 1)."


@dataclass(frozen=True)
class _Measure:
    """A column and where its values come from."""

    column: Column
    value: Callable[[RunRecord], float | str | None]


def landscape_table(runs: Sequence[RunRecord], separate: bool = False, program: str = "vedute") -> ScoreTable:
    """Make the table.

    Args:
        runs: At least one, all of one data set.
        separate: Give each run a row; else runs that differ in the seed only share one, with mean
            and half the range.
        program: How the command line is called, for the commands in the notes.

    Raises:
        ConfigurationError: The runs are not of one data set with classes.
    """
    classes = _classes(runs)
    measures = _measures(classes)
    groups: list[list[RunRecord]] = []
    for run in runs:
        same = next((group for group in groups if not separate and repeats(group[0], run)), None)
        if same is None:
            groups.append([run])
        else:
            same.append(run)
    repeated = [members[0].configuration for members in groups]
    rows = []
    for members in groups:
        name = members[0].configuration
        if repeated.count(name) > 1 or separate:
            name = ", ".join([members[0].name, *(run.number for run in members[1:])])
        elif len(members) > 1:
            name = f"{name} ({len(members)} runs)"
        cells = [_cell([measure.value(run) for run in members]) for measure in measures]
        rows.append(Row(name, [run.name for run in members], cells))
    notes = [_DEFINITIONS]
    if any(len(members) > 1 for members in groups):
        notes.append("±: half the range over runs that differ in the seed only.")
    if len(rows) > 1:
        notes.append(_BEST)
    return ScoreTable(
        "variant", [measure.column for measure in measures], rows, [*notes, *_warnings(runs, program)]
    )


def _classes(runs: Sequence[RunRecord]) -> list[str]:
    """Return the classes of the data set that all runs share.

    Raises:
        ConfigurationError: They share none, or it has no classes.
    """
    conditional = [run for run in runs if getattr(run.module, "condition_kind", None) == "class"]
    if not conditional:
        raise ConfigurationError(
            f"None of the runs has classes ({', '.join(shown(run.folder) for run in runs)}): "
            "--table landscapes is about generators of classes; give at least one run that has them."
        )
    first = conditional[0]
    names = _names(first)
    for run in runs:
        kind = getattr(run.module, "condition_kind", None)
        here = _names(run)
        if run.data[0] != first.data[0] or kind not in ("class", "none") or (here and here != names):
            has = {"class": f"classes {', '.join(here)}", "none": "no classes"}.get(
                str(kind), f"{kind} conditions"
            )
            raise ConfigurationError(
                f"{shown(run.folder)} is a run on other data ({_short(run.data[0])}, {has}) than "
                f"{shown(first.folder)} ({_short(first.data[0])}, classes {', '.join(names)}): a table "
                "compares runs on one data set. Leave it out."
            )
    return names


def _names(run: RunRecord) -> list[str]:
    return [str(name) for name in getattr(run.module, "condition_names", [])]


def _short(class_path: str) -> str:
    return class_path.rpartition(".")[2]


def _measures(classes: Sequence[str]) -> list[_Measure]:
    def measure(
        title: str,
        key: str,
        value: Callable[[RunRecord], float | str | None],
        text: Callable[[float], str],
        best: Literal["highest", "lowest", "nearest to 1"] | None = None,
    ) -> _Measure:
        return _Measure(Column(title, key, text, best), value)

    def quality(name: str) -> Callable[[RunRecord], float | None]:
        return lambda run: _number(run.scored("quality", "generated", name))

    return [
        measure("epochs", "epochs", lambda run: run.cost["epochs"], _whole),
        measure("F", "F", _features, _whole),
        measure("D", "D", _latent_size, _whole),
        measure("W", "W", _weights, _millions),
        measure("T", "T_processor_seconds", lambda run: run.cost["processor_seconds"], _duration),
        measure("latent activation", "latent_activation", _activation, _plain),
        measure("lambda", "lambda", lambda run: _number(run.options.get("kl_weight")), _plain),
        measure("L", "L", _loss, _level, "lowest"),
        measure("E_recon", "E_recon", _reconstruction, _level, "lowest"),
        measure("E_regul", "E_regul", _regularisation, _level),
        measure("Q_avg", "Q_avg", quality("mean"), _per_cent, "highest"),
        *(measure(f"Q {name}", f"Q_{name}", quality(name), _per_cent, "highest") for name in classes),
        measure(
            "fd_classifier",
            "fd_classifier",
            lambda run: _number(run.scored("distances", "fd_classifier", "generated")),
            _plain,
            "lowest",
        ),
        measure(
            "diversity",
            "diversity_ratio",
            lambda run: _number(run.scored("diversity", "classifier", "ratio")),
            lambda value: f"{value:.2f}",
            "nearest to 1",
        ),
        measure("c", "c", lambda run: _number(run.options.get("reconstruction_weight")), _plain),
        measure("image", "image_size", _image_size, _plain),
    ]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _features(run: RunRecord) -> float | None:
    return _number(getattr(getattr(run.module, "network", None), "feature_size", None))


def _latent_size(run: RunRecord) -> float | None:
    shape = getattr(run.module, "latent_shape", None)
    return None if shape is None else float(math.prod(shape))


def _weights(run: RunRecord) -> float:
    return float(sum(one.numel() for one in run.module.parameters() if one.requires_grad))


def _activation(run: RunRecord) -> str | None:
    activation = getattr(getattr(run.module, "network", None), "latent_activation", None)
    names: dict[type, str] = {nn.Identity: "linear", nn.Tanh: "tanh"}
    return names.get(type(activation))


def _image_size(run: RunRecord) -> str:
    height, width = getattr(run.module, "image_size", (0, 0))
    return f"{height}x{width}"


def _reconstruction(run: RunRecord) -> float | None:
    """Return E_recon: of the mean squared error, since other models log more under ``reconstruction``."""
    images = _number(run.options.get("train_size"))
    return run.values["mse"] * images if images is not None and "mse" in run.values else None


def _regularisation(run: RunRecord) -> float | None:
    weight = _number(run.options.get("kl_weight"))
    return weight * run.values["kl"] if weight is not None and "kl" in run.values else None


def _loss(run: RunRecord) -> float | None:
    """Return E_recon + E_regul; of a model that has no KL term, E_recon."""
    reconstruction, regularisation = _reconstruction(run), _regularisation(run)
    return None if reconstruction is None else reconstruction + (regularisation or 0.0)


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _plain(value: float) -> str:
    return f"{value:.4g}"


def _level(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _millions(value: float) -> str:
    return f"{value / 1e6:.1f}M" if value >= 1e6 else f"{value / 1e3:.0f}k"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _cell(values: Sequence[float | str | None]) -> Cell:
    """Return what one column says of runs that differ in the seed only."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values):
        half = (max(numbers) - min(numbers)) / 2
        return Cell(sum(numbers) / len(numbers), half if len(numbers) > 1 else None)
    # one of the repeats lacks it: a mean of the others would be of fewer runs than the row says
    texts = {value for value in values if isinstance(value, str)}
    return Cell(texts.pop() if len(texts) == 1 and not numbers else None)


def _warnings(runs: Sequence[RunRecord], program: str) -> list[str]:
    """Return what a reader must know about the rows, and which commands fill the gaps."""
    found = []
    roots = {run.data[1].get("root") for run in runs}
    if len(roots) > 1:
        places = ", ".join(sorted("the painted sample" if root is None else str(root) for root in roots))
        found.append(f"Attention: the runs were trained on different images ({places}).")
    judges = {str(judge) for run in runs if (judge := run.scored("classifier")) is not None}
    if len(judges) > 1:
        found.append(
            f"Attention: Q of different classifiers cannot be compared: {', '.join(sorted(judges))}."
        )
    settings = {
        (run.scored("settings", "count"), run.scored("settings", "seed")) for run in runs if run.evaluation
    }
    if len(settings) > 1:
        found.append("Attention: the cards are of different --count or --seed: distances depend on them.")
    for run in runs:
        scored = run.scored("checkpoint")
        if isinstance(scored, str) and scored.endswith(".ckpt") and not scored.endswith(run.checkpoint.name):
            found.append(f"Attention: the card of {run.name} is of {scored}, its other values of best.ckpt.")
    if any(run.cost["processor_seconds"] is None for run in runs):
        found.append("T is '-' for runs that were trained without vedute.callbacks.budget.TrainingBudget.")
    judge = judges.pop() if len(judges) == 1 else "CLASSIFIER.ckpt"
    for run in runs:
        if run.scored("diversity", "classifier") is None:
            found.append(
                f"{run.name} has no scores of a classifier: {program} evaluate --checkpoint "
                f"{shown(run.checkpoint)} --classifier {judge}"
            )
    return found
