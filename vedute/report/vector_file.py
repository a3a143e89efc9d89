"""Latent vectors and what belongs to them, as files that other programs read."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedute.errors import ConfigurationError

Values = NDArray[np.generic]

_ROWS = 2048  # of a parquet file's row group: what is held in memory twice


def write_npz(path: Path, arrays: Mapping[str, Values]) -> None:
    """Write plain arrays by name, which ``numpy.load`` reads without pickle."""
    with path.open("wb") as file:  # given a path, numpy would add a suffix to a temporary name
        np.savez(file, allow_pickle=False, **arrays)


def check_pyarrow() -> None:
    """Make sure that parquet files can be written.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        for module in ("pyarrow", "pyarrow.parquet"):
            import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"A parquet file needs the package pyarrow, which cannot be imported ({error}): pip install "
            "pyarrow, or give an --output that ends in .npz."
        ) from error


def write_parquet(path: Path, arrays: Mapping[str, Values]) -> None:
    """Write a table with a row per image.

    Columns: file, split, row, vector, and where they are known condition, class, a score_<name> of each
    rater, map_x, map_y, image (the bytes of a PNG). What condition entries mean is in the metadata
    ``vedute`` of the schema, as JSON.

    Args:
        path: The file.
        arrays: As ``embed`` makes them: N rows each, and ``condition_names``, ``condition_kind``.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    check_pyarrow()
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    meaning = {
        "condition_names": arrays["condition_names"].tolist(),
        "condition_kind": arrays["condition_kind"].item(),
    }
    count = len(arrays["vectors"])
    writer = None
    try:
        for start in range(0, count, _ROWS):
            rows = slice(start, start + _ROWS)
            columns = _columns(
                {name: values[rows] for name, values in arrays.items() if name not in meaning},
                meaning["condition_names"],
            )
            converted = {}
            for name, values in columns.items():
                if isinstance(values, np.ndarray) and values.ndim == 2:
                    flat = arrow.array(values.ravel())
                    converted[name] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
                else:
                    converted[name] = arrow.array(values)
            table = arrow.table(converted, metadata={"vedute": json.dumps(meaning)})
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _columns(
    arrays: Mapping[str, Values], names: Sequence[str]
) -> dict[str, Values | list[str] | list[bytes]]:
    """Return the columns of some rows."""
    columns: dict[str, Values | list[str] | list[bytes]] = {
        "file": arrays["files"].tolist(),
        "split": arrays["splits"].tolist(),
        "row": arrays["rows"],
        "vector": arrays["vectors"],
    }
    if "conditions" in arrays:
        columns["condition"] = arrays["conditions"]
    if "classes" in arrays:
        columns["class"] = arrays["classes"].tolist()
    if "scores" in arrays:
        columns |= {f"score_{name}": arrays["scores"][:, column] for column, name in enumerate(names)}
    if "map" in arrays:
        columns |= {"map_x": arrays["map"][:, 0], "map_y": arrays["map"][:, 1]}
    if "images" in arrays:
        columns["image"] = [_png(pixels) for pixels in arrays["images"]]
    return columns


def _png(pixels: Values) -> bytes:
    """Return an image (H, W, C) as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG")
    return buffer.getvalue()
