"""Landscapes of five types: the Kaggle landscape set as unpacked, or anything in its record format.

Source: Kaggle, 'Landscape Recognition Image Dataset (12k images)': TFRecords (features ``image``,
``label``) and the same photos as JPEG class folders. The painted sample has the same schema.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datamodules.base import ImageDataModule
from vedute.conditions import match_name
from vedute.data.image_files import class_folder_source
from vedute.data.labels import Labelled, Labels, by_class, unlabelled, wanted_labels
from vedute.data.layout import class_folder_parts, class_folders, find_below, record_parts
from vedute.data.source import Source
from vedute.data.tfrecord import TFRecordSource
from vedute.errors import ConditionError, ConfigurationError, DataError

logger = logging.getLogger("vedute.datamodules")

LANDSCAPE_NAMES = {0: "coast", 1: "desert", 2: "forest", 3: "glacier", 4: "mountain"}
ARCHIVE_DEPTH = 3
"""Levels below ``root`` to search: 'Landscape Classification/Landscape Classification/TFrecords'."""


class LandscapesDataModule(ImageDataModule):
    """Landscapes with their type as condition."""

    def __init__(
        self,
        classes: list[str] | None = None,
        image_feature: str = "image",
        label_feature: str | None = "label",
        class_names: list[str] | dict[int, str] | None = None,
        **shared: Any,
    ) -> None:
        """Keep the options; nothing is read yet.

        ``root`` holds the TFRecord folders Train, Valid and Test, or the JPEG folders 'Training Data',
        'Validation Data' and 'Testing Data', directly or some levels below, as the archive unpacks;
        TFRecords first.

        Args:
            classes: Names of the types to keep, renumbered in the usual order, e.g. [coast, forest]; null:
                all.
            image_feature: Name of the records' feature with the encoded image.
            label_feature: Name of the records' feature with the label; null: no condition.
            class_names: Names of the labels where they are other than the five types: a list (from label 0),
                or a map from label to name.
            shared: Options of every data set, see ``ImageDataModule``.

        Raises:
            ConfigurationError: An option is out of its range.
        """
        super().__init__(**shared)
        self._classes = list(classes) if classes is not None else None
        self._image_feature = image_feature
        self._label_feature = label_feature
        if class_names is None:
            self._names = dict(LANDSCAPE_NAMES)
        elif isinstance(class_names, dict):
            # A checkpoint holds the keys as text.
            self._names = {int(label): name for label, name in class_names.items()}
        else:
            self._names = dict(enumerate(class_names))
        if len({name.casefold() for name in self._names.values()}) < len(self._names):
            raise ConfigurationError(f"data.class_names has a name twice: {', '.join(self._names.values())}.")
        if self._classes is not None:
            if label_feature is None:
                raise ConfigurationError("data.classes needs labels: set data.label_feature.")
            wanted_labels(self._classes, self._names)

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Find the TFRecords, else the JPEG class folders."""
        records = find_below(root, record_parts, ARCHIVE_DEPTH)
        folders = find_below(root, class_folder_parts, ARCHIVE_DEPTH)
        if records is not None:
            if folders is not None:
                logger.info("%s holds TFRecords and JPEG class folders: reading the TFRecords.", root)
            image, label = self._image_feature, self._label_feature
            return {part: TFRecordSource(files, image, label) for part, files in records.items()}
        if folders is not None:
            return {part: self._class_folder_source(folder) for part, folder in folders.items()}
        raise DataError(
            f"{root} holds no landscapes. Looked there and up to {ARCHIVE_DEPTH} levels below for folders "
            "Train, Valid, Test with *.tfrecord files (or such files directly), and for 'Training Data', "
            "'Validation Data', 'Testing Data' with one folder of images a class. Check data.root."
        )

    def paint_sample(self) -> Path:
        """Return the folder of the painted landscapes, of the wanted size."""
        from vedute.data.painted.landscapes import painted_landscapes

        return painted_landscapes(self.image_size)

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Take labels as class numbers."""
        if self._label_feature is None:
            return unlabelled(raw)
        return by_class(raw, self._names, sources, self._classes)

    def _class_folder_source(self, folder: Path) -> Source:
        names, labels = class_folders(folder), []
        for name in names:
            try:
                position = match_name(name, list(self._names.values()))
            except ConditionError as error:
                message = str(error).replace("Unknown condition", "no class is called")
                raise DataError(f"{folder / name}: {message} Rename it, or give data.class_names.") from None
            labels.append(list(self._names)[position] if self._label_feature is not None else -1)
        return class_folder_source(folder, names, labels)
