"""Pictures of several cards beside each other, small enough for one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vedute.report.comparison import BASES, Comparison
from vedute.report.html import Notice, Picture, data_uri
from vedute.report.run_record import EVALUATION, RunRecord

BUDGET = 5_000_000
"""Bytes that all pictures of a page may take together, as text."""

_WIDEST, _HIGHEST = 900, 1400  # pixels
_QUALITIES = (84, 74, 64)
_SMALLEST = 240  # pixels of width below which a picture is not made smaller

KINDS = {
    "pairs": ("Pairs", "What images were made from, what was made of it, and the real images."),
    "samples": ("Samples", "Drawn, not chosen. The same seeds and conditions for each model."),
    "best": ("Best cases", "The images of each class that the classifier is surest of."),
    "worst": ("Worst cases", "The images of each class in which the classifier sees it least."),
    "neighbours": (
        "Nearest training images",
        "Generated images beside the training images that are nearest to them: copies would show here.",
    ),
}
"""Names in a card's ``files``: their titles, and what they show."""

_OLD = "evaluation.png"  # of cards that do not name their files: confusion matrix and samples


class Beside(NamedTuple):
    """Pictures of one kind: a title, a remark, and for each run its position, name and picture."""

    title: str
    remark: str
    pictures: list[tuple[int, Picture]]


def pictures_beside(comparison: Comparison) -> tuple[list[Beside], list[Notice]]:
    """Return the pictures of all cards by kind, and a notice for each that cannot be read."""
    runs, names = comparison.runs, comparison.names
    files = {kind: [_file(run, kind) for run in runs] for kind in KINDS}
    count = sum(file is not None for kind in files.values() for file in kind)
    found, notices = [], []
    for kind, (title, remark) in KINDS.items():
        pictures = []
        for position, (run, file) in enumerate(zip(runs, files[kind], strict=True)):
            if file is None:
                continue
            text = f"{title} of {names[position]}"
            try:
                with Image.open(file) as picture:
                    source = fitted(picture.convert("RGB"), BUDGET // count)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                notices.append(
                    Notice("warning", f"The picture {file.name} of {names[position]} is missing or damaged.")
                )
                continue
            remarks = [f"seeds from {run.scored('settings', 'seed')}"] if _seeds_differ(runs) else []
            if file.name == _OLD:
                remarks.append("beside the confusion matrix")
            pictures.append((position, Picture(source, text, ", ".join(remarks))))
        if pictures:
            found.append(Beside(title, _remark(kind, remark, runs), pictures))
    return found, notices


def _remark(kind: str, remark: str, runs: Sequence[RunRecord]) -> str:
    if kind == "samples" and _seeds_differ(runs):
        return "Drawn, not chosen. The seeds differ between the models."
    return remark


def _seeds_differ(runs: Sequence[RunRecord]) -> bool:
    return len({BASES["seed"](run) for run in runs if run.evaluation is not None}) > 1


def _file(run: RunRecord, kind: str) -> Path | None:
    """Return the file of a picture; None: the card has none."""
    if run.evaluation is None:
        return None
    if "files" not in run.evaluation:
        old = run.folder / _OLD
        return old if kind == "samples" and old.is_file() else None
    if kind == "pairs":  # in the picture of the whole card, where there are any
        kind = "card" if run.scored("pairs") is not None else ""
    name = run.scored("files", kind)
    # a card names files beside itself; anything else is none of ours
    if not isinstance(name, str) or not name or Path(name).name != name:
        return None
    return (run.folder / EVALUATION).with_name(name)


def fitted(picture: Image.Image, most: int) -> str:
    """Return a picture as a data URI of about ``most`` bytes at the largest: smaller, then coarser.

    Args:
        picture: RGB.
        most: Bytes.
    """
    shrink = min(1.0, _WIDEST / picture.width, _HIGHEST / picture.height)
    while True:
        size = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
        small = picture if shrink == 1 else picture.resize(size, Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            source = data_uri(small, quality)
            if len(source) <= most:
                return source
        if size[0] <= _SMALLEST:
            return source
        shrink *= 0.8
