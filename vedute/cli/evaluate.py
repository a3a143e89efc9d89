"""``evaluate``: the quality card of one generator, as a table, JSON and a picture."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedute.cli.inference import parser, pick_device, positive, progress
from vedute.errors import CheckpointError, ConfigurationError
from vedute.files import check_place, whole

if TYPE_CHECKING:
    import torch

    from lightning_modules.base import GenerativeModule
    from vedute.metrics.judge import MaskJudge
    from vedute.metrics.sets import Instruments

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
    from vedute.metrics.card import SPLIT, make_card
    from vedute.metrics.features import judge_features
    from vedute.promises import as_generator, as_image_data
    from vedute.report.card import card_picture, card_table
    from vedute.report.run_record import training_cost

    model = load_module(given.checkpoint, GenerativeModule, device)
    instruments, left_out = _instruments(model, given, device)
    segmenter = _segmenter(model, given, device)
    if segmenter is not None:
        instruments.extractors.append(judge_features(segmenter, "segmenter"))
    overrides = {} if given.root is None else {"root": str(given.root)}
    data = as_image_data(load_datamodule(given.checkpoint, overrides))
    card = make_card(
        as_generator(model),
        data,
        instruments,
        given.count,
        given.seed,
        given.batch_size,
        progress,
        blocks=given.seeds,
        segmenter=segmenter,
    )
    notes = [*left_out, *card.notes]
    content: dict[str, object] = {
        "checkpoint": str(given.checkpoint),
        "classifier": None if given.classifier is None else str(given.classifier),
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
            "split": SPLIT,
            "floor": f"train against {SPLIT}",
            "image_size": list(model.image_size),
            "image_levels": 256,
            "averaged_weights": isinstance(load_checkpoint(given.checkpoint).get("ema_state_dict"), dict),
            "device": str(device),
        },
        "notes": notes,
        "versions": _versions(),
        "seconds": round(time.monotonic() - start, 2),
    }
    with whole(output) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    picture = output.with_suffix(".png")
    with whole(picture) as temporary:
        card_picture(card).save(temporary, format="PNG")
    console = Console(highlight=False)
    console.width = max(console.width, 110)  # rich would break names at the terminal's edge
    console.print(card_table(card))
    for note in notes:
        print(note)
    print(f"Written to {shown(output)} and {shown(picture)}")
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
        "--segmenter",
        type=Path,
        metavar="FILE",
        help="checkpoint of a segmenter trained on real pairs of the same data: how much of the masks it "
        "finds again in images generated from them (IoU), beside what it finds in the real images",
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
        help="where to write the card (and FILE.png beside it); none: evaluation.json in the run folder",
    )
    return options


def _instruments(
    model: GenerativeModule, given: argparse.Namespace, device: torch.device
) -> tuple[Instruments, list[str]]:
    """Return what can be measured with here, and a line for each thing that cannot.

    Raises:
        CheckpointError: The classifier cannot be used for this model.
    """
    from vedute.metrics.details import plain_features
    from vedute.metrics.features import (
        MissingWeightsError,
        find_inception,
        inception_features,
    )
    from vedute.metrics.judge import load_judge
    from vedute.metrics.sets import Instruments

    left_out: list[str] = []
    names = model.condition_names if model.condition_kind == "class" else []
    judge = None
    if given.classifier is None:
        left_out.append("No --classifier is given: Q and the distances in its features are left out.")
    else:
        judge = load_judge(given.classifier, device)
        if model.condition_kind not in ("class", "none"):
            raise CheckpointError(
                f"{given.checkpoint} has no classes (its condition kind is '{model.condition_kind}') for a "
                "classifier to recognise: leave out --classifier."
            )
        if not names:
            left_out.append("The model has no classes: the classifier gives features, but no Q.")
    extractors = plain_features(model.image_channels, model.image_size)
    try:
        extractors.append(inception_features(find_inception(given.weights_dir), device))
    except MissingWeightsError as missing:
        left_out.append(str(missing))
    return Instruments(names, model.image_channels, judge, extractors), left_out


def _segmenter(model: GenerativeModule, given: argparse.Namespace, device: torch.device) -> MaskJudge | None:
    """Return the segmenter that was asked for.

    Raises:
        CheckpointError: It cannot be used for this model.
    """
    from vedute.metrics.judge import load_mask_judge

    if given.segmenter is None:
        return None
    if model.condition_kind != "image" or model.scale != 1 or model.condition_channels != 1:
        raise CheckpointError(
            f"{given.checkpoint} does not make images from masks: there is no mask for a segmenter to find. "
            "Leave out --segmenter."
        )
    segmenter = load_mask_judge(given.segmenter, device)
    if segmenter.image_channels != model.image_channels:
        raise CheckpointError(
            f"The segmenter takes images with {segmenter.image_channels} channels, the generator makes "
            f"{model.image_channels}. Train a segmenter with data.image_channels {model.image_channels}."
        )
    return segmenter


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from vedute import __version__

    return {"vedute": __version__, **{package: version(package) for package in _PACKAGES}}
