"""A folder of pictures of any size, nested or not, without labels.

Source of the layout: Kaggle 'arnaud58/landscape-pictures', 4,319 JPGs in one folder. Any folder will do. For
pictures with classes, scores or masks there is ``datamodules.image_folder``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datamodules.base import ImageDataModule
from vedute.data.image_files import IMAGE_SUFFIXES, FileSource, is_image, visible_files
from vedute.data.labels import Labelled, Labels, unlabelled
from vedute.data.source import Source, natural_order
from vedute.errors import DataError

logger = logging.getLogger("vedute.datamodules")

_LISTED = 5  # kinds of files that are named in a message


class PicturesDataModule(ImageDataModule):
    """Pictures without conditions; the splits are drawn."""

    def __init__(self, **shared: Any) -> None:
        """Keep the options; nothing is read yet.

        ``root`` holds the pictures, directly or in folders of any depth, whose names mean nothing.

        Args:
            shared: Options of every data set, see ``ImageDataModule``.

        Raises:
            ConfigurationError: An option is out of its range.
        """
        super().__init__(**shared)

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Find the image files; everything else is passed over and counted."""
        pictures: list[Path] = []
        others: Counter[str] = Counter()
        for path in visible_files(root):
            if is_image(path):
                pictures.append(path)
            else:
                others[path.suffix.lower() or "without a suffix"] += 1
        passed_over = _listed(others)
        if not pictures:
            holds = f"it holds other files: {passed_over}" if others else "it holds no files at all"
            raise DataError(
                f"{root} holds no pictures. Looked there and in all folders below for files named "
                f"{', '.join(sorted(IMAGE_SUFFIXES))} (hidden ones are left out); {holds}. Check data.root."
            )
        if others:
            logger.info(
                "%s: %s pictures; passed over files of other kinds: %s.",
                root,
                f"{len(pictures):,}",
                passed_over,
            )
        return {"train": FileSource(sorted(pictures, key=natural_order))}

    def paint_sample(self) -> Path:
        """Return the folder of the painted pictures, for the wanted size."""
        from vedute.data.painted.pictures import painted_pictures

        return painted_pictures(self.image_size)

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Say that there are no conditions."""
        return unlabelled(raw)


def _listed(kinds: Counter[str]) -> str:
    """Return e.g. ``3 .txt, 1 .pdf``, the most frequent first."""
    named = [f"{count:,} {kind}" for kind, count in kinds.most_common(_LISTED)]
    rest = kinds.total() - sum(count for _, count in kinds.most_common(_LISTED))
    return ", ".join([*named, f"{rest:,} others"] if rest else named)
