"""Tiny tar shards, written by the webdataset library itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.data.landscapes import CLASS_NAMES, encoded, tiny_landscape


def write_shards(
    root: Path, counts: Mapping[str, int] | None = None, per_file: int = 16, suffix: str = "jpg"
) -> Path:
    """Write ``root/<part>/<n>.tar`` of tiny landscapes; a sample has jpg, cls (a number), json."""
    import webdataset

    for position, (part, count) in enumerate((counts or {"train": 60, "val": 12, "test": 12}).items()):
        folder = root / part
        folder.mkdir(parents=True)
        for start in range(0, count, per_file):
            with webdataset.TarWriter(str(folder / f"{part}-{start:06d}.tar")) as writer:
                for row in range(start, min(count, start + per_file)):
                    label = row % 5
                    picture = tiny_landscape(label, 10_000 * position + row)
                    facts = {"kind": CLASS_NAMES[label], "brightness": float(picture.mean())}
                    image = encoded(picture, "PNG" if suffix == "png" else "JPEG")
                    writer.write({"__key__": f"{row:06d}", suffix: image, "cls": label, "json": facts})
    return root
