"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_BACKGROUND, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (120, 120, 120)
_FULL = (31, 97, 160)  # colour of a cell that holds its whole row


def confusion_picture(
    confusion: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    row_title: str = "true",
    column_title: str = "recognised as",
) -> Image.Image:
    """Draw counts as a table, each cell coloured by its share of its row.

    Args:
        confusion: (D, K) int64 counts.
        rows: D names.
        columns: K names.
        title: Stands above the table.
        row_title: What the rows are.
        column_title: What the columns are.

    Returns:
        A picture with the share in percent and the count in each cell.
    """
    small, normal, large = (ImageFont.load_default(size=size) for size in (12, 15, 18))
    widest = max(normal.getlength(name) for name in [*columns, *rows])
    cell = max(72, int(widest) + 12)
    height, gap = 52, 14
    left = gap + int(max(normal.getlength(name) for name in [*rows, row_title])) + gap
    top = 90
    canvas = Image.new(
        "RGB",
        (
            max(left + len(columns) * cell, left + int(large.getlength(title))) + gap,
            top + len(rows) * height + gap,
        ),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(canvas)
    draw.text((left, gap), title, fill=_INK, font=large)
    draw.text((left, top - 40), column_title, fill=_FAINT, font=small)
    draw.text((left - 10, top - 10), row_title, fill=_FAINT, font=small, anchor="rs")
    for column, name in enumerate(columns):
        draw.text((left + column * cell + cell // 2, top - 10), name, fill=_INK, font=normal, anchor="ms")
    for row, name in enumerate(rows):
        y = top + row * height
        draw.text((left - 10, y + height // 2), name, fill=_INK, font=normal, anchor="rm")
        total = max(1, int(confusion[row].sum()))
        for column in range(len(columns)):
            count = int(confusion[row, column])
            share = count / total
            fill = tuple(
                round(paper + (full - paper) * share) for paper, full in zip(_BACKGROUND, _FULL, strict=True)
            )
            x = left + column * cell
            draw.rectangle((x, y, x + cell - 2, y + height - 2), fill=fill, outline=(225, 225, 225))
            ink = _BACKGROUND if share > 0.5 else _INK
            middle = (x + cell // 2, y + height // 2)
            draw.text((middle[0], middle[1] - 2), f"{share:.0%}", fill=ink, font=normal, anchor="mb")
            draw.text((middle[0], middle[1] + 4), str(count), fill=ink, font=small, anchor="mt")
    return canvas
