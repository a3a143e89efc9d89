"""What every data set promises, and all that data sets share: cache, splits, loaders, augmentation.

A data set is a subclass that says where its images are and what its labels mean. Not here:
decoding and gathering (``vedute.data``), single augmentations (``vedute.augment``).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from vedute.augment import Augmentation, NumberedAugmentation, extend
from vedute.augment.crop import centre_crop, random_crop
from vedute.batch import Batch, ConditionKind
from vedute.data.building import SHARD_SIZE
from vedute.data.cache import prepare
from vedute.data.decoding import Preparation
from vedute.data.labels import Conditions, Labelled, Labels, OneHot
from vedute.data.loading import ImageArray, ImageLoader, ImageRows, TensorImages
from vedute.data.order import BatchOrder
from vedute.data.prepared import PreparedImages
from vedute.data.source import Source
from vedute.data.splits import SplitName, assign_splits
from vedute.data.streaming import DecodedImages, equal_shards
from vedute.errors import ConfigurationError, DataError

logger = logging.getLogger("vedute.datamodules")


@dataclass(frozen=True)
class _Part:
    """One shipped part of the data set, ready to be read."""

    images: PreparedImages | DecodedImages
    labels: Labels  # (N,) as stored
    records: NDArray[np.int64]  # (N,) which record of the source each image is
    shards: Sequence[int]


@dataclass(frozen=True)
class _Split:
    """One split: rows of a part, and the labels that the encoder takes."""

    part: str
    rows: Tensor  # (N,) int64, ascending
    labels: Tensor  # (N,) int64


@dataclass(frozen=True)
class _Opened:
    """The data set once it can be read."""

    parts: Mapping[str, _Part]
    splits: Mapping[SplitName, _Split]
    conditions: Conditions


class ImageDataModule(LightningDataModule, ABC):
    """Images of one size with conditions, in three splits.

    The data are prepared when one of the promises is first read, so that bad data fails before
    anything else is built; later starts find them in the cache.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        image_size: int | tuple[int, int] = 64,
        image_channels: Literal[1, 2, 3, 4] = 3,
        batch_size: int = 64,
        resize: Literal["crop", "pad", "stretch"] = "crop",
        validation_share: float | None = None,
        residence: Literal["disk", "memory", "device", "stream"] = "disk",
        shuffle: Literal["full", "shards"] = "full",
        shard_size: int = SHARD_SIZE,
        num_workers: int = 0,
        augmentations: list[Augmentation] | None = None,
        augmentation_mode: Literal["random", "extend"] = "random",
        target: Literal["augmented", "original"] = "augmented",
        on_error: Literal["raise", "skip"] = "raise",
        seed: int = 0,
    ) -> None:
        """Keep the options; nothing is read yet.

        Args:
            root: Folder of the data; null: the painted sample, made on first use.
            image_size: Side of the images in pixels, or [height, width].
            image_channels: 3 for colour, 1 for grey, 4 with transparency or a 4th band, 2 for grey with it.
            batch_size: Images in one training batch of one device.
            resize: How pictures of another shape become image_size: crop takes the largest centred piece of
                its aspect ratio, pad keeps the whole picture between black bars, stretch distorts it.
            validation_share: Share of the training images, in (0, 1), that becomes the validation split;
                a shipped one stays untouched (it is the test split where no test is shipped). null: the
                shipped one, or a tenth where there is none.
            residence: Where the images are while training: disk (prepared once, memory-mapped; the system
                keeps in memory what fits), memory, device (on the GPU: fastest, takes height * width *
                channels bytes an image), or stream (not prepared: decoded whenever needed, for sets that are
                too large for the disk; wants num_workers).
            shuffle: full: each epoch in an order of its own. shards: file by file, mixed within 8,192 images,
                each process reading its own part; for sets larger than the memory on slow disks.
            shard_size: Images in one file of the prepared cache, about.
            num_workers: Processes that gather batches; 0 is fastest unless the disk is slow or residence is
                stream.
            augmentations: Changes to training images, in order, each by class_path from vedute.augment.
            augmentation_mode: random: each image of each batch is changed by chance. extend: the training set
                grows by every copy that the augmentations can make (Grayscale one, CutOut nine), all drawn
                equally often.
            target: What the model shall produce from an augmented image: the augmented image, or the original
                (denoising).
            on_error: What a broken image does: raise an error that names it, or skip it with a warning.
            seed: Of drawn splits and of the order of training images, at least 0.

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
            ("shard_size", shard_size, 1),
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
        self._resize: Literal["crop", "pad", "stretch"] = resize
        self._validation_share = validation_share
        self._residence = residence
        self._shuffle = shuffle
        self._shard_size = shard_size
        self._num_workers = num_workers
        self._augmentations = list(augmentations or [])
        self._target = target
        self._on_error: Literal["raise", "skip"] = on_error
        self._seed = seed
        self._extensions = self._checked_extensions() if augmentation_mode == "extend" else []
        self._sources: Mapping[str, Source] | None = None
        self._opened: _Opened | None = None
        self._resident: dict[tuple[str, torch.device], TensorImages] = {}

    # What a data set says of itself.

    @abstractmethod
    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Find the images of the parts that are shipped: ``train``, and ``val``, ``test`` where they exist.

        Options that can be wrong are checked here, before the long work of preparing.

        Args:
            root: An existing folder.

        Raises:
            DataError: It holds nothing usable; the message names what was looked for.
        """

    @abstractmethod
    def paint_sample(self) -> Path:
        """Return the folder of the painted sample, in the layout that :meth:`find_sources` reads."""

    @abstractmethod
    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Say what the labels mean.

        Args:
            raw: (N,) int64 of each part: labels as the source gives them, -1 for none.
            sources: Where they come from, to name a wrong record.
        """

    def preparation(self) -> Preparation:
        """Return how images are prepared."""
        return Preparation(self.stored_size, channels=self._image_channels, resize=self._resize)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width of the prepared images, pixels.

        Where they are larger than ``image_size``, training cuts each image at a place of its own, and
        everything else in the middle.
        """
        return self._image_size

    def sampling_weights(self, labels: Labels) -> NDArray[np.float64] | None:
        """Return how often each training image is drawn, (N,) at least 0; None: each once in an epoch.

        Args:
            labels: (N,) int64: what the encoder takes, of the training split.
        """
        return None

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
        """What a condition is: the meaning of the vector, else ``image`` where there are masks."""
        kind = self._open().conditions.kind
        return "image" if kind == "none" and self.condition_channels else kind

    @property
    def condition_names(self) -> list[str]:
        """Names of the entries of a condition vector."""
        return list(self._open().conditions.names)

    @property
    def condition_mean(self) -> list[float]:
        """Means of scores, which vectors are standardised by; empty for other kinds."""
        return list(self._open().conditions.mean)

    @property
    def condition_scale(self) -> list[float]:
        """Scales of scores, which vectors are standardised by; empty for other kinds."""
        return list(self._open().conditions.scale)

    @property
    def condition_range(self) -> list[float]:
        """The lowest and the highest legal score; empty: any."""
        return list(self._open().conditions.range)

    @property
    def condition_channels(self) -> int:
        """Channels of the condition image: 1 where images have masks, else 0."""
        return int(self.preparation().mask)

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

    def labels(self, split: SplitName) -> Labels:
        """Return (N,) int64: the class of each image of a split, as position in ``condition_names``.

        The most probable one where labels are probabilities.

        Raises:
            ConfigurationError: The data have no classes.
        """
        opened = self._open()
        if opened.conditions.kind != "class" or opened.conditions.encoder is None:
            raise ConfigurationError(
                f"These data have no classes: their conditions are of the kind '{self.condition_kind}'."
            )
        labels = opened.splits[split].labels
        if isinstance(opened.conditions.encoder, OneHot):
            return labels.numpy().copy()
        pieces = [labels[start : start + 4096] for start in range(0, len(labels), 4096)]
        return np.concatenate([opened.conditions.encoder(piece).argmax(1).numpy() for piece in pieces])

    def vectors(self, split: SplitName) -> Tensor | None:
        """Return the condition vectors of a split, (N, D) float32; None: there are none. Reads no image."""
        opened = self._open()
        encoder = opened.conditions.encoder
        return None if encoder is None else encoder(opened.splits[split].labels)

    def missing(self, split: SplitName) -> Tensor | None:
        """Return where a score is missing and counts as the mean, (N, D) bool; None: nowhere."""
        table = self._open().conditions.missing
        return None if table is None else torch.from_numpy(table)[self._open().splits[split].labels]

    def records(self, split: SplitName) -> tuple[str, NDArray[np.int64]]:
        """Return the shipped part that a split's images are from, and (N,) which of its records they are."""
        chosen = self._open().splits[split]
        return chosen.part, self._open().parts[chosen.part].records[chosen.rows.numpy()]

    def file_names(self, split: SplitName) -> list[str]:
        """Return which file each image of a split is from: below ``root`` where it lies there."""
        part, records = self.records(split)
        names = self.sources()[part].file_names(records.tolist())
        root = f"{self._data_folder().absolute().as_posix()}/"
        return [name.removeprefix(root) for name in names]

    def prepared(self) -> Mapping[str, PreparedImages]:
        """Return the prepared images of each part; empty where they are streamed."""
        parts = self._open().parts.items()
        return {name: part.images for name, part in parts if isinstance(part.images, PreparedImages)}

    def batch(self, split: SplitName, rows: Tensor | Sequence[int] | slice) -> Batch:
        """Return images of a split as they are in the data set, not augmented, on the CPU.

        Args:
            split: ``train``, ``val`` or ``test``.
            rows: n rows in [0, size(split)).

        Returns:
            n images (n, C, H, W) float32 in [0, 1] with conditions and index.
        """
        indices = torch.arange(self.size(split))[rows]
        images = {part: opened.images for part, opened in self._open().parts.items()}
        batch = self._rows(split, images, "cpu").__getitems__(indices.tolist())
        return self._cut(_to_float(batch), centre_crop)

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

    def sources(self) -> Mapping[str, Source]:
        """Return where the images of each shipped part are; nothing is prepared.

        Raises:
            DataError: ``root`` does not exist or holds nothing usable.
        """
        if self._sources is None:
            try:
                self._sources = self.find_sources(self._data_folder())
            except PermissionError as error:
                raise DataError(
                    f"{error.filename} cannot be read: {error.strerror}. Ask its owner for access."
                ) from error
        return self._sources

    def _open(self) -> _Opened:
        if self._opened is None:
            sources = self.sources()
            parts = {part: self._open_part(part, source) for part, source in sources.items()}
            labelled = self.label({part: opened.labels for part, opened in parts.items()}, sources)
            assigned = assign_splits(
                {part: labels >= 0 for part, labels in labelled.labels.items()},
                self._validation_share,
                self._seed,
                labelled.strata,
                labelled.groups,
                labelled.splits,
            )
            splits = {
                split: _Split(part, torch.from_numpy(rows), torch.from_numpy(labelled.labels[part][rows]))
                for split, (part, rows) in assigned.items()
            }
            self._opened = _Opened(parts, splits, labelled.conditions(splits["train"].labels.numpy()))
        return self._opened

    def _open_part(self, part: str, source: Source) -> _Part:
        preparation = self.preparation()
        if self._residence == "stream":
            if self._on_error == "raise":
                labels = source.labels()
                records = np.arange(len(labels))
            else:
                records, labels = source.readable_labels()
            streamed = DecodedImages(source, preparation, self._on_error, records)
            files = np.cumsum(source.shards() or equal_shards(len(source), self._shard_size))
            return _Part(
                streamed, labels, records, np.diff(np.searchsorted(records, files), prepend=0).tolist()
            )
        name = f"{type(self).__name__.removesuffix('DataModule').lower()}/{part}"
        images = prepare(source, preparation, name=name, on_error=self._on_error, shard_size=self._shard_size)
        return _Part(images, images.labels, images.records, images.shards)

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
        part = self._open().splits[split].part
        images: ImageArray = self._open().parts[part].images
        if self._residence in ("memory", "device") and isinstance(images, PreparedImages):
            if (part, place) not in self._resident:
                self._resident[part, place] = TensorImages(images, place)
            images = self._resident[part, place]
        rows = self._rows(split, {part: images}, place, self._copies if training else 1)
        pin = device.type == "cuda" and place.type == "cpu"
        return ImageLoader(rows, self._order(split, training), self._num_workers, pin_memory=pin)

    def _rows(
        self, split: SplitName, images: Mapping[str, ImageArray], device: torch.device | str, copies: int = 1
    ) -> ImageRows:
        opened = self._open().splits[split]
        encoder = self._open().conditions.encoder
        mask = self.condition_channels > 0
        return ImageRows(images[opened.part], opened.rows, opened.labels, encoder, copies, device, mask)

    def _order(self, split: SplitName, training: bool = False) -> BatchOrder:
        trainer = self.trainer
        # Overfitting means the same batches again and again (Lightning sets this attribute by name).
        same = bool(getattr(trainer, "overfit_batches", 0))
        copies = self._copies if training else 1
        weights = self._weights() if training and not same else None
        return BatchOrder(
            copies * self.size(split),
            self._batch_size,
            training=training,
            shuffle="none" if same else self._shuffle,
            seed=self._seed,
            rank=trainer.global_rank if trainer is not None else 0,
            ranks=trainer.world_size if trainer is not None else 1,
            weights=weights,
            shards=self._shards_of(split) * copies,
            workers=self._num_workers,
        )

    def _weights(self) -> NDArray[np.float64] | None:
        weights = self.sampling_weights(self._open().splits["train"].labels.numpy())
        return None if weights is None else np.tile(weights, self._copies)

    def _shards_of(self, split: SplitName) -> list[int]:
        """Return how many rows of a split lie in each file of its part, files without any left out."""
        opened = self._open().splits[split]
        ends = np.cumsum(self._open().parts[opened.part].shards)
        counts = np.diff(np.searchsorted(opened.rows.numpy(), ends), prepend=0)
        return [int(count) for count in counts if count]

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
            return self._cut(batch, centre_crop)
        batch = self._cut(batch, random_crop)
        if self._target == "original":
            batch = replace(batch, target=batch.image)
        if self._extensions:
            return extend(batch, self._extensions, self.size("train"))
        for augmentation in self._augmentations:
            batch = augmentation(batch)
        return batch

    def _cut(self, batch: Batch, crop: Callable[[Batch, tuple[int, int]], Batch]) -> Batch:
        return batch if self.stored_size == self._image_size else crop(batch, self._image_size)

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
