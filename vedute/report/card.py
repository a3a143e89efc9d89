"""A quality card for people: a table for the terminal and a picture."""

from __future__ import annotations

from PIL import Image
from rich.table import Table

from vedute.metrics.card import Card
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
    if card.quality is not None and card.ceiling is not None:
        for row, (name, own, real) in enumerate(_quality_rows(card, card.quality, card.ceiling)):
            table.add_row(name, own, real, f"{generated} / {test}" if row == 0 else "")
        table.add_section()
    for name, value in card.distances.items():
        table.add_row(
            f"{name} (lower is better)", f"{value:.4g}", f"{card.floor[name]:.4g}", f"{each} / {each}"
        )
    if card.reconstruction is not None:
        table.add_section()
        for name, title in _NAMES.items():
            if name in card.reconstruction:
                table.add_row(f"reconstruction {title}", f"{card.reconstruction[name]:.4g}", "", str(test))
    table.caption = (
        "real images: Q of the test images under the same classifier; distances of training to test images"
    )
    table.caption_justify = "left"
    return table


def _quality_rows(card: Card, quality: Quality, ceiling: Quality) -> list[tuple[str, str, str]]:
    names = ["Q (recognised, mean of classes)", *(f"Q {name}" for name in card.classes)]
    own = [float(quality.mean), *quality.per_class.tolist()]
    real = [float(ceiling.mean), *ceiling.per_class.tolist()]
    return [
        (name, f"{100 * mine:.1f} %", "-" if theirs != theirs else f"{100 * theirs:.1f} %")
        for name, mine, theirs in zip(names, own, real, strict=True)
    ]


def card_picture(card: Card) -> Image.Image:
    """Return the confusion matrix of generated images, where there is one, beside samples."""
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
