"""``evaluate``: the quality card of one generator, as a table, JSON and a picture."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from vedute.cli.inference import not_negative, parser, pick_device, positive, progress
from vedute.cli.sampler_options import add_sampler_options, apply_sampler_options
from vedute.errors import ConfigurationError
from vedute.files import check_place, whole

_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "torch-fidelity", "numpy")


def main(args: Sequence[str]) -> int:
    """Score a generator.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        CheckpointError: The generator or the classifier cannot be used, or not together.
        ConfigurationError: An option cannot be used.
        DataError: The data cannot be used, or the generated images are no numbers.
    """
    given = _options().parse_args(list(args))
    if given.likelihood == 1:
        raise ConfigurationError("--likelihood 1: an interval needs at least 2 images; 0 leaves it out.")

    from vedute.run_folder import folder_of_checkpoint, shown

    output: Path = given.output or folder_of_checkpoint(given.checkpoint) / "evaluation.json"
    if output.suffix.lower() != ".json" or output.is_dir():
        raise ConfigurationError(f"--output {output}: give a file name that ends in .json.")
    check_place(output)
    check_place(output.with_suffix(".png"))
    start = time.monotonic()
    device = pick_device(given.device)

    from rich.console import Console

    from lightning_modules.base import GenerativeModule
    from vedute.checkpoints import load_checkpoint, load_datamodule, load_module
    from vedute.cli.instruments import find_instruments
    from vedute.metrics.card import SPLIT, Settings
    from vedute.metrics.extractors import check_names
    from vedute.metrics.likelihood import LikelihoodSettings
    from vedute.metrics.make_card import make_card
    from vedute.promises import as_generator, as_image_data, as_likelihood
    from vedute.report.card import card_table
    from vedute.report.card_pictures import card_pictures
    from vedute.report.run_record import training_cost
    from vedute.sampling.likelihood import Integration

    judges = [name for name in ("classifier", "regressor", "segmenter") if getattr(given, name) is not None]
    if given.features is not None:
        check_names(given.features, judges)
    model = load_module(given.checkpoint, GenerativeModule, device, given.average)
    likelihood = None
    if given.likelihood:
        as_likelihood(model)
        likelihood = LikelihoodSettings(given.likelihood, Integration(given.likelihood_steps))
    sampler = apply_sampler_options(model, given)
    instruments, segmenter, left_out = find_instruments(model, given, device)
    overrides = {} if given.root is None else {"root": str(given.root)}
    data = as_image_data(load_datamodule(given.checkpoint, overrides))
    card = make_card(
        as_generator(model),
        data,
        instruments,
        Settings(
            given.count,
            given.seed,
            given.seeds,
            given.batch_size,
            given.train_images,
            given.cas_images,
            likelihood,
        ),
        progress,
        segmenter,
    )
    notes = [*left_out, *card.notes]
    drawn = card_pictures(card)
    files = {ending.removeprefix("_") or "card": f"{output.stem}{ending}.png" for ending in drawn}
    pictures = dict(zip(files.values(), drawn.values(), strict=True))
    content: dict[str, object] = {
        "checkpoint": str(given.checkpoint),
        "classifier": None if given.classifier is None else str(given.classifier),
        "regressor": None if given.regressor is None else str(given.regressor),
        "segmenter": None if given.segmenter is None else str(given.segmenter),
        "model": type(model).__name__,
        "weights": sum(weights.numel() for weights in model.parameters() if weights.requires_grad),
        "latent_shape": None if model.latent_shape is None else list(model.latent_shape),
        "training": training_cost(load_checkpoint(given.checkpoint)),
        "classes": card.classes,
        **card.scores(),
        "features": {
            extractor.name: {"size": extractor.size, "resizing": extractor.resizing}
            for extractor in instruments.extractors
        },
        "settings": {
            "count": given.count,
            "seed": given.seed,
            "seeds": given.seeds,
            "batch_size": given.batch_size,
            "train_images": given.train_images,
            "cas_images": given.cas_images,
            "split": SPLIT,
            "floor": f"train against {SPLIT}",
            "image_size": list(model.image_size),
            "image_levels": 256,
            "sampler": sampler or None,
            "average": given.average,
            "averaged_weights": given.average != "none"
            and isinstance(load_checkpoint(given.checkpoint).get("ema_state_dict"), dict),
            "device": str(device),
        },
        "files": files,
        "notes": notes,
        "versions": _versions(),
        "seconds": round(time.monotonic() - start, 2),
    }
    for name, picture in pictures.items():
        with whole(output.with_name(name)) as temporary:
            picture.save(temporary, format="PNG")
    with whole(output) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    console = Console(highlight=False)
    console.width = max(console.width, 110)  # rich would break names at the terminal's edge
    console.print(card_table(card))
    for note in notes:
        print(note)
    print(f"Written to {shown(output)}, with the pictures {', '.join(pictures)} beside it.")
    return 0


def _options() -> argparse.ArgumentParser:
    options = parser(
        "evaluate",
        "Score a generator: are its images recognised (Q), how far are they from real ones "
        "(Fréchet and kernel distances), how different are they from each other (diversity), how well does "
        "it reconstruct. Beside each score stands what real images get: test images under the same "
        "classifier, training against test images for distances.",
    )
    options.add_argument(
        "--classifier",
        type=Path,
        metavar="FILE",
        help="checkpoint of a classifier trained on the same classes, which judges; none: no Q, and "
        "distances in pixels only. For a model without classes it gives features, but no Q",
    )
    options.add_argument(
        "--regressor",
        type=Path,
        metavar="FILE",
        help="checkpoint of a regressor trained on the same scores: how near the scores that it reads in "
        "generated images are to those that were asked for, beside what it reads in real images",
    )
    options.add_argument(
        "--segmenter",
        type=Path,
        metavar="FILE",
        help="checkpoint of a segmenter trained on real pairs of the same data: how much of the masks it "
        "finds again in images generated from them (IoU), beside what it finds in the real images",
    )
    options.add_argument(
        "--features",
        type=_names,
        metavar="A,B,...",
        help="what distances and neighbours are measured in: pixels, details, inception, classifier, "
        "regressor, segmenter, dinov2, torchvision:NAME, script:FILE.pt; none: pixels, details, inception "
        "where its weights are, and the given judges",
    )
    options.add_argument(
        "--count",
        type=positive,
        default=128,
        metavar="N",
        help="images to generate per class; in total where the model has no classes",
    )
    options.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="seed of the first image (the next count up) and of every choice of real images",
    )
    options.add_argument(
        "--seeds",
        type=positive,
        default=1,
        metavar="N",
        help="generate N times, each time with the next seeds, and add mean and half the range of each score",
    )
    options.add_argument(
        "--train-images",
        type=positive,
        default=20_000,
        metavar="N",
        help="look for copies among at most N training images",
    )
    options.add_argument(
        "--cas-images",
        type=not_negative,
        default=2000,
        metavar="N",
        help="classification accuracy score: train a small classifier on at most N generated images and one "
        "on as many real ones; 0: leave it out",
    )
    options.add_argument(
        "--likelihood",
        type=not_negative,
        default=0,
        metavar="N",
        help="flow models of pixels: how many bits each value of at most N test images needs, beside as "
        "many training images. An image takes as long as 2 training steps for each of --likelihood-steps; "
        "0: leave it out",
    )
    options.add_argument(
        "--likelihood-steps",
        type=positive,
        default=64,
        metavar="N",
        help="steps of Heun's solver for --likelihood; too few flatter the model",
    )
    options.add_argument(
        "--data.root",
        dest="root",
        type=Path,
        metavar="FOLDER",
        help="folder of the real data; none: where the checkpoint was trained from",
    )
    options.add_argument(
        "--weights-dir",
        type=Path,
        metavar="FOLDER",
        help="folder of pretrained weights, for fid and kid; none: VEDUTE_WEIGHTS, then torch's cache",
    )
    options.add_argument(
        "--output",
        type=Path,
        metavar="FILE.json",
        help="where to write the card, with FILE.png, FILE_samples.png and further pictures beside it; none: "
        "evaluation.json in the run folder",
    )
    add_sampler_options(options)
    return options


def _names(text: str) -> list[str]:
    """Return the names of an option with several, separated by commas."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names separated by commas, got '{text}'")
    return names


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from vedute import __version__

    return {"vedute": __version__, **{package: version(package) for package in _PACKAGES}}
