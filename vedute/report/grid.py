"""Images side by side, with titles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_BACKGROUND = (255, 255, 255)
_INK = (40, 40, 40)


def to_pil(image: Tensor) -> Image.Image:
    """Turn one image (C, H, W) in [0, 1] into a Pillow image: grey of 1 or 2 channels, else RGB."""
    array = (image.detach().float().clamp(0, 1) * 255).round().byte().cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] < 3 else np.ascontiguousarray(array[:, :, :3]))


def image_grid(
    images: Tensor,
    columns: int,
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    scale: int | None = None,
) -> Image.Image:
    """Lay images out row by row.

    Args:
        images: (N, C, H, W) in [0, 1].
        columns: Images per row.
        row_titles: A title left of each row.
        column_titles: A title above each column.
        scale: How many times each image is enlarged, pixel by pixel; None: to about 128 pixels.

    Returns:
        One picture.
    """
    count, _, height, width = images.shape
    rows = -(-count // columns)
    scale = scale or max(1, 128 // max(height, width))
    cell_height, cell_width, gap = height * scale, width * scale, 4
    font = ImageFont.load_default(size=max(12, min(20, cell_height // 6)))
    text_height = int(font.getbbox("Ag")[3]) + 6
    left = max((int(font.getlength(title)) for title in row_titles), default=0) + 12 if row_titles else gap
    top = text_height + gap if column_titles else gap
    canvas = Image.new(
        "RGB", (left + columns * (cell_width + gap), top + rows * (cell_height + gap)), _BACKGROUND
    )
    draw = ImageDraw.Draw(canvas)
    for number in range(count):
        row, column = divmod(number, columns)
        cell = (
            to_pil(images[number]).convert("RGB").resize((cell_width, cell_height), Image.Resampling.NEAREST)
        )
        canvas.paste(cell, (left + column * (cell_width + gap), top + row * (cell_height + gap)))
    for row, title in enumerate(row_titles or ()):
        middle = top + row * (cell_height + gap) + cell_height // 2
        draw.text((left - 8, middle), title, fill=_INK, font=font, anchor="rm")
    for column, title in enumerate(column_titles or ()):
        middle = left + column * (cell_width + gap) + cell_width // 2
        draw.text((middle, top - 4), title, fill=_INK, font=font, anchor="mb")
    return canvas
