"""The columns of a comparison: where each score stands in a card, what it says and which way it is better."""

from __future__ import annotations

from collections.abc import Sequence

from vedute.report.card_scores import (
    JUDGED,
    at,
    copies,
    distance,
    diversity,
    duration,
    ends,
    half_range,
    manifold,
    millions,
    nearest_ratio,
    pair_score,
    per_cent,
    plain,
    reconstruction,
    two,
    two_sample,
    usefulness,
)
from vedute.report.comparison import classes_of, weights_of
from vedute.report.comparison_scores import Score
from vedute.report.run_record import RunRecord

MOST_MAIN = 10
"""Columns that are shown first; the others are folded."""

_FEATURES = ("classifier", "segmenter", "regressor", "inception", "dinov2")  # the telling ones first


def score_columns(runs: Sequence[RunRecord]) -> tuple[list[Score], list[Score]]:
    """Return the most important scores that any of the runs has, and the others that any has."""
    features = _features(runs)
    main = _main(features[0] if features else "classifier")
    rest = [*_context(), *_rest(runs, features)]
    here = [score for score in main if _any(score, runs)]
    shown = [*here, *(score for score in _context() if _any(score, runs))][:MOST_MAIN]
    names = {score.name for score in shown}
    others = {score.name: score for score in [*here, *rest] if score.name not in names}
    return shown, [score for score in others.values() if _any(score, runs)]


def _any(score: Score, runs: Sequence[RunRecord]) -> bool:
    return any(score.value(run) is not None for run in runs)


def _features(runs: Sequence[RunRecord]) -> list[str]:
    """Return the names of features that scores are measured in, the most telling first."""
    found: dict[str, None] = {}
    for run in runs:
        for part, prefixes in (("distances", ("fd_", "kd_")), ("manifold", ("precision_", "recall_"))):
            for name in _keys(run, part):
                for prefix in prefixes:
                    if name.startswith(prefix):
                        found[name.removeprefix(prefix)] = None
        for part in ("diversity", "two_sample", "memorisation"):
            found |= dict.fromkeys(_keys(run, part))
    order = {name: place for place, name in enumerate(_FEATURES)}
    return sorted(found, key=lambda name: order.get(name, len(order) + (name == "pixels")))


def _keys(run: RunRecord, *path: str) -> list[str]:
    found = run.scored(*path)
    return [str(name) for name in found] if isinstance(found, dict) else []


def _main(feature: str) -> list[Score]:
    quality = Score(
        "Q",
        "Share of generated images that a classifier recognises as the class they were asked for, mean "
        "over the classes.",
        at("quality", "generated", "mean"),
        per_cent,
        "highest",
        real=at("quality", "ceiling", "mean"),
        interval=ends("quality", "interval", "mean"),
        half_range=half_range("q"),
        needs=JUDGED,
    )
    error = Score(
        "score error",
        "Mean difference between the scores asked for and those that a regressor sees.",
        at("agreement", "generated", "mean_absolute_error", "mean"),
        plain,
        "lowest",
        real=at("agreement", "ceiling", "mean_absolute_error", "mean"),
        needs=("data", "conditions", "split", "image size", "regressor"),
    )
    pairs = [
        pair_score("psnr", "PSNR of pairs, dB", "Generated against real images of the same conditions."),
        pair_score("ssim", "SSIM of pairs", "Structural similarity of the same."),
        Score(
            "IoU of masks",
            "Overlap of the masks asked for with those that a segmenter finds in generated images.",
            at("pairs", "overlap", "generated", "iou"),
            per_cent,
            "highest",
            real=at("pairs", "overlap", "real", "iou"),
            needs=("data", "conditions", "split", "image size", "segmenter"),
        ),
    ]
    return [
        quality,
        error,
        *pairs,
        distance("fid", "Fréchet distance to real images in Inception's features."),
        distance(f"fd_{feature}", f"Fréchet distance to real images in features of {feature}."),
        manifold("precision", feature, "Share of generated images that lie among the real ones."),
        manifold("recall", feature, "Share of real images that lie among the generated ones."),
        diversity(feature),
        usefulness(
            "generated_to_real",
            "CAS",
            "Accuracy on real test images of a classifier trained on generated images only.",
        ),
        two_sample(feature),
        nearest_ratio(feature),
    ]


