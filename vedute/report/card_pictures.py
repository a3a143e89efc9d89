"""A quality card's pictures: the confusion matrix beside samples, and what each part of it looks like."""

from __future__ import annotations

from PIL import Image

from vedute.metrics.card import Card
from vedute.report.confusion import confusion_picture
from vedute.report.grid import image_grid

_GAP = 16  # pixels
_PAIRS_A_ROW = 4


def card_pictures(card: Card) -> dict[str, Image.Image]:
    """Return pictures by the ending of their file's name: the card itself under none.

    ``_samples``: rows are classes, the seeds count up; ``_best`` and ``_worst``: by the judge's opinion of
    each class; ``_neighbours``: generated images beside their nearest training images.
    """
    found = {"": _overview(card)}
    pictures, titles = card.pictures, card.classes or None
    columns = _columns(card, len(pictures.samples))
    found["_samples"] = image_grid(pictures.samples, columns, titles)
    for name, images in (("_best", pictures.best), ("_worst", pictures.worst)):
        if images is not None:
            found[name] = image_grid(images, _columns(card, len(images)), titles)
    if pictures.neighbours is not None:
        headings = ["generated", "nearest"] * min(_PAIRS_A_ROW, len(pictures.neighbours) // 2)
        found["_neighbours"] = image_grid(pictures.neighbours, len(headings), column_titles=headings)
    return found


def _overview(card: Card) -> Image.Image:
    """Return the confusion matrix of generated images, where there is one, beside samples.

    Where images are made from images, pairs stand in their place.
    """
    if card.pairs is not None:
        pairs = card.pairs
        return image_grid(pairs.shown, len(pairs.columns), column_titles=pairs.columns)
    samples = card.pictures.samples
    parts = [image_grid(samples, _columns(card, len(samples)), card.classes or None)]
    if card.quality is not None:
        title = f"Q = {float(card.quality.mean):.1%} of generated images"
        parts.insert(
            0,
            confusion_picture(
                card.quality.confusion, card.classes, card.columns, title, "asked for", "recognised as"
            ),
        )
    width = sum(part.width for part in parts) + _GAP * (len(parts) - 1)
    canvas = Image.new("RGB", (width, max(part.height for part in parts)), (255, 255, 255))
    left = 0
    for part in parts:
        canvas.paste(part, (left, 0))
        left += part.width + _GAP
    return canvas


def _columns(card: Card, count: int) -> int:
    return max(1, count // len(card.classes)) if card.classes else min(8, count)
