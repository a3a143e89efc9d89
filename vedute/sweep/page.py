"""The page of a sweep: what was best, how it was found, and what matters."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from vedute.report.html import Notice, Page
from vedute.report.pieces import Cell, WideRow, wide_table
from vedute.report.pieces import figures as beside
from vedute.sweep.names import short_names
from vedute.sweep.plots import curves, history, parallel, slice_plot
from vedute.sweep.records import STATES, Record, Sweep

if TYPE_CHECKING:
    from optuna import Study

_LEAST_TRIALS = 4
_MOST_REASONS = 5
_PARALLEL = "Each line is a complete trial, from value to value to the objective; the stronger the better"


def sweep_page(sweep: Sweep, study: Study, command: str | None) -> Page:
    """Write down everything.

    Args:
        sweep: The study, read.
        study: The study itself, for importances.
        command: What trains the best configuration; None: it is not here.
    """
    direction = "smallest" if sweep.objective.direction == "minimize" else "largest"
    page = Page(
        f"Sweep {sweep.name}",
        f"Looking for the {direction} {sweep.objective.name} (a trial's {sweep.objective.value} validation).",
    )
    _result(page, sweep, command)
    complete = sweep.of("complete")
    page.section("History")
    if complete or sweep.of("pruned"):
        figures = [(history(sweep), "Every trial in its order; the line is the best so far")]
        if any(len(record.values) > 1 for record in sweep.records):
            figures.append((curves(sweep), "The objective in each trial's validations; bold: the best trial"))
        page.add(beside(figures, two=True))
    else:
        page.paragraph("No trial has a value yet.")
    page.section("Importances")
    _importances(page, sweep, study)
    page.section("Parallel coordinates")
    if complete:
        drawn = f"<figure>{parallel(sweep)}<figcaption>{_PARALLEL}</figcaption></figure>"
        page.add(f'<div class="figures two" style="grid-template-columns: 1fr">{drawn}</div>')
    else:
        page.paragraph("No trial is complete yet.")
    page.section("Slices")
    if complete:
        short = short_names(sweep.space.names)
        page.figures(
            [
                (slice_plot(sweep, parameter, short[parameter.name]), parameter.name)
                for parameter in sweep.space.parameters
            ]
        )
    else:
        page.paragraph("No trial is complete yet.")
    page.section("Trials")
    _trials(page, sweep)
    return page


def _result(page: Page, sweep: Sweep, command: str | None) -> None:
    page.section("Result")
    best = sweep.best
    seconds = sum(record.seconds or 0.0 for record in sweep.records)
    counts = [(state, len(sweep.of(state))) for state in STATES]
    facts = [(f"{state} trials", f"{count}") for state, count in counts if count]
    if best is not None:
        facts = [(f"best {sweep.objective.name}", f"{best.value:.6g}"), ("trial", str(best.number)), *facts]
    page.facts([*facts, ("time of all trials", _duration(seconds))])
    if best is not None:
        page.table(
            ["name", "best value", "searched"],
            [
                [
                    parameter.name,
                    _shown(best.chosen.get(parameter.name, "(does not apply)")),
                    _searched(parameter.domain.describe()),
                ]
                for parameter in sweep.space.parameters
            ],
        )
        if command is not None:
            page.paragraph(f"Train it, e.g. longer: {command}")
        else:
            page.paragraph("Its run folder is on another machine: write the report there for a best.yaml.")
    failed = sweep.of("failed")
    if failed:
        reasons: dict[str, list[int]] = {}
        for record in failed:
            reasons.setdefault(record.reason, []).append(record.number)
        ranked = sorted(reasons.items(), key=lambda item: -len(item[1]))[:_MOST_REASONS]
        page.notices(
            [
                Notice("warning", f"{_plural(len(numbers), 'trial')} failed ({_listed(numbers)}): {reason}")
                for reason, numbers in ranked
            ]
        )


def _importances(page: Page, sweep: Sweep, study: Study) -> None:
    found = importances(sweep, study)
    if not found:
        page.paragraph(
            f"At least {_LEAST_TRIALS} complete trials with different values are needed to tell what matters."
        )
        return
    page.bars(list(found), [("share, %", [100 * share for share in found.values()])])
    page.paragraph(
        "How much each name decides whether a trial is among the better ones (PED-ANOVA, of complete "
        "trials). With few trials this is a hint, not a finding.",
        faint=True,
    )


def importances(sweep: Sweep, study: Study) -> dict[str, float]:
    """Return each parameter's share of the importance, in [0, 1], the largest first; empty: too few trials.

    Source: Watanabe, Bansal, Hutter: PED-ANOVA, https://arxiv.org/abs/2304.10255
    """
    import optuna

    complete = sweep.of("complete")
    names = [
        name
        for name in sweep.space.names
        if all(name in record.chosen for record in complete)
        and len({record.chosen[name] for record in complete}) > 1
    ]
    if len(complete) < _LEAST_TRIALS or not names or len({record.value for record in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)
        except (ValueError, RuntimeError):  # too few different values for the method
            return {}
    return {name: share for name, share in found.items() if share == share}


def _trials(page: Page, sweep: Sweep) -> None:
    short = short_names(sweep.space.names)
    head = [sweep.objective.name, "state", *short.values(), "validations", "seconds", "run folder", "reason"]
    rows = []
    for record in _ranked(sweep):
        cells = [
            "" if record.value is None else f"{record.value:.6g}",
            record.state,
            *(_shown(record.chosen.get(name, "")) for name in short),
            str(len(record.values)),
            "" if record.seconds is None else f"{record.seconds:.1f}",
            record.run or "",
            "" if record.state == "pruned" else record.reason,
        ]
        rows.append(WideRow(str(record.number), [Cell(cell) for cell in cells]))
    page.paragraph("The best first. Values of pruned trials are those of their validations.", faint=True)
    page.add(wide_table([(title, "") for title in head], rows, "trial", values=True))


def _ranked(sweep: Sweep) -> list[Record]:
    sign = 1 if sweep.objective.direction == "minimize" else -1

    def key(record: Record) -> tuple[int, float, int]:
        value = 0.0 if record.value is None or record.state != "complete" else sign * record.value
        return STATES.index(record.state), value, record.number

    return sorted(sweep.records, key=key)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _searched(domain: dict[str, object]) -> str:
    values = domain.get("values")
    if isinstance(values, dict):
        return ", ".join(map(str, values))
    text = f"{domain['low']} to {domain['high']}"
    if domain.get("log"):
        return f"{text}, logarithmic"
    return text if domain.get("step") is None else f"{text} by {domain['step']}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" + ("s" if count != 1 else "")


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown + (", ..." if len(numbers) > 8 else "")