def _context() -> list[Score]:
    return [
        Score(
            "training time",
            "Processor time of the whole training, all cores together.",
            lambda run: run.cost["processor_seconds"],
            duration,
            needs=(),
        ),
        Score(
            "weights",
            "Trainable weights, a discriminator's included.",
            lambda run: float(weights_of(run)),
            millions,
            needs=(),
        ),
    ]


def _rest(runs: Sequence[RunRecord], features: Sequence[str]) -> list[Score]:
    found = [
        Score(
            "Q, top 2",
            "Share of generated images whose class is among the classifier's first two.",
            at("quality", "top2", "generated", "mean"),
            per_cent,
            "highest",
            real=at("quality", "top2", "ceiling", "mean"),
            needs=JUDGED,
        )
    ]
    for name in dict.fromkeys(name for run in runs for name in classes_of(run)):
        found.append(
            Score(
                f"Q {name}",
                f"Share of images of {name} that are recognised.",
                at("quality", "generated", name),
                per_cent,
                "highest",
                real=at("quality", "ceiling", name),
                interval=ends("quality", "interval", name),
                half_range=half_range(f"q/{name}"),
                needs=JUDGED,
            )
        )
    found += [
        usefulness(
            "real_to_generated",
            "CAS, reversed",
            "Accuracy on generated images of a classifier trained on real images.",
        ),
        Score(
            "rank correlation",
            "Of the scores asked for with those that a regressor sees.",
            at("agreement", "generated", "rank_correlation", "mean"),
            two,
            "highest",
            real=at("agreement", "ceiling", "rank_correlation", "mean"),
            needs=("data", "conditions", "split", "image size", "regressor"),
        ),
        distance("kid", "Kernel distance to real images in Inception's features.", count=False),
    ]
    for feature in features:
        found += [
            distance(f"fd_{feature}", f"Fréchet distance to real images in features of {feature}."),
            distance(f"kd_{feature}", f"Kernel distance in features of {feature}.", count=False),
            manifold("precision", feature, "Share of generated images that lie among the real ones."),
            manifold("recall", feature, "Share of real images that lie among the generated ones."),
            manifold("density", feature, "How densely generated images lie among the real ones; 1 as real."),
            manifold("coverage", feature, "Share of real images with a generated one nearby."),
            diversity(feature),
            two_sample(feature),
            nearest_ratio(feature),
            *copies(feature),
        ]
    found += [
        reconstruction("psnr", "PSNR, dB"),
        reconstruction("ssim", "SSIM"),
        reconstruction("ms_ssim", "MS-SSIM"),
        reconstruction("lpips", "LPIPS"),
        Score(
            "bits per dimension",
            "How unlikely 8-bit pixels of test images are under the model, by its flow: an upper bound.",
            at("likelihood", "bits_per_dimension"),
            plain,
            "lowest",
            interval=ends("likelihood", "interval"),
        ),
        pair_score("lpips", "LPIPS of pairs", "Distance of the same in features of AlexNet."),
    ]
    found += [
        Score(title, about, at("reconstruction", key), plain)
        for key, title, about in (
            ("active_units", "active units", "Latent dimensions that carry something."),
            ("kl", "KL", "Of the latent distribution, nats per image."),
            ("perplexity", "code perplexity", "How many codes are used, evenly counted."),
            ("code_usage", "codes used", "Share of the codes that are used."),
        )
    ]
    found += [
        pair_score("psnr_y", "PSNR of pairs, Y, dB", "On the brightness channel."),
        pair_score("ssim_y", "SSIM of pairs, Y", "On the brightness channel."),
    ]
    return found
