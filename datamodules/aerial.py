"""Aerial images with building masks: Inria's set, or any pair of folders.

Source: Maggiori et al. 2017, "Can Semantic Labeling Methods Generalize to Any City? The Inria Aerial Image
Labeling Benchmark" (IGARSS), https://project.inria.fr/aerialimagelabeling/
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ImageDataModule
from vedute.data.aerial_layout import Picture, find_areas, ground_groups, pictures
from vedute.data.decoding import Preparation
from vedute.data.image_files import FileSource
from vedute.data.labels import Conditions, Labelled, Labels
from vedute.data.named_files import listed
from vedute.data.source import Source
from vedute.data.tiff import is_tiff
from vedute.data.tiles import TileSource, Windows
from vedute.errors import ConfigurationError

logger = logging.getLogger("vedute.datamodules")

STORED_SHARE = 286 / 256
"""Side of stored images / side of images: what is over is room for random crops, as in pix2pix."""


class AerialDataModule(ImageDataModule):
    """Aerial images, whole or cut into tiles, with their building masks as conditions."""

    def __init__(
        self,
        condition: Literal["mask", "none"] = "mask",
        split: int = 1,
        load_size: int | tuple[int, int] | None = None,
        validation_cities: list[str] | None = None,
        validation_numbers: list[int] | str | None = None,
        test_cities: list[str] | None = None,
        test_numbers: list[int] | str | None = None,
        value_range: tuple[float, float] | None = None,
        image_folder: str | None = None,
        mask_folder: str | None = None,
        image_size: int | tuple[int, int] = 256,
        **shared: Any,
    ) -> None:
        """Keep the options; nothing is read yet.

        ``root`` holds ``train/images`` and ``train/gt`` (Inria's layout; images without masks in
        ``test/images`` are not used), or ``images`` and ``masks`` (or ``gt``), or a folder with such a pair
        for each area. Image and mask have one name, up to the suffix. Formats: TIFF of every kind, and all
        of Pillow's.

        A picture's city is its area's folder, or its name without the number at the end: ``tyrol-w12`` is
        number 12 of tyrol-w. What is not held out by city or number is training, of which validation and
        test are drawn where they are not given. Draws keep all tiles of a picture together. Tiles of a web
        map (``x-y-zoom.jpg``) show the same ground at several zooms: they are drawn in blocks of 2 x 2
        tiles of the coarsest zoom. Names are taken for tiles only if all of an area fit, at zoom 10 to 24.

        Args:
            condition: mask: the condition is the building mask. none: there is no condition; masks need not
                exist.
            split: Tiles along each side of a picture: 5 makes 25 of each. 1: the whole picture.
            load_size: Side of the stored images in pixels, or [height, width]; training cuts image_size out
                of them at random, everything else in the middle. null: image_size * 286 / 256.
            validation_cities: Cities or areas that validate, e.g. [vienna]; null: any.
            validation_numbers: Numbers of images that validate, e.g. '1-5' or [1, 2]; null: any. With
                validation_cities: only those of these cities. Both null: drawn, by seed.
            test_cities: Cities or areas that test.
            test_numbers: Numbers of images that test. Both null: the validation images, where these are
                given, else drawn.
            value_range: Two values of TIFF pixels that become black and white, e.g. [0, 2047] for 11 bits;
                null: the full range of 8 and 16 bits. Floating-point pixels need it; other formats than TIFF
                refuse it.
            image_folder: Folder of the images below root where the layout is another one.
            mask_folder: Folder of their masks below root.
            image_size: Side of the images in pixels, or [height, width].
            shared: Options of every data set, see ``ImageDataModule``.

        Raises:
            ConfigurationError: An option is out of its range.
        """
        super().__init__(image_size=image_size, **shared)
        if load_size is None:
            height, width = (round(side * STORED_SHARE) for side in self.image_size)
        else:
            height, width = (load_size, load_size) if isinstance(load_size, int) else load_size
        if height < self.image_size[0] or width < self.image_size[1]:
            raise ConfigurationError(
                f"data.load_size ({height} x {width}) must be at least data.image_size "
                f"({self.image_size[0]} x {self.image_size[1]}): images are cut out of what is loaded."
            )
        if (image_folder is None) != (mask_folder is None):
            raise ConfigurationError("Give data.image_folder and data.mask_folder together, or neither.")
        self._load_size = (height, width)
        self._condition = condition
        self._folders = None if image_folder is None or mask_folder is None else (image_folder, mask_folder)
        # Checked here: before anything is read.
        self._windows = Windows(split, self.image_channels, value_range and (value_range[0], value_range[1]))
        self._pictures: list[Picture] = []  # of the part train, once they are found
        self._held_out: dict[str, tuple[list[str] | None, list[int] | None]] = {
            "validation": (validation_cities, _numbers("validation_numbers", validation_numbers)),
            "test": (test_cities, _numbers("test_numbers", test_numbers)),
        }

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Find and pair the files, and check that the held-out cities and numbers exist."""
        masks = self._condition == "mask"
        parts = find_areas(root, self._folders)
        found = {part: pictures(areas, masks, self._on_error) for part, areas in parts.items()}
        if not masks and any(area.masks is not None for areas in parts.values() for area in areas):
            logger.info("data.condition is none: the masks are not used.")
        self._pictures = found["train"]
        self._splits(self._pictures)
        return {part: self._source(listing) for part, listing in found.items()}

    def _source(self, listing: Sequence[Picture]) -> Source:
        images = [picture.image for picture in listing]
        masks = [picture.mask for picture in listing if picture.mask is not None] or None
        windows = replace(self._windows, wanted_size=self.stored_size)
        plain = not any(map(is_tiff, [*images, *(masks or ())]))
        if plain and windows.split == 1 and windows.value_range is None:
            return FileSource(images, np.arange(len(images)), masks)  # many small files to a part
        return TileSource(images, masks, windows)

    def paint_sample(self) -> Path:
        """Return the folder of the painted cities, of the wanted size."""
        from vedute.data.painted.aerial import painted_aerial

        return painted_aerial(self.image_size, self._windows.split)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width of the prepared images, pixels."""
        return self._load_size

    def preparation(self) -> Preparation:
        """Return how images are prepared: with their masks, where these are the condition."""
        return replace(super().preparation(), mask=self._condition == "mask")

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Take labels as numbers of pictures: what shows one ground stays together."""
        splits = self._splits(self._pictures)
        groups = dict(raw)
        groups["train"] = ground_groups(self._pictures)[raw["train"]]
        return Labelled(
            raw,
            lambda _: Conditions(),
            groups=groups,
            splits=None if splits is None else {"train": splits[raw["train"]]},
        )

    def _splits(self, found: Sequence[Picture]) -> Labels | None:
        """Return the split of each picture, (N,): 1 validation, 2 test, -1 to be drawn; None: none is given.

        Raises:
            ConfigurationError: A city or number does not exist, or a picture would validate and test.
        """
        splits = np.full(len(found), -1, dtype=np.int64)
        for position, (split, (cities, numbers)) in enumerate(self._held_out.items(), start=1):
            if cities is None and numbers is None:
                continue
            chosen = _of_cities(f"{split}_cities", cities, found) & _of_numbers(
                f"{split}_numbers", numbers, found
            )
            if not chosen.any():
                raise ConfigurationError(
                    f"data.{split}_cities and data.{split}_numbers have no image in common. Change one."
                )
            twice = [found[row].image.name for row in np.flatnonzero(chosen & (splits >= 0)).tolist()]
            if twice:
                raise ConfigurationError(
                    f"Images would validate and test: {listed(twice)}. Give different cities or numbers."
                )
            splits[chosen] = position
        if (splits == -1).all():
            return None
        if not (splits == -1).any():
            raise ConfigurationError(
                "The cities and numbers that validate and test leave no image for training. Hold out fewer."
            )
        return splits


