"""Folders as classes, as people lay them out: ``<class>/**`` or ``{train,val,test}/<class>/**``.

Unlike ``layout.py``, which looks for one known archive, this takes whatever folders there are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from vedute.data.column_values import check_class_names
from vedute.data.image_files import IMAGE_SUFFIXES, FileSource, image_files
from vedute.data.layout import PART_NAMES
from vedute.data.named_files import listed
from vedute.data.source import Source, natural_order
from vedute.data.table import TABLE_SUFFIXES
from vedute.errors import DataError

logger = logging.getLogger("vedute.data.class_folders")

_NO_CLASSES = frozenset({"images", "image", "imgs", "masks", "mask", "labels", "label", "gt", "annotations"})
"""Folders that are called so, and nothing else, hold images and masks, not classes."""

_Folders = Mapping[str, list[Path]]  # images by the name of the folder that they are in or below


def find_class_folders(root: Path) -> tuple[dict[int, str], dict[str, Source]]:
    """Find the classes and their images.

    Where a folder holds nothing but one folder (as archives unpack), the one below is taken. Folders
    named train, val and test hold the splits if train itself holds folders; else they are classes.

    Args:
        root: An existing folder.

    Returns:
        The names of the classes by number, and the images of each part, ``train`` at least.

    Raises:
        DataError: There are no images, or images without a class, or one class only.
    """
    images = image_files(root)
    if not images:
        raise DataError(
            f"{root} holds no image and no table. Expected a table ({', '.join(TABLE_SUFFIXES)}), or a "
            f"folder of images ({', '.join(sorted(IMAGE_SUFFIXES))}) for each class. Check data.root."
        )
    folder, folders = _grouped(root, images)
    while len(folders) == 1 and "" not in folders and _deeper(folder, folders):
        folder, folders = _grouped(folder / next(iter(folders)), images)
    parts = _parts(folder, folders)
    for name, content in parts.items():
        _check_labelled(folder / name if len(parts) > 1 else folder, content)
    _check_classes(folder, parts)
    names = sorted(
        {name for content in parts.values() for name in content}, key=lambda n: natural_order(Path(n))
    )
    check_class_names(names, f"folders of {folder}")
    if len(names) < 2:
        raise DataError(
            f"All {len(images)} images of {root} are in one folder ('{names[0]}'): folders are classes, and "
            "one class is no label. For images without labels use datamodules.pictures.PicturesDataModule; "
            "or add a table."
        )
    sources: dict[str, Source] = {}
    for part, content in parts.items():
        paths = [path for name in names for path in content.get(name, [])]
        labels = [number for number, name in enumerate(names) for _ in content.get(name, [])]
        sources[part] = FileSource(paths, labels)
    return dict(enumerate(names)), sources


def _grouped(folder: Path, images: list[Path]) -> tuple[Path, _Folders]:
    """Sort the images below a folder by its child folders; "" for those directly in it."""
    groups: dict[str, list[Path]] = {}
    for path in images:
        parts = path.relative_to(folder).parts
        groups.setdefault(parts[0] if len(parts) > 1 else "", []).append(path)
    return folder, groups


def _deeper(folder: Path, folders: _Folders) -> bool:
    """Whether the images are all in folders further below."""
    (name, images), *_ = folders.items()
    return all(len(path.relative_to(folder / name).parts) > 1 for path in images)


def _parts(folder: Path, folders: _Folders) -> dict[str, _Folders]:
    """Return the classes of each part."""
    named = {name: PART_NAMES[name.casefold()] for name in folders if name.casefold() in PART_NAMES}
    below = {name: _grouped(folder / name, folders[name])[1] for name in named}
    train = [name for name, part in named.items() if part == "train"]
    if not any(set(below[name]) - {""} for name in train):
        return {"train": folders}
    parts: dict[str, _Folders] = {}
    for name, part in named.items():
        if part in parts:
            raise DataError(
                f"{folder} holds two folders for the split '{part}'. Keep one of them: {listed([*named])}."
            )
        parts[part] = below[name]
    others = sorted(set(folders) - set(named) - {""})
    if others:
        logger.warning("%s holds splits; other folders in it are left out: %s.", folder, listed(others))
    return parts


def _check_classes(folder: Path, parts: Mapping[str, _Folders]) -> None:
    """Refuse folders whose names say that they are something else than classes."""
    names = {name for content in parts.values() for name in content}
    if all(name.casefold() in PART_NAMES for name in names):
        raise DataError(
            f"{folder} holds {listed(sorted(names))}: splits, but no folder 'train' with a folder "
            f"for each class. A table ({', '.join(TABLE_SUFFIXES)}) belongs into {folder}, with a column "
            "'split'; for images without labels use datamodules.pictures.PicturesDataModule."
        )
    if len(names) > 1 and all(name.casefold() in _NO_CLASSES for name in names):
        raise DataError(
            f"{folder} holds {listed(sorted(names))}: no classes, it seems. Add a table "
            "with a column of images and a column of masks, or use datamodules.aerial.AerialDataModule."
        )


def _check_labelled(folder: Path, folders: _Folders) -> None:
    loose = folders.get("", [])
    if not loose:
        return
    names = listed([path.name for path in loose], limit=3)
    if len(folders) == 1:
        raise DataError(
            f"{folder} holds {len(loose)} images ({names}), but no folders and no table "
            f"({', '.join(TABLE_SUFFIXES)}) that say what they show. For images without labels use "
            "datamodules.pictures.PicturesDataModule."
        )
    raise DataError(
        f"{len(loose)} images lie beside the class folders of {folder} and have no class: {names}. "
        "Put them into the folder of a class, or remove them."
    )
