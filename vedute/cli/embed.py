"""``embed``: images as latent vectors, in a file that numpy or pandas reads, with a map as a picture."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import parser, pick_device, positive, progress, seed
from vedute.errors import ConfigurationError, named
from vedute.files import check_place, whole

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from lightning_modules.base import GenerativeModule
    from vedute.cli.embed_input import EmbedInput
    from vedute.report.latent_map import Colouring
    from vedute.report.vector_file import Values

_SUFFIXES = (".npz", ".parquet")


def main(args: Sequence[str]) -> int:
    """Embed images.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConditionError: A condition that the model does not know.
        ConfigurationError: The model has no encoder, or an option cannot be used.
        DataError: The input holds no image that can be read.
    """
    given = _options().parse_args(list(args))

    from vedute.report.vector_file import check_pyarrow, write_npz, write_parquet

    output: Path = given.output
    if output.suffix.lower() not in _SUFFIXES or output.is_dir():
        raise ConfigurationError(
            f"--output {output}: give a file name that ends in {' or '.join(_SUFFIXES)}."
        )
    check_place(output)
    if given.map != "none":
        check_place(output.with_suffix(".png"))
    if given.input is not None and given.root is not None:
        raise ConfigurationError("--data.root is the data set's folder: leave it out with --input.")
    if output.suffix.lower() == ".parquet":
        check_pyarrow()
    device = pick_device(given.device)

    from lightning_modules.base import GenerativeModule
    from vedute.checkpoints import load_module
    from vedute.cli.embed_input import files_to_embed, splits_to_embed
    from vedute.data.splits import SPLITS
    from vedute.report.projection import check_umap
    from vedute.run_folder import shown

    if given.map == "umap":
        check_umap()
    model = load_module(given.checkpoint, GenerativeModule, device, given.average)
    if not model.has_encoder:
        raise ConfigurationError(
            f"{given.checkpoint} holds {named(type(model))}, which has no encoder: it cannot embed."
        )
    if given.input is not None:
        source = files_to_embed(model, given.checkpoint, given.input, given.condition)
    else:
        splits = SPLITS if given.split == "all" else (given.split,)
        source = splits_to_embed(model, given.checkpoint, given.root, splits, given.condition)
    if given.map == "umap":
        check_umap(len(source.rows))
    arrays = _embed(model, source, given, device)
    if given.map != "none":
        arrays["map"], axes_names = _project(arrays["vectors"], given.map, given.seed)
        picture = output.with_suffix(".png")
        _draw(picture, source, arrays, axes_names, given.map)
    write = write_parquet if output.suffix.lower() == ".parquet" else write_npz
    with whole(output) as temporary:
        write(temporary, arrays)
    count, size = arrays["vectors"].shape
    beside = "" if given.map == "none" else f", their map in {shown(output.with_suffix('.png'))}"
    print(f"{count:,} vectors of {size} entries in {shown(output)}{beside}; {source.title}")
    return 0


def _options() -> argparse.ArgumentParser:
    options = parser(
        "embed",
        "Turn images into latent vectors. The file holds, for each image: vectors, conditions (as the model "
        "takes them), scores in the raters' own unit or classes, files, splits, rows, images (uint8, height "
        "x width x channels) and its place on the map; and condition_names and condition_kind. "
        "numpy.load(FILE) reads an .npz.",
    )
    what = options.add_mutually_exclusive_group()
    what.add_argument(
        "--input",
        type=Path,
        metavar="PATH",
        help="an image or a folder of images, searched with its subfolders; cropped and resized like "
        "training data",
    )
    what.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        default="test",
        help="which images of the data set that the checkpoint was trained on; not with --input",
    )
    options.add_argument(
        "--data.root",
        dest="root",
        type=Path,
        metavar="FOLDER",
        help="folder of the data set; none: where the checkpoint was trained from",
    )
    options.add_argument(
        "--condition",
        metavar="TEXT",
        help="condition of all images, e.g. coast; none: of a split its own, of --input the class that an "
        "image's folder is named after, else all classes with equal probability",
    )
    options.add_argument(
        "--images",
        choices=("thumbnails", "full", "none"),
        default="thumbnails",
        help="the images in the file: small, as large as the model sees them, or none",
    )
    options.add_argument(
        "--thumbnail", type=positive, default=32, metavar="P", help="longer side of a thumbnail, pixels"
    )
    options.add_argument(
        "--map",
        choices=("pca", "umap", "none"),
        default="pca",
        help="how the picture beside the file lays the vectors out: along the two directions in which they "
        "vary most, near ones near each other (needs umap-learn), or no picture",
    )
    options.add_argument("--seed", type=seed, default=0, metavar="S", help="seed of a umap")
    options.add_argument(
        "--output",
        type=Path,
        default=Path("vectors.npz"),
        metavar="FILE",
        help="FILE.npz for numpy, or FILE.parquet for pandas and others (needs pyarrow); the map goes to "
        "FILE.png",
    )
    return options


def _embed(
    model: GenerativeModule, source: EmbedInput, given: argparse.Namespace, device: torch.device
) -> dict[str, Values]:
    """Return what the file holds, by name."""
    import numpy as np
    import torch

    count = len(source.rows)
    arrays: dict[str, Values] = {}

    def fill(name: str, first: int, part: Tensor) -> None:
        values = part.cpu().numpy()
        if name not in arrays:
            arrays[name] = np.empty((count, *values.shape[1:]), values.dtype)
        arrays[name][first : first + len(values)] = values

    with progress("Embedding", count) as advance, torch.inference_mode():
        for first in range(0, count, given.batch_size):
            batch = source.read(range(first, min(first + given.batch_size, count)))
            fill("vectors", first, model.embed(batch.to(device)).float())
            if batch.condition.vector is not None:
                fill("conditions", first, batch.condition.vector.float())
            if given.images != "none":
                small = batch.image if given.images == "full" else _shrunken(batch.image, given.thumbnail)
                fill("images", first, (small.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1))
            advance(len(batch))
    if not np.isfinite(arrays["vectors"]).all():
        raise ConfigurationError(
            f"{given.checkpoint} gives vectors that are no finite numbers: its training has failed."
        )
    names = list(model.condition_names)
    if "conditions" in arrays and model.condition_kind == "class":
        arrays["classes"] = np.array(names)[arrays["conditions"].argmax(axis=1)]
    if "conditions" in arrays and model.condition_kind == "score":
        scores = _in_their_unit(arrays["conditions"], model.condition_mean, model.condition_scale)
        arrays["scores"] = scores if source.missing is None else np.where(source.missing, np.nan, scores)
    arrays["files"], arrays["splits"] = np.array(source.files), np.array(source.splits)
    arrays["rows"] = np.array(source.rows, dtype=np.int64)
    arrays["condition_names"] = np.array(names, dtype=np.str_)
    arrays["condition_kind"] = np.array(model.condition_kind)
    return arrays


def _in_their_unit(vectors: Values, mean: Sequence[float], scale: Sequence[float]) -> Values:
    """Return scores (N, D) float32 as the raters gave them, from what they were standardised to."""
    import numpy as np

    scores = np.asarray(vectors, dtype=np.float64)
    if scale:
        scores = scores * np.array(scale) + np.array(mean)
        for column, one in enumerate(scale):  # a 9 shall be a 9 again, not 8.9999995
            scores[:, column] = scores[:, column].round(5 - math.floor(math.log10(one)))
    return scores.astype(np.float32)


def _shrunken(images: Tensor, side: int) -> Tensor:
    """Return images (N, C, h, w) whose longer side has at most ``side`` pixels."""
    import torch

    height, width = images.shape[-2:]
    share = min(1.0, side / max(height, width))
    size = (max(1, round(height * share)), max(1, round(width * share)))
    if share == 1.0:
        return images
    return torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)


def _project(vectors: Values, method: str, seed: int) -> tuple[NDArray[np.float32], tuple[str, str]]:
    """Return places on the map, (N, 2), and what its axes are."""
    import torch

    from vedute.report.projection import principal_components, umap_points

    if method == "umap":
        return umap_points(torch.from_numpy(vectors), seed).numpy(), ("UMAP 1", "UMAP 2")
    points, shares = principal_components(torch.from_numpy(vectors))
    first, second = (f"{share:.0%} of the variance" for share in shares.tolist())
    return points.numpy(), (f"first component, {first}", f"second component, {second}")


def _draw(
    path: Path,
    source: EmbedInput,
    arrays: dict[str, Values],
    axes_names: tuple[str, str],
    method: str,
) -> None:
    from vedute.report.latent_map import map_picture

    count, size = arrays["vectors"].shape
    title = f"{count:,} images ({source.title}), {size} latent dimensions, {method.upper()}"
    images = arrays.get("images")
    picture = map_picture(arrays["map"], axes_names, title, _colouring(arrays), images)  # type: ignore[arg-type]
    with whole(path) as temporary:
        picture.save(temporary, format="PNG")


def _colouring(arrays: dict[str, Values]) -> Colouring:
    from vedute.report.latent_map import Colouring

    if "classes" in arrays:
        return Colouring(classes=arrays["classes"].tolist())
    if "scores" in arrays:
        return Colouring(scores=arrays["scores"], names=arrays["condition_names"].tolist())  # type: ignore[arg-type]
    return Colouring()
