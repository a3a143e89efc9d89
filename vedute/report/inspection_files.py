"""What ``inspect`` writes: the page, ``inspection.json``, and contact sheets as PNG."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vedute import __version__
from vedute.data.source import Source
from vedute.data.survey import Thumbnail, thumbnails
from vedute.errors import DataError, VeduteError
from vedute.files import whole
from vedute.report import findings
from vedute.report.contact_sheet import contact_sheet
from vedute.report.findings import Duplicates, Inspected, splits_of
from vedute.report.html import Notice
from vedute.report.inspection import Pictures, Sheet, inspection_page, shown_pairs

PAGE, NUMBERS, SHEETS = "index.html", "inspection.json", "sheets"

_MOST_PAIRS = 5000  # in the JSON
_ON_SHEETS = 320  # pictures on all contact sheets together, about


def write_inspection(
    folder: Path,
    about: Mapping[str, str],
    found: Inspected,
    duplicates: tuple[Duplicates, Duplicates],
    warnings: Sequence[Notice],
    sources: Mapping[str, Source],
    seed: int,
) -> None:
    """Write the page, the JSON and the contact sheets.

    Args:
        folder: Where to; made if it does not exist.
        about: ``data``, the name of the data set's class, and ``root``.
        found: The numbers.
        duplicates: Pairs of equal files, and pairs of nearly equal images.
        warnings: What the reader should know.
        sources: Where the pictures are read from again, by part.
        seed: Of the choice of pictures.

    Raises:
        VeduteError: The folder cannot be written.
    """
    numbers = {**about, **_numbers(found, *duplicates, warnings, sources)}

    shown: dict[int, Thumbnail] = {}
    wanted = np.unique(np.concatenate([pairs.rows[shown_pairs(pairs)].reshape(-1) for pairs in duplicates]))
    for place, part in enumerate(found.parts):
        own = wanted[found.part_of[wanted] == place]
        small = thumbnails(sources[part], found.facts["number"][own].tolist(), 192)
        shown |= {
            row: small[number] for row in own.tolist() if (number := int(found.facts["number"][row])) in small
        }
    sheets = _sheets(found, sources, seed)
    page = inspection_page(
        f"Inspection: {about['data'].removesuffix('DataModule')}",
        about["root"],
        found,
        *duplicates,
        warnings,
        Pictures(shown, sheets),
    )
    try:
        (folder / SHEETS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VeduteError(f"{folder} cannot be written: {error.strerror}.") from error
    for old in (folder / SHEETS).glob("*.png"):
        old.unlink()
    names: set[str] = set()
    for sheet in sheets:
        name = re.sub(r"[^\w.-]+", "-", sheet.title).strip("-.").lower() or "sheet"
        while name in names:
            name += "-"
        names.add(name)
        with whole(folder / SHEETS / f"{name}.png") as temporary:
            title = f"{sheet.title}: {sheet.remark}" if sheet.remark else sheet.title
            contact_sheet([small.picture for small in sheet.pictures], title).save(temporary, format="PNG")
    with whole(folder / NUMBERS) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    page.write(
        folder / PAGE, f"Written by Vedute {__version__}. The numbers are in {NUMBERS}, sheets in {SHEETS}/."
    )


def _numbers(
    found: Inspected,
    equal: Duplicates,
    near: Duplicates,
    warnings: Sequence[Notice],
    sources: Mapping[str, Source],
) -> dict[str, object]:
    """Return the content of the JSON."""
    used = {part: [numbers for own, numbers in found.splits.values() if own == part] for part in found.parts}
    return {
        "vedute": __version__,
        "image_size": list(found.image_size),
        "near": found.near,
        "limit": found.limit,
        "parts": {
            part: {
                "records": one.total,
                "seen": one.seen,
                "readable": len(one.facts),
                "unreadable": len(found.unreadable[part]),
                "bytes": int(one.facts["bytes"].sum()),
            }
            for part, one in found.surveys.items()
        },
        "splits": {
            split: {"part": part, "images": len(rows)} for split, (part, rows) in found.splits.items()
        },
        "left_out": {
            part: one.total - (len(np.unique(np.concatenate(used[part]))) if used[part] else 0)
            for part, one in found.surveys.items()
        },
        "sizes": findings.size_numbers(found),
        "kinds": findings.kind_numbers(found),
        "rotated": int(found.facts["rotated"].sum()),
        "one_colour": int((found.facts["contrast"] < findings.ONE_COLOUR).sum()),
        "duplicates": {
            word: {
                "leaks": int(pairs.leaks.sum()),
                "inside": pairs.inside,
                "complete": pairs.complete,
                "pairs": _pairs(found, pairs, sources),
            }
            for word, pairs in (("equal", equal), ("near", near))
        },
        "classes": findings.class_numbers(found),
        "scores": findings.score_numbers(found.scores),
        "masks": findings.mask_numbers(found),
        "unreadable": [
            {"part": part, "number": record.number, "reason": record.message}
            for part, records in found.unreadable.items()
            for record in records
        ],
        "warnings": [notice._asdict() for notice in warnings],
    }


def _pairs(
    found: Inspected, duplicates: Duplicates, sources: Mapping[str, Source]
) -> list[dict[str, object]]:

    rows = duplicates.rows[:_MOST_PAIRS]
    origins: dict[int, str] = {}
    for place, part in enumerate(found.parts):
        own = np.unique(rows[found.part_of[rows] == place])
        numbers = found.facts["number"][own].tolist()
        for row, record in zip(own.tolist(), sources[part].read(numbers), strict=True):
            origins[row] = "" if isinstance(record, DataError) else record.origin
    return [
        {
            "distance": int(distance),
            "leak": bool(leak),
            "splits": [splits_of(int(found.membership[row])) for row in two],
            "images": [
                {
                    "part": found.parts[found.part_of[row]],
                    "number": int(found.facts["number"][row]),
                    "origin": origins[row],
                }
                for row in two
            ],
        }
        for two, distance, leak in zip(rows.tolist(), duplicates.distances, duplicates.leaks, strict=False)
    ]


def _sheets(found: Inspected, sources: Mapping[str, Source], seed: int) -> list[Sheet]:
    """Choose and read the pictures of the contact sheets: of training images where there are splits."""
    part, records = found.splits.get("train") or (
        found.parts[0],
        found.surveys[found.parts[0]].facts["number"],
    )
    chosen: list[tuple[str, str, list[int]]] = []
    drawn = np.random.default_rng(seed)
    if found.class_names is not None:
        each = min(16, max(4, _ON_SHEETS // len(found.class_names)))
        labels = found.classes["train"]
        for place, name in enumerate(found.class_names):
            own = records[labels == place]
            numbers = np.sort(drawn.permutation(own)[:each]).tolist()
            chosen.append((name, f"{len(numbers)} of {len(own):,} training images", numbers))
    elif found.scores is not None:
        for column, rater in enumerate(found.scores.raters):
            values = found.scores.values["train"][:, column]
            order = np.argsort(values, kind="stable")
            order = order[np.isfinite(values[order])]
            for word, rows in (("highest", order[::-1][:10]), ("lowest", order[:10])):
                if len(rows):
                    span = f"{values[rows[0]]:g} to {values[rows[-1]]:g}"
                    chosen.append((f"{rater}, {word}", f"scores {span}", records[rows].tolist()))
    else:
        numbers = np.sort(drawn.permutation(records)[:48]).tolist()
        kind = "training images" if found.splits else "images"
        tinted = "; the foreground of masks is tinted" if np.isfinite(found.facts["foreground"]).any() else ""
        chosen.append(("Images", f"{len(numbers)} of {len(records):,} {kind}{tinted}", numbers))
    small = thumbnails(sources[part], [number for _, _, numbers in chosen for number in numbers])
    sheets = [
        Sheet(title, remark, [small[number] for number in numbers if number in small])
        for title, remark, numbers in chosen
    ]
    return [sheet for sheet in sheets if sheet.pictures]