def _numbers(option: str, given: Sequence[int] | str | None) -> list[int] | None:
    """Return the numbers of a list or of text like ``1-5, 9``."""
    if given is None or not isinstance(given, str):
        return None if given is None else [int(number) for number in given]
    numbers: list[int] = []
    for piece in given.split(","):
        match = re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", piece)
        if match is None:
            raise ConfigurationError(
                f"data.{option}: '{given}' are no numbers. Write e.g. '1-5' or '1, 2, 9'."
            )
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers


def _of_cities(option: str, cities: Sequence[str] | None, found: Sequence[Picture]) -> NDArray[np.bool_]:
    """Return which pictures are of the cities, (N,); None: all."""
    if cities is None:
        return np.ones(len(found), dtype=bool)
    known = {picture.city.casefold(): picture.city for picture in found}
    for city in cities:
        if city.casefold() not in known:
            near = difflib.get_close_matches(city.casefold(), list(known), n=1)
            hint = f" Did you mean '{known[near[0]]}'?" if near else ""
            names = listed(list(known.values()), limit=20)
            raise ConfigurationError(f"data.{option}: there is no city '{city}'.{hint} There are: {names}.")
    wanted = {city.casefold() for city in cities}
    return np.array([picture.city.casefold() in wanted for picture in found])


def _of_numbers(option: str, numbers: Sequence[int] | None, found: Sequence[Picture]) -> NDArray[np.bool_]:
    """Return which pictures have the numbers, (N,); None: all."""
    if numbers is None:
        return np.ones(len(found), dtype=bool)
    known = sorted({picture.number for picture in found if picture.number is not None})
    missing = sorted(set(numbers) - set(known))
    if missing or not numbers:
        have = f"numbers from {known[0]} to {known[-1]}" if known else "names without numbers"
        what = f"no image has the number {missing[0]}" if missing else "no number is given"
        raise ConfigurationError(f"data.{option}: {what}. The images have {have}.")
    return np.array([picture.number in set(numbers) for picture in found])
