"""The tables of docs/gans.md: rows trained for equal time, judged and put beside each other.

    python benchmarks/gan_tables.py gans --root LANDSCAPES --classifier CHECKPOINT
    python benchmarks/gan_tables.py aerial --root AERIAL --segmenter CHECKPOINT
    python benchmarks/gan_tables.py enlarge --root PICTURES

Without --root: the painted samples. Call it again after an interruption (see ``equal_time``).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from equal_time import Job, add_options, work_all


@dataclass(frozen=True)
class Table:
    """Rows, and what they are judged by.

    Attributes:
        rows: By name a configuration and further options of ``fit``.
        options: Options of ``fit`` that all rows have.
        columns: By title the place of a value in evaluation.json, and the factor that it is shown with.
    """

    rows: Mapping[str, tuple[str, Sequence[str]]]
    options: Sequence[str]
    columns: Mapping[str, tuple[Sequence[str], float]]


_PAIRS = {
    "PSNR": (("pairs", "generated", "psnr"), 1),
    "SSIM": (("pairs", "generated", "ssim"), 1),
}
_BATCH = ["--model.network.init_args.norm", "batch", "--model.discriminator.init_args.norm", "batch"]
TABLES = {
    "gans": Table(
        {
            "DCGAN": ("dcgan_landscapes", ["--model.augment", "[]"]),
            "DCGAN, DiffAugment": ("dcgan_landscapes", []),
            "residual GAN": ("gan_landscapes", ["--model.augment", "[]"]),
            "residual GAN, DiffAugment": ("gan_landscapes", []),
        },
        [],
        {
            "Q, %": (("quality", "generated", "mean"), 100),
            "fd_classifier": (("distances", "fd_classifier", "generated"), 1),
            "diversity, % of real": (("diversity", "classifier", "ratio"), 100),
        },
    ),
    "aerial": Table(
        {
            "instance norm, L1 x 100": ("pix2pix_aerial", []),
            "batch norm, L1 x 100": ("pix2pix_aerial", _BATCH),
            "instance norm, L1 x 10": ("pix2pix_aerial", ["--model.l1_weight", "10"]),
            "L1 alone": ("pix2pix_aerial", ["--model.adversarial_weight", "0"]),
        },
        ["--data.split", "1", "--data.image_size", "128"],
        {
            **_PAIRS,
            "fd_segmenter": (("distances", "fd_segmenter", "generated"), 1),
            "IoU found again, %": (("pairs", "overlap", "generated", "iou"), 100),
            "in real images, %": (("pairs", "overlap", "real", "iou"), 100),
        },
    ),
    "enlarge": Table(
        {
            "pixels alone": ("esrgan_pictures", ["--model.adversarial_weight", "0"]),
            "pixels, then adversarial": ("esrgan_pictures", []),
        },
        ["--data.image_size", "256", "--data.batch_size", "4"],
        {
            **_PAIRS,
            "PSNR of Y": (("pairs", "generated", "psnr_y"), 1),
            "SSIM of Y": (("pairs", "generated", "ssim_y"), 1),
            "bicubic PSNR": (("pairs", "bicubic", "psnr"), 1),
            "Lanczos PSNR": (("pairs", "lanczos", "psnr"), 1),
            "bicubic SSIM": (("pairs", "bicubic", "ssim"), 1),
        },
    ),
}


def cell(jobs: Sequence[Job], place: Sequence[str], factor: float) -> str:
    """Return a score's mean over seeds, with half its range."""
    values = []
    for job in jobs:
        found = json.loads((job.run / "evaluation.json").read_text(encoding="utf-8"))
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, int | float) and math.isfinite(found):
            values.append(factor * found)
    if not values:
        return "-"
    mean, half = sum(values) / len(values), (max(values) - min(values)) / 2
    return f"{mean:.4g}" + (f" ± {half:.2g}" if len(values) > 1 else "")


def main(args: Sequence[str] | None = None) -> None:
    """Fill a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("table", choices=TABLES)
    options.add_argument("--root", type=Path, help="folder of real data; none: the painted sample")
    options.add_argument("--classifier", type=Path, help="checkpoint of the judge of landscapes")
    options.add_argument("--segmenter", type=Path, help="checkpoint of the judge of aerial images")
    options.add_argument("--rows", type=int, nargs="+", help="numbers of the rows, from 0; none: all")
    add_options(options)
    options.add_argument("--fit", nargs=argparse.REMAINDER, default=[], help="last: further options of fit")
    options.add_argument("--output", type=Path, default=Path("gan_tables"))
    given = options.parse_args(args)
    table = TABLES[given.table]
    root = [] if given.root is None else ["--data.root", str(given.root)]
    judges = [] if given.table != "gans" else ["--count", "128"]
    for name in ("classifier", "segmenter"):
        if getattr(given, name) is not None:
            judges += [f"--{name}", str(getattr(given, name))]
    jobs: dict[str, list[Job]] = {}
    for number, (title, (config, own)) in enumerate(table.rows.items()):
        if given.rows is None or number in given.rows:
            trained = [*root, *table.options, *own, *given.fit]
            place = given.output / given.table / f"row{number}"
            jobs[title] = [
                Job(config, place / f"seed{seed}", seed, given.minutes, trained, judges)
                for seed in given.seeds
            ]
    work_all([job for seed in zip(*jobs.values(), strict=True) for job in seed], given.jobs)
    lines = [
        f"| row | {' | '.join(table.columns)} | epochs |",
        f"|---|{'---|' * (len(table.columns) + 1)}",
    ]
    for title, of_seeds in jobs.items():
        done = [job for job in of_seeds if job.last is not None and (job.run / "evaluation.json").is_file()]
        if done:
            cells = [cell(done, place, factor) for place, factor in table.columns.values()]
            lines.append(f"| {title} | {' | '.join(cells)} | {cell(done, ('training', 'epochs'), 1)} |")
    text = "\n".join(lines) + "\n"
    (given.output / f"{given.table}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
