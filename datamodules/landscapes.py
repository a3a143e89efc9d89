"""Landscapes of five types: the Kaggle landscape set as unpacked, or anything in its record format.

Source: Kaggle, 'Landscape Recognition Image Dataset (12k images)': TFRecords (features ``image``,
``label``) and the same photos as JPEG class folders. The painted sample has the same schema.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from datamodules.base import ImageDataModule
from vedute.augment import Augmentation
from vedute.conditions import match_name
from vedute.data.image_folder import ImageFolderSource
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
        root: str | Path | None = None,
        image_size: int | tuple[int, int] = 64,
        image_channels: Literal[1, 3] = 3,
        batch_size: int = 64,
        classes: list[str] | None = None,
        validation_share: float | None = None,
        residence: Literal["disk", "memory", "device"] = "disk",
        num_workers: int = 0,
        augmentations: list[Augmentation] | None = None,
        augmentation_mode: Literal["random", "extend"] = "random",
        target: Literal["augmented", "original"] = "augmented",
        on_error: Literal["raise", "skip"] = "raise",
        seed: int = 0,
        image_feature: str = "image",
        label_feature: str | None = "label",
        class_names: list[str] | dict[int, str] | None = None,
    ) -> None:
        """Keep the options; nothing is read yet.

        Args:
            root: Folder that holds the TFRecord folders Train, Valid and Test, or the JPEG folders 'Training
                Data', 'Validation Data' and 'Testing Data', directly or some levels below, as the archive
                unpacks; TFRecords first. null: the painted sample, made on first use.
            image_size: Side of the images in pixels, or [height, width]: the largest centred crop of that
                aspect ratio is resized to it.
            image_channels: 3 for colour, 1 for grey.
            batch_size: Images in one training batch of one device.
            classes: Names of the types to keep, renumbered in the usual order, e.g. [coast, forest]; null:
                all.
            validation_share: Share of Train, in (0, 1), that becomes the validation split, the same share of
                each class; the shipped Valid stays untouched (it is the test split where there is no Test).
                null: the shipped Valid, or a tenth of Train where there is none.
            residence: Where the prepared images are while training: disk (memory-mapped, the system keeps in
                memory what fits), memory, or device (on the GPU: fastest, takes height * width * channels
                bytes an image).
            num_workers: Processes that gather batches; 0 is fastest unless the disk is slow.
            augmentations: Changes to training images, in order, each by class_path from vedute.augment.
            augmentation_mode: random: each image of each batch is changed by chance. extend: the training set
                grows by every copy that the augmentations can make (Grayscale one, CutOut nine), all drawn
                equally often.
            target: What the model shall produce from an augmented image: the augmented image, or the original
                (denoising).
            on_error: What a broken image does: raise an error that names it, or skip it with a warning.
            seed: Of drawn splits and of the order of training images, at least 0.
            image_feature: Name of the records' feature with the encoded image.
            label_feature: Name of the records' feature with the label; null: no condition.
            class_names: Names of the labels where they are other than the five types: a list (from label 0),
                or a map from label to name.

        Raises:
            ConfigurationError: An option is out of its range.
        """
        super().__init__(
            root=root,
            image_size=image_size,
            image_channels=image_channels,
            batch_size=batch_size,
            residence=residence,
            num_workers=num_workers,
            augmentations=augmentations,
            augmentation_mode=augmentation_mode,
            target=target,
            classes=classes,
            validation_share=validation_share,
            on_error=on_error,
            seed=seed,
        )
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
        if label_feature is None and classes is not None:
            raise ConfigurationError("data.classes needs labels: set data.label_feature.")

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

    def label_names(self) -> Mapping[int, str]:
        """Return the five types, or the names given."""
        return self._names if self._label_feature is not None else {}

    def _class_folder_source(self, folder: Path) -> Source:
        names, labels = class_folders(folder), []
        for name in names:
            try:
                position = match_name(name, list(self._names.values()))
            except ConditionError as error:
                message = str(error).replace("Unknown condition", "no class is called")
                raise DataError(f"{folder / name}: {message} Rename it, or give data.class_names.") from None
            labels.append(list(self._names)[position] if self._label_feature is not None else -1)
        return ImageFolderSource(folder, names, labels)
