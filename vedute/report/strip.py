"""A series of images from one end to another as a strip."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vedute.report.grid import image_grid

_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (120, 120, 120)
_GAP = 8


def strip_picture(
    images: Tensor,
    column_titles: Sequence[str],
    row_titles: Sequence[str] | None,
    lines: Sequence[str],
) -> Image.Image:
    """Lay series of images out, one below the other, with what they are above.

    Args:
        images: (R * K, C, H, W) in [0, 1], a row of K images after the other.
        column_titles: K short titles.
        row_titles: R titles; None: no titles.
        lines: Stand above, the first one in bold ink.

    Returns:
        One picture.
    """
    grid = image_grid(images, len(column_titles), row_titles, column_titles)
    font = ImageFont.load_default(size=15)
    height = 22
    widest = max((int(font.getlength(line)) for line in lines), default=0)
    canvas = Image.new(
        "RGB", (max(grid.width, widest + 2 * _GAP), grid.height + height * len(lines) + _GAP), _PAPER
    )
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((_GAP, _GAP + number * height), line, fill=_FAINT if number else _INK, font=font)
    canvas.paste(grid, (0, _GAP + height * len(lines)))
    return canvas
