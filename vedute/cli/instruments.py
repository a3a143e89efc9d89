"""What ``evaluate`` measures with: judges from their checkpoints, features by their names."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vedute.errors import CheckpointError, ConfigurationError

if TYPE_CHECKING:
    import torch

    from lightning_modules.base import GenerativeModule
    from vedute.metrics.judge import MaskJudge
    from vedute.metrics.sets import Instruments


def find_instruments(
    model: GenerativeModule, given: argparse.Namespace, device: torch.device
) -> tuple[Instruments, MaskJudge | None, list[str]]:
    """Return what can be measured with here, and a line for each thing that cannot.

    Raises:
        CheckpointError: A judge cannot be used for this model.
        ConfigurationError: Features that mean nothing, or need what was not given.
    """
    from vedute.metrics.extractors import Source, make_extractors
    from vedute.metrics.features import MissingWeightsError
    from vedute.metrics.judge import Measuring, load_judge, load_score_judge, score_columns
    from vedute.metrics.lpips import LEAST, perceptual_difference
    from vedute.metrics.sets import Instruments

    left_out: list[str] = []
    names = model.condition_names if model.condition_kind == "class" else []
    judges: dict[str, Measuring] = {}
    judge = regressor = None
    if given.classifier is not None:
        judge = judges["classifier"] = load_judge(given.classifier, device)
        if model.condition_kind not in ("class", "none"):
            raise CheckpointError(
                f"{given.checkpoint} has no classes (its condition kind is '{model.condition_kind}') for a "
                "classifier to recognise: leave out --classifier."
            )
        if not names:
            left_out.append("The model has no classes: the classifier gives features, but no Q.")
    elif model.condition_kind == "class":
        left_out.append("No --classifier is given: Q and the distances in its features are left out.")
    if given.regressor is not None:
        regressor = judges["regressor"] = load_score_judge(given.regressor, device)
        wanted = model.condition_names if model.condition_kind == "score" else []
        score_columns(regressor, wanted, model.image_channels)
        if not wanted:
            left_out.append("The model has no scores: the regressor gives features, but reads none.")
    segmenter = _segmenter(model, given, device)
    if segmenter is not None:
        judges["segmenter"] = segmenter
    wanted = given.features or ["pixels", "details", "inception", *judges]
    source = Source(model.image_channels, model.image_size, judges, given.weights_dir, device)
    extractors, missing = make_extractors(wanted, source)
    if not extractors:
        raise ConfigurationError(f"None of the features can be had: {' '.join(missing)}")
    scored = [extractor.name for extractor in extractors]
    difference = None
    if (model.has_encoder or model.condition_kind == "image") and min(model.image_size) >= LEAST:
        try:
            difference = perceptual_difference(given.weights_dir, device)
        except MissingWeightsError as absent:
            missing.append(str(absent))
    instruments = Instruments(names, model.image_channels, judge, extractors, regressor, scored, difference)
    return instruments, segmenter, [*left_out, *missing]


def _segmenter(model: GenerativeModule, given: argparse.Namespace, device: torch.device) -> MaskJudge | None:
    """Return the segmenter that was asked for.

    Raises:
        CheckpointError: It cannot be used for this model.
    """
    from vedute.metrics.judge import check_channels, load_mask_judge

    if given.segmenter is None:
        return None
    if model.condition_kind != "image" or model.scale != 1 or model.condition_channels != 1:
        raise CheckpointError(
            f"{given.checkpoint} does not make images from masks: there is no mask for a segmenter to find. "
            "Leave out --segmenter."
        )
    segmenter = load_mask_judge(given.segmenter, device)
    check_channels(segmenter, "segmenter", model.image_channels)
    return segmenter
