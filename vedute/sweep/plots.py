"""Plots of a sweep as SVG for its page: history, curves, parallel coordinates, slices."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes

from vedute.report.plots import FAINT, INK, RUNS, as_svg, logarithmic, new_figure
from vedute.sweep.names import short_names
from vedute.sweep.records import Record, Sweep
from vedute.sweep.space import Choice, Parameter, Stored

_TRIAL, _BEST = RUNS[0], RUNS[1]
_LOGARITHMIC = 10.0
"""Positive values that differ by more than this factor get a logarithmic axis."""
_LONGEST = 16  # characters of a choice at its axis


def history(sweep: Sweep) -> str:
    """Draw each trial's value in their order, and the best so far.

    Args:
        sweep: At least one trial has a value.
    """
    figure, axes = new_figure()
    complete, pruned = sweep.of("complete"), sweep.of("pruned")
    if pruned:
        x, y = _points(pruned)
        axes.scatter(x, y, marker="x", s=22, color=FAINT, linewidths=1, label="pruned")
    x, y = _points(complete)
    axes.scatter(x, y, s=22, color=_TRIAL, linewidths=0, label="complete")
    if complete:
        best = (
            np.minimum.accumulate(y) if sweep.objective.direction == "minimize" else np.maximum.accumulate(y)
        )
        axes.step(x, best, where="post", color=_BEST, lw=1.6, label="best so far")
    _scale_y(axes, [*y, *_points(pruned)[1]])
    low = axes.get_ylim()[0]
    for state, mark in (("failed", "v"), ("lost", "1")):
        ended = [record.number for record in sweep.records if record.state == state]
        if ended:
            axes.scatter(ended, [low] * len(ended), marker=mark, s=30, color=INK, label=state, clip_on=False)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(sweep.objective.name)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return as_svg(figure)


def curves(sweep: Sweep) -> str:
    """Draw the objective in each trial's validations.

    Args:
        sweep: At least one trial has several.
    """
    figure, axes = new_figure()
    best = sweep.best
    every: list[float] = []
    for record in sweep.records:
        steps = [step for step, value in record.values.items() if np.isfinite(value)]
        if not steps:
            continue
        values = [record.values[step] for step in steps]
        every += values
        chosen = best is not None and record.number == best.number
        colour = _BEST if chosen else _TRIAL if record.state == "complete" else FAINT
        axes.plot(
            *(steps, values),
            color=colour,
            lw=2.4 if chosen else 1,
            alpha=1 if chosen else 0.55,
            marker="o" if len(steps) == 1 else "",
            ms=3,
            zorder=3 if chosen else 2,
            linestyle="-" if chosen or record.state == "complete" else (0, (4, 1.5)),
        )
    _scale_y(axes, every)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axes.set_xlabel("validation")
    axes.set_ylabel(sweep.objective.name)
    return as_svg(figure)


def slice_plot(sweep: Sweep, parameter: Parameter, label: str) -> str:
    """Draw the objective against one parameter.

    Args:
        sweep: At least one trial is complete.
        parameter: The parameter.
        label: Its name beside the axis.
    """
    figure, axes = new_figure(3.8, 2.6)
    records = [record for record in sweep.of("complete") if parameter.name in record.chosen]
    best = sweep.best
    _, y = _points(records)
    domain = parameter.domain
    if isinstance(domain, Choice):
        places = [domain.labels.index(str(record.chosen[parameter.name])) for record in records]
        # beside each other where many trials chose the same
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(places))
        x = np.array(places, dtype=float) + (spread if len(places) > len(domain.labels) else 0)
        axes.set_xticks(range(len(domain.labels)), [_cut(text) for text in domain.labels], parse_math=False)
        axes.set_xlim(-0.5, len(domain.labels) - 0.5)
    else:
        x = np.array([float(record.chosen[parameter.name]) for record in records])
        if domain.log:
            axes.set_xscale("log")
            span = domain.high / domain.low
            steps = (1.0, 2.0, 5.0) if span < 50 else (1.0, 3.0) if span < 500 else (1.0,)
            logarithmic(axes.xaxis, steps, 7)
        else:
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=domain.whole))
        room = 0.04
        ends = (domain.low, domain.high)
        if domain.log:
            factor = (domain.high / domain.low) ** room
            axes.set_xlim(ends[0] / factor, ends[1] * factor)
        else:
            axes.set_xlim(ends[0] - room * (ends[1] - ends[0]), ends[1] + room * (ends[1] - ends[0]))
    colours = [_BEST if best is not None and record.number == best.number else _TRIAL for record in records]
    axes.scatter(x, y, s=24, color=colours, linewidths=0, alpha=0.85)
    _scale_y(axes, list(y))
    axes.set_xlabel(label)
    axes.set_ylabel(sweep.objective.name)
    return as_svg(figure)


def parallel(sweep: Sweep) -> str:
    """Draw each complete trial as a line through its values, one upright axis for each, the objective last.

    Args:
        sweep: At least one trial is complete.
    """
    parameters = sweep.space.parameters
    records = sweep.of("complete")
    sign = 1 if sweep.objective.direction == "minimize" else -1
    ranked = sorted(records, key=lambda record: -sign * (record.value or 0.0))  # the best is drawn last
    figure, axes = new_figure(max(4.7, 1.35 * (len(parameters) + 1)), 3.4)
    values = np.array([record.value for record in ranked], dtype=float)
    low, high = float(values.min()), float(values.max())
    logarithmic = low > 0 and high > _LOGARITHMIC * low
    for position, record in enumerate(ranked):
        places = [_place(parameter, record.chosen.get(parameter.name)) for parameter in parameters]
        places.append(_share(float(record.value or 0.0), low, high, logarithmic))
        best = position == len(ranked) - 1
        axes.plot(
            range(len(places)),
            places,  # what does not apply is NaN and leaves a gap
            color=_BEST if best else _TRIAL,
            lw=2.4 if best else 1,
            alpha=1 if best else 0.15 + 0.7 * (position + 1) / len(ranked),
            marker="o",
            ms=4 if best else 2,
        )
    short = short_names(sweep.space.names)
    titles = [*(short[name].replace(".", ".\n") for name in sweep.space.names), sweep.objective.name]
    axes.set_xticks(range(len(titles)), titles, parse_math=False)
    axes.set_xlim(-0.4, len(titles) - 0.6)
    axes.set_ylim(-0.06, 1.06)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    for position, parameter in enumerate(parameters):
        _axis(axes, position, _marks(parameter))
    _axis(
        axes,
        len(parameters),
        [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")] if high > low else [(0.5, f"{low:.4g}")],
    )
    return as_svg(figure)


def _axis(axes: Axes, position: int, marks: Sequence[tuple[float, str]]) -> None:
    axes.axvline(position, color=FAINT, lw=0.8, zorder=0)
    for height, text in marks:
        axes.annotate(
            *(_cut(text), (position, height), (-4, 0)),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8.5,
            color=INK,
            zorder=5,
            parse_math=False,
        )


def _marks(parameter: Parameter) -> list[tuple[float, str]]:
    domain = parameter.domain
    if isinstance(domain, Choice):
        return [(_place(parameter, label), label) for label in domain.labels]
    return [(0.0, f"{domain.low:.4g}"), (1.0, f"{domain.high:.4g}")]


def _place(parameter: Parameter, value: Stored | None) -> float:
    """Return where a value lies on its axis, in [0, 1]; NaN: the trial has none."""
    domain = parameter.domain
    if value is None:
        return float("nan")
    if isinstance(domain, Choice):
        return _share(domain.labels.index(str(value)), 0, len(domain.labels) - 1, False)
    return _share(float(value), domain.low, domain.high, domain.log)


def _share(value: float, low: float, high: float, logarithmic: bool) -> float:
    if high <= low:
        return 0.5
    if logarithmic:
        return float(np.log(value / low) / np.log(high / low))
    return (value - low) / (high - low)


def _points(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    valued = [record for record in records if record.value is not None]
    return (
        np.array([record.number for record in valued], dtype=float),
        np.array([record.value for record in valued], dtype=float),
    )


def _scale_y(axes: Axes, values: Sequence[float]) -> None:
    """Choose an axis on which the good trials are told apart, also beside a few very bad ones."""
    shown = np.array([value for value in values if np.isfinite(value)])
    if len(shown) == 0:
        return
    if shown.min() > 0 and shown.max() > _LOGARITHMIC * shown.min():
        axes.set_yscale("log")
        logarithmic(axes.yaxis, (1.0, 2.0, 5.0), 8)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
