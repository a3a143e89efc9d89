"""``upscale``: images enlarged by a super-resolution model, of any size, from a checkpoint alone."""

from __future__ import annotations

from collections.abc import Sequence

from vedute.cli.inference import pick_device, positive
from vedute.cli.tiled import check_enlarges, load_image_model, run_jobs, tiling_for
from vedute.cli.tiled_input import check_places, find_jobs, tile_parser
from vedute.errors import ConfigurationError


def main(args: Sequence[str]) -> int:
    """Enlarge images.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        CheckpointError: The checkpoint cannot be used, or does not enlarge by the wanted factor.
        ConfigurationError: An option cannot be used, or the output is in the way.
        DataError: A file that cannot be read, or does not fit the model.
    """
    options = tile_parser(
        "upscale",
        "Enlarge images of any size with a model of ESRGAN's kind, in overlapping tiles without seams.",
    )
    options.add_argument(
        "--factor",
        type=positive,
        metavar="N",
        help="refuse a checkpoint that does not enlarge N times; none: whatever it was trained for",
    )
    options.add_argument(
        "--value-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values of TIFF pixels that become black and white; none: the full range of 8 and 16 bits",
    )
    given = options.parse_args(list(args))
    limits = None if given.value_range is None else (given.value_range[0], given.value_range[1])
    if limits is not None and not limits[0] < limits[1]:
        raise ConfigurationError(
            f"--value-range {limits[0]:g} {limits[1]:g}: give a lower and a higher value."
        )
    files = check_places(given)
    device = pick_device(given.device)

    from vedute.data.picture_rows import Wanted
    from vedute.run_folder import shown

    model = load_image_model(given.checkpoint, device, given.average)
    check_enlarges(model, given.checkpoint, given.factor)
    tiling = tiling_for(model, given)
    wanted = Wanted(model.condition_channels, value_range=limits)
    jobs = find_jobs(given, files, wanted, model)
    run_jobs(jobs, wanted, model, tiling, "Enlarging")
    print(f"{len(jobs)} image{'s' * (len(jobs) > 1)}, {model.scale} times as large, in {shown(given.output)}")
    return 0
