"""Pictures of different shapes together on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_GAP, _TITLE = 6, 30


def contact_sheet(pictures: Sequence[Image.Image], title: str, width: int = 1200) -> Image.Image:
    """Lay pictures out in rows, each in its own shape.

    Args:
        pictures: RGB, of one height.
        title: Stands above.
        width: Of the sheet, pixels; less where there are few pictures.
    """
    places: list[tuple[int, int]] = []
    left, top, height, widest = _GAP, _TITLE, 0, 0
    for picture in pictures:
        if left > _GAP and left + picture.width + _GAP > width:
            left, top, height = _GAP, top + height + _GAP, 0
        places.append((left, top))
        left += picture.width + _GAP
        height = max(height, picture.height)
        widest = max(widest, left)
    font = ImageFont.load_default(size=16)
    sheet_width = max(widest, int(font.getlength(title)) + 2 * _GAP)
    sheet = Image.new("RGB", (sheet_width, top + height + _GAP), _PAPER)
    ImageDraw.Draw(sheet).text((_GAP, _TITLE // 2), title, fill=_INK, font=font, anchor="lm")
    for picture, place in zip(pictures, places, strict=True):
        sheet.paste(picture, place)
    return sheet
