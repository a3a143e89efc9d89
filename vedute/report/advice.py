"""What ``inspect`` warns of, in plain words: each sentence says what is so, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from vedute.data.splits import SPLITS
from vedute.report.findings import (
    ONE_COLOUR,
    Duplicates,
    Inspected,
    class_numbers,
    correlation,
    enlarged,
    splits_of,
)
from vedute.report.html import Level, Notice

_FEW = 50  # images of a class below which a generator learns little
_UNBALANCED = 5  # the largest class against the smallest
_LONG = 2.0  # aspect against the wanted one, from which half of a picture is cut off
_ALIKE = 0.95  # correlation of raters


def notices(found: Inspected, equal: Duplicates, near: Duplicates, resize: str) -> list[Notice]:
    """Return what the reader should know.

    Args:
        found: What was read.
        equal: Pairs of equal files.
        near: Pairs of nearly equal images.
        resize: How pictures of another shape are prepared: ``crop``, ``pad`` or ``stretch``.
    """
    return [
        *_leaks(found, equal, "equal"),
        *_leaks(found, near, "nearly equal"),
        *_unreadable(found),
        *_inside(equal, near),
        *_sizes(found, resize),
        *_pictures(found),
        *_classes(found),
        *_scores(found),
        *_masks(found),
        *_splits(found),
    ]


def leak_counts(found: Inspected, duplicates: Duplicates) -> Mapping[str, int]:
    """Return the number of leaking pairs for each pair of splits, ``train and val``."""
    counts: Counter[str] = Counter()
    for first, second in duplicates.rows[duplicates.leaks]:
        names = {*splits_of(int(found.membership[first])), *splits_of(int(found.membership[second]))}
        own = [split for split in SPLITS if split in names]
        counts[" and ".join([", ".join(own[:-1]), own[-1]])] += 1
    return counts


def _leaks(found: Inspected, duplicates: Duplicates, word: str) -> list[Notice]:
    result = []
    for names, count in leak_counts(found, duplicates).items():
        what = f"{count:,} pairs of {word} images are" if count > 1 else f"One pair of {word} images is"
        least = "" if duplicates.complete else "At least "
        what = least + what[0].lower() + what[1:] if least else what
        result.append(
            Notice(
                "error",
                f"{what} spread over {names}. Scores will be better than they should be: the model has seen "
                "what it is judged by. Remove one of each pair, or split so that they stay together.",
            )
        )
    return result


def _unreadable(found: Inspected) -> list[Notice]:
    count = sum(map(len, found.unreadable.values()))
    if not count:
        return []
    what = f"{count:,} records cannot be used" if count > 1 else "One record cannot be used"
    return [
        Notice(
            "error",
            f"{what} (the report lists them). Training stops at the first one, unless data.on_error is "
            "'skip', which leaves them out.",
        )
    ]


def _inside(equal: Duplicates, near: Duplicates) -> list[Notice]:
    if not equal.inside + near.inside:
        return []
    return [
        Notice(
            "warning",
            f"Inside the splits, pairs of equal images: {equal.inside:,}; of nearly equal ones: "
            f"{near.inside:,}. These are learned more strongly than others.",
        )
    ]


def _sizes(found: Inspected, resize: str) -> list[Notice]:
    facts, total = found.facts, len(found.facts)
    if not total:
        return []
    result = []
    height, width = found.image_size
    small = int(enlarged(found).sum())
    if small:
        result.append(
            Notice(
                "warning",
                f"{small:,} of {total:,} images {'is' if small == 1 else 'are'} smaller than data.image_size "
                f"({height} x {width}) in a direction: enlarged, they look soft. Choose a smaller size, or "
                "leave them out.",
            )
        )
    shape = facts["width"] / np.maximum(facts["height"], 1) / (width / height)
    long = int(((shape >= _LONG) | (shape <= 1 / _LONG)).sum())
    if long:
        what = {
            "crop": "half or more of each is cut off (data.resize: crop)",
            "pad": "half or more of each result is black (data.resize: pad)",
            "stretch": "they are distorted to the double or more (data.resize: stretch)",
        }.get(resize, resize)
        verb = "is" if long == 1 else "are"
        result.append(
            Notice(
                "warning", f"{long:,} of {total:,} images {verb} twice as long as the wanted shape: {what}."
            )
        )
    return result


def _pictures(found: Inspected) -> list[Notice]:
    facts = found.facts
    result = []
    flat = int((facts["contrast"] < ONE_COLOUR).sum())
    if flat:
        result.append(Notice("warning", f"{_images(flat)} nearly one colour: broken, black or empty?"))
    modes = {kind.mode for kind in found.kinds}
    if len(modes) > 1:
        result.append(
            Notice(
                "note", f"Images differ in their channels ({', '.join(sorted(modes))}); all become the same."
            )
        )
    deep = sorted({kind.bits for kind in found.kinds if kind.bits > 8})
    if deep:
        depth = ", ".join(map(str, deep))
        result.append(Notice("note", f"Some images have {depth} bits a channel; they are prepared to 8."))
    rotated = int(facts["rotated"].sum())
    if rotated:
        result.append(
            Notice("note", f"{_images(rotated)} turned by EXIF data; sizes are those of the turned.")
        )
    return result


def _classes(found: Inspected) -> list[Notice]:
    counts = class_numbers(found)
    if not counts or "train" not in found.classes:
        return []
    train = {name: splits["train"] for name, splits in counts.items()}
    result = []
    few = [f"{name} ({count})" for name, count in train.items() if count < _FEW]
    if few:
        shown = ", ".join(few[:8]) + (f" and {len(few) - 8} more" if len(few) > 8 else "")
        result.append(Notice("warning", f"Few training images (below {_FEW}): {shown}."))
    most, least = max(train, key=lambda name: train[name]), min(train, key=lambda name: train[name])
    if train[most] > _UNBALANCED * max(train[least], 1):
        result.append(
            Notice(
                "warning",
                f"The classes are unbalanced: {train[most]:,} training images of {most}, {train[least]:,} of "
                f"{least}.",
            )
        )
    for split in ("val", "test"):
        absent = [name for name, splits in counts.items() if not splits.get(split, 0)]
        if absent and len(counts) > 1:
            shown = ", ".join(absent[:8]) + (f" and {len(absent) - 8} more" if len(absent) > 8 else "")
            result.append(Notice("warning", f"The split {split} has no image of: {shown}."))
    return result


def _scores(found: Inspected) -> list[Notice]:
    if found.scores is None:
        return []
    values = found.scores.once
    result = []
    for column, rater in enumerate(found.scores.raters):
        own = values[:, column]
        missing = int((~np.isfinite(own)).sum())
        if missing:
            result.append(Notice("warning", f"{rater} has no score for {missing:,} of {len(own):,} images."))
        known = own[np.isfinite(own)]
        if len(known) and known.std() < 1e-6:
            result.append(
                Notice("warning", f"{rater} gives every image {known[0]:g}: nothing can be learned from it.")
            )
    alike = correlation(values)
    for row, column in np.argwhere(np.triu(alike > _ALIKE, 1)):
        names = found.scores.raters
        result.append(
            Notice(
                "note",
                f"{names[row]} and {names[column]} judge alike (correlation {alike[row, column]:.2f}).",
            )
        )
    return result


def _masks(found: Inspected) -> list[Notice]:
    shares = found.facts["foreground"]
    shares = shares[np.isfinite(shares)]
    if not len(shares):
        return []
    result = []
    empty, full = int((shares == 0).sum()), int((shares == 1).sum())
    if empty:
        level: Level = "warning" if 2 * empty > len(shares) else "note"
        result.append(Notice(level, f"Masks without foreground: {empty:,} of {len(shares):,}."))
    if full:
        result.append(Notice("warning", f"Masks that are foreground all over: {full:,} of {len(shares):,}."))
    unclear = int(found.facts["unclear_mask"].sum())
    if unclear:
        result.append(
            Notice(
                "warning",
                f"Masks with more than two values: {unclear:,}. What reaches the middle of the range counts "
                "as foreground.",
            )
        )
    return result


def _splits(found: Inspected) -> list[Notice]:
    result = []
    if found.splits:
        (val_part, val), (test_part, test) = found.splits["val"], found.splits["test"]
        if val_part == test_part and len(val) == len(test) and (val == test).all():
            result.append(
                Notice(
                    "note",
                    "No test split is shipped: val and test are the same images. See validation_share.",
                )
            )
        for part, survey in found.surveys.items():
            own = [numbers for name, numbers in found.splits.values() if name == part]
            used = len(np.unique(np.concatenate(own))) if own else 0
            left = survey.total - used - len(found.unreadable.get(part, ()))
            if left > 0 and found.limit is None:
                result.append(
                    Notice(
                        "note",
                        f"Readable images of {part} in no split (left out by the options): {left:,}.",
                    )
                )
    if found.limit is not None:
        seen = sum(survey.seen for survey in found.surveys.values())
        total = sum(survey.total for survey in found.surveys.values())
        result.append(
            Notice(
                "note",
                f"Only {seen:,} of {total:,} records were looked at (--limit): duplicates and broken records "
                "among the others do not show.",
            )
        )
    return result


def _images(count: int) -> str:
    return "One image is" if count == 1 else f"{count:,} images are"
