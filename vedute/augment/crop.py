"""Cutting pieces of the wanted size out of stored images that are larger.

Image, target and condition image are cut at the same place. Everything happens on the batch's device,
without a round trip to the processor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vedute.augment.base import move_pixels
from vedute.batch import Batch
from vedute.errors import ConfigurationError


def random_crop(batch: Batch, size: tuple[int, int]) -> Batch:
    """Cut out of each image a piece at a place of its own, every place being as likely.

    Args:
        batch: Images (N, C, H, W) of any type; target and condition image of the same height and width.
        size: (height, width) of the pieces in pixels, at most (H, W).

    Returns:
        A new batch with images (N, C, height, width).

    Raises:
        ConfigurationError: The pieces are larger than the images.
        ValueError: Target or condition image have another size than the images.
    """
    spare_rows, spare_columns = _spare(batch, size)
    if spare_rows == spare_columns == 0:
        return batch
    count, device = len(batch), batch.image.device
    height, width = size
    top = torch.randint(spare_rows + 1, (count, 1, 1), device=device)
    left = torch.randint(spare_columns + 1, (count, 1, 1), device=device)
    rows = top + torch.arange(height, device=device)[:, None]  # (N, height, 1)
    columns = left + torch.arange(width, device=device)  # (N, 1, width)
    images = torch.arange(count, device=device)[:, None, None]

    def cut(image: Tensor) -> Tensor:
        # Channels last on both sides of the gather: the pieces keep the strides of a stored batch.
        return image.permute(0, 2, 3, 1)[images, rows, columns].permute(0, 3, 1, 2)

    return move_pixels(batch, cut)


def centre_crop(batch: Batch, size: tuple[int, int]) -> Batch:
    """Cut the middle piece out of each image; where the rest of a side is odd, half a pixel up or left.

    Args:
        batch: Images (N, C, H, W) of any type; target and condition image of the same height and width.
        size: (height, width) of the pieces in pixels, at most (H, W).

    Returns:
        A new batch with images (N, C, height, width): views of the given ones.

    Raises:
        ConfigurationError: The pieces are larger than the images.
        ValueError: Target or condition image have another size than the images.
    """
    spare_rows, spare_columns = _spare(batch, size)
    top, left = spare_rows // 2, spare_columns // 2
    height, width = size
    return move_pixels(batch, lambda image: image[..., top : top + height, left : left + width])


def _spare(batch: Batch, size: tuple[int, int]) -> tuple[int, int]:
    """Return how many rows and columns the images have more than the pieces."""
    whole = tuple(batch.image.shape[-2:])
    for name, value in (("target", batch.target), ("condition image", batch.condition.image)):
        if value is not None and tuple(value.shape[-2:]) != whole:
            raise ValueError(
                f"the {name} is {value.shape[-2]} x {value.shape[-1]}, its image {whole[0]} x {whole[1]}"
            )
    spare = whole[0] - size[0], whole[1] - size[1]
    if min(spare) < 0:
        raise ConfigurationError(
            f"Pieces of {size[0]} x {size[1]} pixels cannot be cut out of images of {whole[0]} x {whole[1]}. "
            "Make the images larger, or the pieces smaller."
        )
    return spare
