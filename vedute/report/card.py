"""A quality card for people: a table for the terminal and a picture."""

from __future__ import annotations

from PIL import Image
from rich.table import Table

from vedute.metrics.card import Card
from vedute.metrics.pairs import GENERATED, Pairs
from vedute.metrics.quality import Quality
from vedute.report.confusion import confusion_picture
from vedute.report.grid import image_grid

_NAMES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "ms_ssim": "MS-SSIM"}
_GAP = 16  # pixels


def card_table(card: Card) -> Table:
    """Return the table: each score, what real images get, and how many images it is of."""
    generated, test, each = card.images
    table = Table(title="Quality card", title_justify="left")
    table.add_column("score")
    table.add_column("this model", justify="right")
    table.add_column("real images", justify="right")
    table.add_column("images", justify="right")
    blocks = len(next(iter(card.repeats.values()), []))
    if blocks:
        table.add_column(f"{blocks} blocks of seeds", justify="right")
    spread = card.spread()

    def repeated(name: str, per_cent: bool = False) -> list[str]:
        """Return mean and half the range of a score over the blocks, for the last column."""
        if name not in spread:
            return []
        mean, half = spread[name]
        return [f"{100 * mean:.1f} ± {100 * half:.1f} %" if per_cent else f"{mean:.4g} ± {half:.2g}"]

    if card.quality is not None and card.ceiling is not None:
        scores = ["q", *(f"q/{name}" for name in card.classes)]
        rows = _quality_rows(card, card.quality, card.ceiling)
        for score, (name, own, real) in zip(scores, rows, strict=True):
            images = f"{generated} / {test}" if score == "q" else ""
            table.add_row(name, own, real, images, *repeated(score, per_cent=True))
        table.add_section()
    for name, value in card.distances.items():
        table.add_row(
            f"{name} (lower is better)",
            f"{value:.4g}",
            f"{card.floor[name]:.4g}",
            f"{each} / {each}",
            *repeated(name),
        )
    table.add_section()
    for name, values in card.diversity.items():
        mine, theirs, ratio = values["generated"], values["real"], values["ratio"]
        table.add_row(
            f"diversity, {name}" + ("" if ratio is None else f" ({100 * ratio:.0f} % of real)"),
            "-" if mine is None else f"{mine:.4g}",
            "-" if theirs is None else f"{theirs:.4g}",
            f"{generated} / {test}",
            *repeated(f"diversity/{name}"),
        )
    if card.reconstruction is not None:
        table.add_section()
        for name, title in _NAMES.items():
            if name in card.reconstruction:
                table.add_row(f"reconstruction {title}", f"{card.reconstruction[name]:.4g}", "", str(test))
    if card.pairs is not None:
        _add_pairs(table, card.pairs, test)
    table.caption = (
        "real images: Q of the test images under the same classifier; distances of training to test images; "
        "diversity (mean distance of two images of one class) of test images"
    )
    table.caption_justify = "left"
    return table


def _add_pairs(table: Table, pairs: Pairs, count: int) -> None:
    """Add what pairs of generated and real images get, beside interpolation and what a segmenter finds."""
    table.add_section()
    others = [way for way in pairs.scores if way != GENERATED]
    for name, value in pairs.scores[GENERATED].items():
        beside = ", ".join(f"{way} {pairs.scores[way][name]:.4g}" for way in others)
        kind, _, channel = name.partition("_")
        title = _NAMES[kind] + (" of Y" if channel else "")
        table.add_row(f"pairs, {title}" + (f" ({beside})" if beside else ""), f"{value:.4g}", "", str(count))
    if pairs.overlap:
        mine, real = (pairs.overlap[side]["iou"] for side in (GENERATED, "real"))
        table.add_row("IoU of masks found again", f"{100 * mine:.1f} %", f"{100 * real:.1f} %", str(count))


def _quality_rows(card: Card, quality: Quality, ceiling: Quality) -> list[tuple[str, str, str]]:
    names = ["Q (recognised, mean of classes)", *(f"Q {name}" for name in card.classes)]
    own = [float(quality.mean), *quality.per_class.tolist()]
    real = [float(ceiling.mean), *ceiling.per_class.tolist()]
    return [
        (name, f"{100 * mine:.1f} %", "-" if theirs != theirs else f"{100 * theirs:.1f} %")
        for name, mine, theirs in zip(names, own, real, strict=True)
    ]


def card_picture(card: Card) -> Image.Image:
    """Return the confusion matrix of generated images, where there is one, beside samples.

    Where images are made from images, pairs stand in their place.
    """
    if card.pairs is not None:
        pairs = card.pairs
        return image_grid(pairs.shown, len(pairs.columns), column_titles=pairs.columns)
    rows = max(1, len(card.classes))
    columns = len(card.samples) // rows if card.classes else min(8, len(card.samples))
    parts = [image_grid(card.samples, columns, card.classes or None)]
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
