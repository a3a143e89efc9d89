"""What every data set promises, and all that data sets share: cache, splits, loaders, augmentation.

A data set is a subclass that says where its images are and what its labels are called. Not here:
decoding and gathering (``vedute.data``), single augmentations (``vedute.augment``).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from vedute.augment import Augmentation, NumberedAugmentation, extend
from vedute.batch import Batch, ConditionKind
from vedute.data.cache import Preparation, PreparedImages, prepare
from vedute.data.labels import class_positions, wanted_labels
from vedute.data.loading import BatchOrder, Encoder, ImageArray, ImageLoader, ImageRows, OneHot, TensorImages
from vedute.data.source import Source
from vedute.data.splits import SplitName, assign_splits
from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger("vedute.datamodules")


@dataclass(frozen=True)
class _Split:
    """One split: rows of a prepared part, and the labels that the encoder takes."""

    part: str
    rows: Tensor  # (N,) int64
    labels: Tensor  # (N,) int64


@dataclass(frozen=True)
class _Opened:
    """The data set once it is prepared."""

    parts: Mapping[str, PreparedImages]
    splits: Mapping[SplitName, _Split]
    class_names: list[str]


class ImageDataModule(LightningDataModule, ABC):
    """Images of one size with conditions, in three splits.

    The data are prepared when one of the promises is first read, so that bad data fails before
    anything else is built; later starts find them in the cache.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        image_size: int | tuple[int, int] = 64,
        image_channels: Literal[1, 3] = 3,
        batch_size: int = 64,
        residence: Literal["disk", "memory", "device"] = "disk",
        num_workers: int = 0,
        augmentations: list[Augmentation] | None = None,
        augmentation_mode: Literal["random", "extend"] = "random",
        target: Literal["augmented", "original"] = "augmented",
        classes: list[str] | None = None,
        validation_share: float | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        seed: int = 0,
    ) -> None:
        """Keep the options; nothing is read yet.

        Args:
            root: Folder of the data; null: the painted sample, made on first use.
            image_size: Side of the images in pixels, or [height, width].
            image_channels: 3 for colour, 1 for grey.
            batch_size: Images in one training batch of one device.
            residence: Where the prepared images are while training.
            num_workers: Processes that gather batches.
            augmentations: Changes to training images, in order.
            augmentation_mode: Random draws per batch, or a set extended by copies.
            target: What the model shall produce from an augmented image.
            classes: Names of the classes to keep; null: all.
            validation_share: Share of the training images that becomes the validation split.
            on_error: What to do about a broken image.
            seed: Of drawn splits and of the order of training images.

        Raises:
            ConfigurationError: An option is out of its range.
        """
        super().__init__()
        # Augmentations are objects (which a weights_only checkpoint cannot hold) and of no use without
        # training; not logged, because the module's equally named arguments would contradict them.
        self.save_hyperparameters(ignore=["augmentations", "augmentation_mode"], logger=False)
        if root is not None:
            # A checkpoint finds its data from whatever folder it is used in.
            root = Path(root).absolute()
            self.hparams["root"] = str(root)
        sides = [image_size, image_size] if isinstance(image_size, int) else list(image_size)
        if len(sides) != 2 or min(sides) < 1:
            raise ConfigurationError(
                f"data.image_size must be one or two positive numbers, got {image_size}."
            )
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ConfigurationError(f"data.{name} must be at least {least}, got {value}.")
        if residence == "device" and num_workers > 0:
            raise ConfigurationError(
                "data.residence 'device' gathers on the device itself: set data.num_workers to 0, "
                "or data.residence to 'memory'."
            )
        self._root = root
        self._image_size = (int(sides[0]), int(sides[1]))
        self._image_channels = image_channels
        self._batch_size = batch_size
        self._residence = residence
        self._num_workers = num_workers
        self._augmentations = list(augmentations or [])
        self._target = target
        self._classes = list(classes) if classes is not None else None
        self._validation_share = validation_share
        self._on_error = on_error
        self._seed = seed
        self._extensions = self._checked_extensions() if augmentation_mode == "extend" else []
        self._opened: _Opened | None = None
        self._resident: dict[tuple[str, torch.device], TensorImages] = {}

    # What a data set says of itself.

    @abstractmethod
    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Find the images of the parts that are shipped: ``train``, and ``val``, ``test`` where they exist.

        Args:
            root: An existing folder.

        Raises:
            DataError: It holds nothing usable; the message names what was looked for.
        """

    @abstractmethod
    def paint_sample(self) -> Path:
        """Return the folder of the painted sample, in the layout that :meth:`find_sources` reads."""

    @abstractmethod
    def label_names(self) -> Mapping[int, str]:
        """Return the name of each label; empty: the labels, if any, are no classes."""

    def preparation(self) -> Preparation:
        """Return how images are prepared: by default cropped to the aspect ratio and resized."""
        return Preparation(self._image_size, channels=self._image_channels)

    def encoder(self) -> Encoder | None:
        """Return what turns labels into condition vectors: for classes one-hot, else none.

        For classes the labels are positions in ``condition_names``, otherwise as the source has them.
        """
        return OneHot(self.condition_size) if self.condition_names else None

    # Promises.

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images, pixels."""
        return self._image_size

    @property
    def image_channels(self) -> int:
        """Channels of the images."""
        return self._image_channels

    @property
    def condition_kind(self) -> ConditionKind:
        """What a condition vector means."""
        return "class" if self.condition_names else "none"

    @property
    def condition_names(self) -> list[str]:
        """Names of the entries of a condition vector."""
        return list(self._open().class_names)

    @property
    def condition_size(self) -> int:
        """Number D of entries of a condition vector."""
        return len(self.condition_names)

    @property
    def train_size(self) -> int:
        """Number of training images, copies of an extended set included."""
        return self._copies * self.size("train")

    def size(self, split: SplitName) -> int:
        """Return the number of images in a split."""
        return len(self._open().splits[split].rows)

    def labels(self, split: SplitName) -> NDArray[np.int64]:
        """Return (N,) int64: the class of each image of a split, as position in ``condition_names``."""
        return self._open().splits[split].labels.numpy().copy()

    def batch(self, split: SplitName, rows: Tensor | Sequence[int] | slice) -> Batch:
        """Return images of a split as they are in the data set, not augmented, on the CPU.

        Args:
            split: ``train``, ``val`` or ``test``.
            rows: n rows in [0, size(split)).

        Returns:
            n images (n, C, H, W) float32 in [0, 1] with conditions and index.
        """
        indices = torch.arange(self.size(split))[rows]
        return _to_float(self._rows(split, self._open().parts, "cpu").__getitems__(indices.tolist()))

    # Preparing.

    def prepare_data(self) -> None:
        """Fill the cache (Lightning calls this in one process of each machine)."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Open the data, and check before training that they make a batch.

        Raises:
            DataError: The batch is larger than the training split.
        """
        self._open()
        if stage == "fit":
            self._order("train", training=True)

    def _open(self) -> _Opened:
        if self._opened is None:
            sources = self.find_sources(self._data_folder())
            names = self.label_names()
            # Before the long work, so that a mistyped class costs no time.
            wanted = wanted_labels(self._classes, names) if self._classes is not None else None
            parts: dict[str, PreparedImages] = {}
            for part, source in sources.items():
                name = f"{type(self).__name__.removesuffix('DataModule').lower()}/{part}"
                parts[part] = prepare(source, self.preparation(), name=name, on_error=self._on_error)
            raw = {part: np.asarray(images.labels) for part, images in parts.items()}
            if names:
                class_names, labels = class_positions(raw, names, sources, wanted)
            else:
                class_names, labels = [], raw
            keep = {
                part: values >= 0 if names else np.ones(len(values), bool) for part, values in labels.items()
            }
            assigned = assign_splits(raw, keep, self._validation_share, self._seed)
            splits = {
                split: _Split(part, torch.from_numpy(rows), torch.from_numpy(labels[part][rows]))
                for split, (part, rows) in assigned.items()
            }
            self._opened = _Opened(parts, splits, class_names)
        return self._opened

    def _data_folder(self) -> Path:
        if self._root is None:
            root = self.paint_sample()
            logger.info("No data.root is given: using the painted sample in %s.", root)
            return root
        if not self._root.is_dir():
            problem = "is no folder" if self._root.exists() else "does not exist"
            raise DataError(
                f"data.root {self._root} {problem}. Give the folder of the data set, "
                "or null for the painted sample."
            )
        return self._root

    # Loading.

    def train_dataloader(self) -> ImageLoader:
        """Return the loader of the training split: a new order each epoch, full batches only."""
        return self._loader("train", training=True)

    def val_dataloader(self) -> ImageLoader:
        """Return the loader of the validation split: every image once, in order."""
        return self._loader("val")

    def test_dataloader(self) -> ImageLoader:
        """Return the loader of the test split: every image once, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> ImageLoader:
        """Return the loader whose conditions ``predict`` takes: the test split's."""
        return self._loader("test")

    def _loader(self, split: SplitName, training: bool = False) -> ImageLoader:
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        place = device if self._residence == "device" else torch.device("cpu")
        images: Mapping[str, ImageArray] = self._open().parts
        if self._residence != "disk":
            part = self._open().splits[split].part
            if (part, place) not in self._resident:
                self._resident[part, place] = TensorImages(self._open().parts[part].images, place)
            images = {part: self._resident[part, place]}
        rows = self._rows(split, images, place, self._copies if training else 1)
        pin = device.type == "cuda" and place.type == "cpu"
        return ImageLoader(rows, self._order(split, training), self._num_workers, pin_memory=pin)

    def _rows(
        self, split: SplitName, images: Mapping[str, ImageArray], device: torch.device | str, copies: int = 1
    ) -> ImageRows:
        opened = self._open().splits[split]
        return ImageRows(images[opened.part], opened.rows, opened.labels, self.encoder(), copies, device)

    def _order(self, split: SplitName, training: bool = False) -> BatchOrder:
        trainer = self.trainer
        return BatchOrder(
            self.train_size if training else self.size(split),
            self._batch_size,
            training=training,
            # Overfitting means the same batches again and again (Lightning sets this attribute by name).
            shuffle=training and not getattr(trainer, "overfit_batches", 0),
            seed=self._seed,
            rank=trainer.global_rank if trainer is not None else 0,
            ranks=trainer.world_size if trainer is not None else 1,
        )

    # On the device.

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; to CUDA without waiting, from page-locked memory."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn images into float32 in [0, 1], and while training augment them.

        Args:
            batch: Images (N, C, H, W) uint8, on the device.
            dataloader_idx: Not used.
        """
        batch = _to_float(batch)
        if self.trainer is None or not self.trainer.training:
            return batch
        if self._target == "original":
            batch = replace(batch, target=batch.image)
        if self._extensions:
            return extend(batch, self._extensions, self.size("train"))
        for augmentation in self._augmentations:
            batch = augmentation(batch)
        return batch

    @property
    def _copies(self) -> int:
        return 1 + sum(extension.copies for extension in self._extensions)

    def _checked_extensions(self) -> list[NumberedAugmentation]:
        extensions = [
            extension for extension in self._augmentations if isinstance(extension, NumberedAugmentation)
        ]
        if not extensions or len(extensions) < len(self._augmentations):
            raise ConfigurationError(
                "data.augmentation_mode 'extend' needs augmentations that make a fixed number of copies, "
                "as vedute.augment.Grayscale and CutOut do, and no others. For others use the mode 'random'."
            )
        return extensions


def _to_float(batch: Batch) -> Batch:
    # div_ keeps the channels_last strides of the gather.
    return batch.map(lambda value: value.float().div_(255) if value.dtype == torch.uint8 else value)
