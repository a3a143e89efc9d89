"""Image files as input of a trained model: prepared like its training data, with their conditions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.errors import ConditionError, ConfigurationError, DataError

if TYPE_CHECKING:
    from lightning_modules.base import GenerativeModule
    from vedute.batch import Batch, Condition


def find_images(source: Path, option: str) -> list[Path]:
    """Return the image files that an option names: a file, or those in and below a folder.

    Args:
        source: The option's value.
        option: Its name, for messages.

    Raises:
        DataError: There are none.
    """
    from vedute.data.image_files import image_files

    if not source.exists():
        raise DataError(f"{option} {source} does not exist.")
    files = image_files(source) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{option} {source} holds no images (PNG, JPEG, WebP, ...).")
    return files


def read_images(files: Sequence[Path], model: GenerativeModule, resize: object) -> Batch:
    """Read image files, cropped and resized like training data; without conditions.

    Args:
        files: N files.
        model: Says of which size and channels.
        resize: How pictures of another shape become that size; see ``ImageDataModule``.

    Returns:
        N images, their index counting from 0.

    Raises:
        DataError: One cannot be read.
    """
    import numpy as np
    import torch

    from vedute.batch import Batch
    from vedute.data.decoding import Preparation, decode_image
    from vedute.data.image_bytes import read_file

    preparation = Preparation(model.image_size, channels=model.image_channels, resize=resize)  # type: ignore[arg-type]  # checked there
    images = []
    for file in files:
        try:
            images.append(decode_image(read_file(file), preparation))
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
    pixels = torch.tensor(np.stack(images))  # (N, H, W, C)
    return Batch(pixels.permute(0, 3, 1, 2).float() / 255, index=torch.arange(len(files)))


def check_decoding(model: GenerativeModule, text: str | None) -> None:
    """Refuse a condition for encoded images, as typed, where it has no effect.

    Raises:
        ConfigurationError: It has none.
    """
    # A model without any conditions says so itself when it reads the text.
    if text is not None and model.condition_kind != "none" and not model.decodes_condition:
        raise ConfigurationError(
            f"The condition '{text}' would change nothing: {type(model).__name__} encodes and decodes images "
            "without conditions, which only choose what it generates. Leave it out."
        )


def conditions_for_decoding(
    files: Sequence[Path], model: GenerativeModule, text: str | None
) -> tuple[Condition, str]:
    """Return the conditions of image files as ``conditions_of_files``; none where they have no effect.

    Raises:
        ConfigurationError: One is given, but has no effect.
        ConditionError: See ``conditions_of_files``.
    """
    from vedute.batch import Condition

    check_decoding(model, text)
    if model.condition_kind != "none" and not model.decodes_condition:
        return Condition(), "decoded without conditions"
    return conditions_of_files(files, model, text)


def conditions_of_files(
    files: Sequence[Path], model: GenerativeModule, text: str | None
) -> tuple[Condition, str]:
    """Return the conditions of image files.

    Args:
        files: N files.
        model: What the conditions are for.
        text: One condition for all, as typed; None: the class that a file's folder is named after, else
            all classes with equal probability.

    Returns:
        N conditions, and in a few words where they are from.

    Raises:
        ConditionError: Files do not tell conditions of this kind, or the model does not know ``text``.
    """
    import torch

    from vedute.batch import Condition

    if text is not None:
        return Condition(model.parse_condition(text).repeat(len(files), 1)), f"all as {text}"
    if model.condition_kind == "none":
        return Condition(), "no conditions"
    if model.condition_kind == "image":
        raise ConditionError(
            "This model needs a mask for each image, which image files do not give: take a split of its data "
            "set."
        )
    if model.condition_kind != "class":
        raise ConditionError(f"This model is conditioned on {model.condition_kind}s: give --condition.")
    names = [name.casefold() for name in model.condition_names]
    uniform = torch.full((len(names),), 1 / len(names))
    vectors, known = [], 0
    for file in files:
        folder = file.absolute().parent.name.casefold()
        vectors.append(torch.eye(len(names))[names.index(folder)] if folder in names else uniform)
        known += folder in names
    remark = f"{known} of {len(files)} classes known from folder names, the others taken as uniform"
    return Condition(torch.stack(vectors)), remark
