"""Where the pairs of a set of aerial images are: layouts of folders, names, and what may lie on one ground.

Nothing here opens a file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vedute.data.image_files import image_files
from vedute.data.layout import PART_NAMES, find_below
from vedute.data.named_files import listed
from vedute.data.source import natural_order
from vedute.data.splits import SPLITS
from vedute.errors import DataError

logger = logging.getLogger("vedute.datamodules")

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("gt", "masks", "mask", "labels", "label")
DEPTH = 2
"""Levels below ``root`` to search: 'AerialImageDataset/train/images'."""

BLOCK = 2
"""Tiles along a side of a block that stays in one split, counted at the coarsest zoom."""

_NUMBERED = re.compile(r"(.*?)[-_ ]?([0-9]+)")
_WEB_MAP = re.compile(r"([0-9]+)[-_]([0-9]+)[-_]([0-9]+)")
_ZOOMS = range(10, 25)  # a tile of zoom 10 is 40 km wide at the equator, one of zoom 24 is 2.4 m
_POLAR = 32  # a web map's first and last 32nd lie beyond 83.9 degrees of latitude


@dataclass(frozen=True)
class Area:
    """A pair of folders.

    Attributes:
        name: Of the folder around them where there are several; empty: the files' names tell the city.
        images: Folder of the images.
        masks: Folder of the masks; None: there is none.
    """

    name: str
    images: Path
    masks: Path | None


@dataclass(frozen=True)
class Picture:
    """An image, with its mask where masks are wanted.

    Attributes:
        image: Its file.
        mask: The mask's file.
        city: Its area's folder, or its name without the number: ``austin``.
        number: The number at the end of its name; None: there is none.
        tile: (x, y, zoom) of a tile of a web map; None: it is none.
    """

    image: Path
    mask: Path | None
    city: str
    number: int | None
    tile: tuple[int, int, int] | None


def find_areas(root: Path, folders: tuple[str, str] | None = None) -> Mapping[str, list[Area]]:
    """Find the folders of images and masks of each shipped part.

    Args:
        root: Where to search.
        folders: Names of the folders of images and masks below ``root``; None: known layouts are tried.

    Returns:
        The areas of ``train``, and of ``val`` and ``test`` where they exist; only ``train`` may lack masks.

    Raises:
        DataError: There are none; the message names what was looked for.
    """
    if folders is not None:
        images, masks = root / folders[0], root / folders[1]
        for folder in (images, masks):
            if not folder.is_dir():
                raise DataError(f"{folder} is no folder. Check data.image_folder and data.mask_folder.")
        return {"train": [Area("", images, masks)]}
    found = find_below(root, _parts, DEPTH)
    if found is None:
        raise DataError(
            f"{root} holds no aerial images. Looked there and up to {DEPTH} levels below for train/images "
            "and train/gt (Inria's layout), for images and masks (or gt, labels), and for such pairs in "
            "a folder for each area. Check data.root, or give data.image_folder and data.mask_folder."
        )
    return found


def _parts(folder: Path) -> Mapping[str, list[Area]] | None:
    children = _children(folder)
    parts = {PART_NAMES[name]: areas for name, child in children.items() if name in PART_NAMES
             if (areas := _areas(child))}  # fmt: skip
    if "train" in parts:
        for part in ("val", "test"):
            bare = [area for area in parts.get(part, []) if area.masks is None]
            if bare:
                count = sum(len(image_files(area.images)) for area in bare)
                logger.info("%s has %d images without masks, which are not used.", folder / part, count)
                del parts[part]
        return {part: parts[part] for part in SPLITS if part in parts}
    areas = _areas(folder)
    return {"train": areas} if areas else None


def _areas(folder: Path) -> list[Area]:
    """Return the pair of folders directly in a folder, else those in the folders below it."""
    here = _pair("", folder)
    if here is not None:
        return [here]
    found = (_pair(child.name, child) for child in _children(folder).values())
    return [area for area in found if area is not None]


def _pair(name: str, folder: Path) -> Area | None:
    children = _children(folder)
    images = next((children[known] for known in IMAGE_FOLDERS if known in children), None)
    masks = next((children[known] for known in MASK_FOLDERS if known in children), None)
    return None if images is None else Area(name, images, masks)


def _children(folder: Path) -> dict[str, Path]:
    try:
        found = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError:  # not ours to read: nothing is there
        return {}
    return {child.name.casefold(): child for child in sorted(found, key=natural_order)}


def pictures(areas: Sequence[Area], masks: bool, on_error: Literal["raise", "skip"]) -> list[Picture]:
    """List the images of some areas with their masks: files of one name up to the suffix.

    Args:
        areas: Pairs of folders.
        masks: Whether masks are wanted.
        on_error: What an image without mask, or a mask without image, does: raise, or be left out with a
            warning.

    Raises:
        DataError: Images or masks are left over, two files have one name, or there is no pair at all.
    """
    found: list[Picture] = []
    problems: list[str] = []
    for area in areas:
        files = image_files(area.images)
        tiled = _is_web_map(area, files)
        if not masks:
            found += [_picture(area, image, None, tiled) for image in files]
            continue
        if area.masks is None:
            raise DataError(
                f"{area.images} has no folder of masks beside it (looked for {', '.join(MASK_FOLDERS)}). "
                "Add it, or set data.condition to none."
            )
        images, image_problems = _by_name(area.images)
        paired, mask_problems = _by_name(area.masks)
        problems += image_problems + mask_problems
        problems += _left_over("images without mask", area.images, images, paired)
        problems += _left_over("masks without image", area.masks, paired, images)
        found += [
            _picture(area, path, paired[name], tiled) for name, path in images.items() if name in paired
        ]
    if problems and on_error == "raise":
        raise DataError(
            " ".join(problems) + " Complete the pairs, or set data.on_error to skip to leave these out."
        )
    for problem in problems:
        logger.warning("Left out: %s", problem)
    if not found:
        raise DataError(f"{', '.join(str(area.images) for area in areas)}: there is no image to use.")
    return found


def _by_name(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return files by their path without suffix, and what is wrong: of two files of one name none counts."""
    groups: dict[str, list[Path]] = {}
    for path in image_files(folder):
        groups.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    twice = [" and ".join(path.name for path in paths) for paths in groups.values() if len(paths) > 1]
    problems = [f"Files of one name in {folder}: {listed(twice)}."] if twice else []
    return {name: paths[0] for name, paths in groups.items() if len(paths) == 1}, problems


