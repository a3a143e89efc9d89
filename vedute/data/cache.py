"""The prepared cache: a source's images are decoded once, by all cores, and then only mapped.

A cache is a folder that appears when it is complete, so a kill or a full disk leaves nothing that
could be taken for one. Its name follows from the files' paths, the reader's settings and the
preparation; when sizes or times of the files change, it is written anew in the same place. Of
several processes that want the same cache, one writes it and the others wait.

The decoding itself is in ``building.py``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from rich.console import Console

from vedute.cores import usable_cores
from vedute.data.building import SHARD_SIZE, Build, refusal
from vedute.data.decoding import Preparation
from vedute.data.prepared import MANIFEST, PreparedImages, open_prepared
from vedute.data.source import Source
from vedute.errors import DataError
from vedute.files import cache_folder
from vedute.locks import alone, lock_path

__all__ = ["Preparation", "PreparedImages", "prepare"]

_LISTED = 5  # skipped records that are shown; the manifest has all


def prepare(
    source: Source,
    preparation: Preparation,
    *,
    name: str,
    cache: Path | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    shard_size: int = SHARD_SIZE,
    workers: int | None = None,
    progress: bool = True,
) -> PreparedImages:
    """Decode a source's images into a cache, or open the cache that exists.

    Args:
        source: The images.
        preparation: Size, channels and crop.
        name: What the images are, for messages and the folder's name: ``landscapes/train``.
        cache: The folder of caches; None: ``vedute.files.cache_folder()``.
        on_error: ``raise`` refuses a source with a broken record; ``skip`` leaves such records out
            and lists them.
        shard_size: Images in one file, about.
        workers: Threads that decode; None: one for each core this process may use.
        progress: Say on stderr what is done, with a progress bar.

    Raises:
        DataError: A file is missing, a record is broken, or there are no usable records.
        VeduteError: The disk is full, or the cache's place cannot be written.
    """
    console = Console(stderr=True, quiet=not progress, highlight=False, soft_wrap=True, markup=False)
    names, fingerprint = _identify(source.files())
    what = {**source.settings(), **dataclasses.asdict(preparation), "shard_size": shard_size}
    folder = (cache or cache_folder()) / "prepared" / _folder_name(names, what, preparation, name)
    prepared = open_prepared(folder, fingerprint)
    if prepared is None:
        _remove_stale(folder.parent)
        waiting = f"{name}: waiting for another process that is preparing it."
        with alone(folder, lambda: console.print(waiting)):
            prepared = open_prepared(folder, fingerprint)  # another process may have been first
            if prepared is None:
                if folder.exists():
                    console.print(f"{name}: the source has changed since it was prepared; preparing it anew.")
                threads = workers or usable_cores()
                Build(source, preparation, name, on_error, shard_size, threads, console).write(
                    folder, fingerprint
                )
                prepared = PreparedImages(folder)
    known = source.known_labels()
    if known is not None:
        # Other labels of the same images (another table, another choice of classes) need no preparation.
        prepared.labels = known[prepared.records]
    if prepared.skipped and on_error == "raise":
        raise DataError(refusal(prepared.skipped[0], len(prepared.skipped) - 1))
    if prepared.skipped:
        listed = [*prepared.skipped[:_LISTED], "..."][: len(prepared.skipped)]
        console.print(
            f"{name}: {len(prepared.skipped):,} broken records were skipped, {len(prepared):,} are used; "
            f"all are listed in {folder / MANIFEST}:\n  " + "\n  ".join(listed)
        )
    return prepared


def _identify(files: Iterable[Path]) -> tuple[str, str]:
    """Return digests of the files' places, and of their places, sizes and times."""
    names, states = hashlib.sha256(), hashlib.sha256()
    folders: dict[str, str] = {}  # resolved once each: there may be millions of files
    for path in files:
        parent = os.path.dirname(path)  # noqa: PTH120  # a fifth of the time of Path.parent
        if parent not in folders:
            folders[parent] = str(Path(parent).resolve())
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        name = f"{folders[parent]}/{path.name}\n".encode("utf-8", "surrogateescape")
        names.update(name)
        states.update(name + f"{status.st_size} {status.st_mtime_ns}\n".encode())
    return names.hexdigest(), states.hexdigest()


def _folder_name(files: str, what: Mapping[str, object], preparation: Preparation, name: str) -> str:
    digest = hashlib.sha256(f"{files}\n{json.dumps(what, sort_keys=True)}".encode()).hexdigest()
    height, width = preparation.image_size
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
    return f"{readable}-{height}x{width}-{digest[:16]}"


def _remove_stale(parent: Path) -> None:
    """Remove what killed processes have left: unfinished folders whose lock nobody holds."""
    for partial in parent.glob(".*.partial"):
        folder = partial.with_name(partial.name[1:].rsplit(".", 2)[0])
        try:
            with FileLock(lock_path(folder), timeout=0):
                shutil.rmtree(partial, ignore_errors=True)
        except (Timeout, OSError):
            continue
