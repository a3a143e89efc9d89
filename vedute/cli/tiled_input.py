"""Input and output of ``translate`` and ``upscale``: their options, what is read, what is written where."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.image_input import find_images
from vedute.cli.inference import not_negative, parser, positive, seed
from vedute.errors import ConfigurationError, DataError
from vedute.files import check_place

if TYPE_CHECKING:
    from lightning_modules.base import GenerativeModule
    from vedute.data.georeference import Georeference
    from vedute.data.picture_rows import Header, Wanted

LEAST_TILE, LEAST_LARGE_TILE = 256, 128
"""Sides of the smallest usual tile in pixels of the input; of models that enlarge."""

LEAST_OVERLAP, OVERLAP_SHARE = 16, 8
"""The smallest usual overlap in pixels of the input; a tile's side / its usual overlap."""


@dataclass(frozen=True)
class Job:
    """One picture to make.

    Attributes:
        source: The file to read.
        output: The file to write.
        seed: Of its noise.
        header: What the source says of itself.
        place: Where the output lies on the ground; None: a picture without a place.
    """

    source: Path
    output: Path
    seed: int
    header: Header
    place: Georeference | None


def tile_parser(verb: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of both verbs."""
    options = parser(verb, description)
    options.set_defaults(batch_size=1)
    options.add_argument(
        "--input",
        type=Path,
        required=True,
        metavar="PATH",
        help="an image file, or a folder of them, searched with its subfolders",
    )
    options.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="PATH",
        help="for a file: FILE.tif, .png, .jpg or .webp; for a folder: a folder",
    )
    options.add_argument(
        "--format",
        choices=("png", "tif", "jpg", "webp"),
        help="of the files in an output folder; none: TIFF for TIFF files, PNG for all others",
    )
    options.add_argument(
        "--georeference",
        choices=("none", "keep"),
        default="none",
        help="keep: write the GeoTIFF tags of the input, fitted to the size of the output",
    )
    options.add_argument(
        "--tile",
        type=positive,
        metavar="PIXELS",
        help="side of a tile of the input; smaller ones need less memory. None: twice the size that the "
        f"model was trained on, at least {LEAST_TILE} ({LEAST_LARGE_TILE} where it enlarges)",
    )
    options.add_argument(
        "--overlap",
        type=not_negative,
        metavar="PIXELS",
        help="what neighbouring tiles share at least, and are blended over; none: an eighth of the tile, at "
        f"least {LEAST_OVERLAP}",
    )
    options.add_argument(
        "--seed", type=seed, default=0, metavar="S", help="file n of a folder has seed S + n"
    )
    options.add_argument(
        "--overwrite", action="store_true", help="write into a folder that already holds something"
    )
    return options


def check_places(given: argparse.Namespace) -> list[Path]:
    """Return the input's files, and make sure that the output can be written.

    Raises:
        ConfigurationError: Input and output do not fit each other, or something is in the way.
        DataError: There is no input.
    """
    from vedute.data.row_files import FORMATS

    files = find_images(given.input, "--input")
    source, output = given.input.resolve(), given.output.resolve()
    if source == output:
        raise ConfigurationError("--output is --input: give another name, the input is not replaced.")
    if not given.input.is_dir():
        check_place(given.output)
        if given.output.suffix.lower() not in FORMATS:
            raise ConfigurationError(
                f"--output {given.output}: --input is a file, so give a file's name ending in "
                f"{', '.join(sorted(FORMATS))}."
            )
        if given.format is not None and FORMATS[given.output.suffix.lower()] != given.format:
            raise ConfigurationError(
                f"--format {given.format} contradicts --output {given.output}: leave out --format, a file's "
                "name says it."
            )
        kinds = {FORMATS[given.output.suffix.lower()]}
    else:
        check_place(given.output / "manifest.csv")
        if source in output.parents:
            raise ConfigurationError(
                f"--output {given.output} lies in --input: what is written would be read next time. Give a "
                "folder elsewhere."
            )
        if given.output.is_dir() and any(given.output.iterdir()) and not given.overwrite:
            raise ConfigurationError(
                f"--output {given.output} is not empty. Give a new folder, or --overwrite to write into it."
            )
        kinds = {given.format} if given.format else {"tif"}
    if given.georeference == "keep" and kinds != {"tif"}:
        raise ConfigurationError(
            f"--georeference keep needs TIFF files, and {kinds.pop()} is to be written: give --format tif or "
            "a name that ends in .tif."
        )
    return files


def find_jobs(
    given: argparse.Namespace, files: Sequence[Path], wanted: Wanted, model: GenerativeModule, below: str = ""
) -> list[Job]:
    """Return what is to be made of which file, all headers read and checked.

    Args:
        given: The options.
        files: N files.
        wanted: What the model takes.
        model: The model.
        below: A folder in an output folder.

    Raises:
        ConfigurationError: A picture does not fit its format, or two have one name.
        DataError: A file that cannot be read, or has no place on the ground where that is to be kept.
    """
    from vedute.data.picture_rows import read_header
    from vedute.data.row_files import check_writable

    jobs = []
    for number, source in enumerate(files):
        output = given.output
        if given.input.is_dir():
            ending = given.format or ("tif" if source.suffix.lower() in (".tif", ".tiff") else "png")
            output = given.output / below / source.relative_to(given.input).with_suffix(f".{ending}")
        header = read_header(source, wanted)
        size = (header.height * model.scale, header.width * model.scale, model.image_channels)
        check_writable(output, size)
        jobs.append(Job(source, output, given.seed + number, header, _place(given, source, model)))
    twice = [path for path, count in Counter(job.output for job in jobs).items() if count > 1]
    if twice:
        sources = " and ".join(str(job.source) for job in jobs if job.output == twice[0])
        raise ConfigurationError(f"{sources} would both become {twice[0]}: rename one of them.")
    return jobs


def _place(given: argparse.Namespace, source: Path, model: GenerativeModule) -> Georeference | None:
    """Return where the output lies, as wanted."""
    from vedute.data.georeference import read_georeference
    from vedute.data.tiff import is_tiff

    if given.georeference == "none":
        return None
    place = read_georeference(source) if is_tiff(source) else None
    if place is None:
        if not given.input.is_dir():
            raise DataError(
                f"{source} has no GeoTIFF tags that could be kept: leave out --georeference keep, or take a "
                "file that has."
            )
        return None
    # A value that meant 'no data' in a mask is a colour like any other in the image that is made of it.
    return replace(place.scaled(model.scale, model.scale), nodata=None)