def _left_over(what: str, folder: Path, here: Mapping[str, Path], there: Mapping[str, Path]) -> list[str]:
    names = [name for name in here if name not in there]
    if not names:
        return []
    folded = {name.casefold(): name for name in there}
    shown = [
        f"{name} (there is '{folded[name.casefold()]}': upper and lower case differ)"
        if name.casefold() in folded
        else name
        for name in names
    ]
    return [f"{len(names)} {what} in {folder}: {listed(shown)}."]


def web_map_tile(stem: str) -> tuple[int, int, int] | None:
    """Read (x, y, zoom) from a name like ``1277182-1083841-21``; None: it cannot be an aerial image's tile.

    A tile has a zoom from 10 to 24, lies on the map (x, y < 2^zoom), and not at the poles: the first and the
    last 32nd of the map's rows are beyond 83.9 degrees of latitude. The last rule sets dates apart:
    2019-05-12 would be a tile 85 degrees north.
    """
    match = _WEB_MAP.fullmatch(stem)
    if match is None:
        return None
    x, y, zoom = (int(value) for value in match.groups())
    if zoom not in _ZOOMS:
        return None
    side = 1 << zoom
    return (x, y, zoom) if x < side and side <= y * _POLAR < side * (_POLAR - 1) else None


def _is_web_map(area: Area, images: Sequence[Path]) -> bool:
    """Whether the images of an area are tiles of a web map: all of them have names of tiles."""
    others = [path.name for path in images if web_map_tile(path.stem) is None]
    if others and 2 * len(others) < len(images):
        logger.warning(
            "%s looks like tiles of a web map (x-y-zoom), but %d of %d names do not: %s. So none is taken "
            "for a tile, and pictures of one ground may come into several splits. Take these out.",
            area.images, len(others), len(images), listed(others),
        )  # fmt: skip
    return bool(images) and not others


def _picture(area: Area, image: Path, mask: Path | None, tiled: bool) -> Picture:
    if tiled:
        return Picture(image, mask, area.name, None, web_map_tile(image.stem))
    match = _NUMBERED.fullmatch(image.stem)
    if match is None:
        return Picture(image, mask, area.name or image.stem, None, None)
    return Picture(image, mask, area.name or match[1], int(match[2]), None)


def ground_groups(found: Sequence[Picture]) -> NDArray[np.int64]:
    """Number what may show the same ground, (N,): pictures of one number belong in one split.

    Tiles of a web map show it at several zooms: each belongs to a block of ``BLOCK`` x ``BLOCK`` tiles of the
    coarsest zoom of its area. Blocks instead of single tiles, because most neighbours share buildings at
    their common edge. Any other picture is a group of its own.
    """
    coarsest: dict[str, int] = {}
    for picture in found:
        if picture.tile is not None:
            coarsest[picture.city] = min(picture.tile[2], coarsest.get(picture.city, 30))
    numbers: dict[object, int] = {}

    def key(position: int, picture: Picture) -> object:
        if picture.tile is None:
            return position
        x, y, zoom = picture.tile
        size = BLOCK << (zoom - coarsest[picture.city])  # of a block, in tiles of this zoom
        return picture.city, x // size, y // size

    return np.array(
        [numbers.setdefault(key(*pair), len(numbers)) for pair in enumerate(found)], dtype=np.int64
    )
