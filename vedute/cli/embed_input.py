"""Which images ``embed`` takes: image files, or splits of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.errors import CheckpointError, DataError, named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lightning_modules.base import GenerativeModule
    from vedute.batch import Batch
    from vedute.data.splits import SplitName


@dataclass
class EmbedInput:
    """What is embedded.

    Attributes:
        title: In a few words.
        read: From n rows in [0, N) to a batch.
        rows: (N,) the place of each image in its split.
        splits: N names; empty for images that are from no split.
        files: N names of files.
        missing: (N, D) where a score is missing and counts as the mean; None: nowhere.
    """

    title: str
    read: Callable[[Sequence[int]], Batch]
    rows: list[int]
    splits: list[str]
    files: list[str]
    missing: NDArray[np.bool_] | None = None


def files_to_embed(
    model: GenerativeModule, checkpoint: Path, source: Path, condition: str | None
) -> EmbedInput:
    """Take image files.

    Args:
        model: Which will embed them.
        checkpoint: Where it is from, which also says how pictures are resized.
        source: An image or a folder.
        condition: Of all images, as typed; None: see ``conditions_of_files``.

    Raises:
        ConditionError: The model does not know the condition, or needs one.
        DataError: There are no images.
    """
    import torch

    from vedute.checkpoints import load_datamodule_options
    from vedute.cli.image_input import conditions_of_files, find_images, read_images
    from vedute.data.source import printable

    files = find_images(source, "--input")
    conditions, remark = conditions_of_files(files, model, condition)
    resize = load_datamodule_options(checkpoint).get("resize", "crop")

    def read(rows: Sequence[int]) -> Batch:
        batch = read_images([files[row] for row in rows], model, resize)
        batch.condition = conditions[torch.tensor(list(rows))]
        return batch

    folder = source if source.is_dir() else source.parent
    names = [printable(file.relative_to(folder).as_posix()) for file in files]
    return EmbedInput(remark, read, list(range(len(files))), [""] * len(files), names)


def splits_to_embed(
    model: GenerativeModule,
    checkpoint: Path,
    root: Path | None,
    splits: Sequence[SplitName],
    condition: str | None,
) -> EmbedInput:
    """Take splits of the data set that a checkpoint was trained on.

    Args:
        model: Which will embed them.
        checkpoint: Where it is from.
        root: Folder of the data; None: where the checkpoint was trained from.
        splits: Which ones, in this order.
        condition: Of all images, as typed; None: of each its own.

    Raises:
        CheckpointError: It describes no data set.
        ConditionError: The model does not know the condition.
        DataError: The data cannot be used, or have other conditions than the model.
    """
    import numpy as np

    from datamodules.base import ImageDataModule
    from vedute.batch import collate
    from vedute.checkpoints import load_datamodule

    vector = None if condition is None else model.parse_condition(condition)
    data = load_datamodule(checkpoint, {} if root is None else {"root": str(root)})
    if not isinstance(data, ImageDataModule):
        raise CheckpointError(f"{checkpoint} was trained on {named(type(data))}, which is no image data set.")
    if (data.condition_kind, list(data.condition_names)) != (model.condition_kind, model.condition_names):
        raise DataError(
            f"The data have other conditions ({_named(data.condition_kind, data.condition_names)}) than the "
            f"model ({_named(model.condition_kind, model.condition_names)}): give a --data.root with the "
            "model's own, or the pictures alone with --input."
        )
    places = [(split, row) for split in splits for row in range(data.size(split))]

    def read(rows: Sequence[int]) -> Batch:
        wanted: dict[SplitName, list[int]] = {}
        for row in rows:
            split, place = places[row]
            wanted.setdefault(split, []).append(place)
        batch = collate([data.batch(split, own) for split, own in wanted.items()])
        if vector is not None:
            batch.condition.vector = vector.repeat(len(batch), 1)
        return batch

    missing = [data.missing(split) for split in splits] if vector is None else []
    tables = [table.numpy() for table in missing if table is not None]
    return EmbedInput(
        f"the {splits[0]} split" if len(splits) == 1 else "all splits",
        read,
        [row for _, row in places],
        [str(split) for split, _ in places],
        [name for split in splits for name in data.file_names(split)],
        np.concatenate(tables) if tables else None,
    )


def _named(kind: str, names: Sequence[str]) -> str:
    """Return what conditions are, in a few words."""
    return f"{kind}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else kind
