"""Scores as they stand in a card: where, how they are written, what they say, which way they are better."""

from __future__ import annotations

from collections.abc import Callable

from vedute.report.comparison import number
from vedute.report.comparison_scores import Interval, IntervalReader, Reader, Score
from vedute.report.run_record import RunRecord

JUDGED = ("data", "conditions", "split", "image size", "classifier")
_COUNTED = ("data", "split", "image size", "count")

# Reading a card


def at(*keys: str) -> Reader:
    """Read the number at a path in a card."""
    return lambda run: number(run.scored(*keys))


def ends(*keys: str) -> IntervalReader:
    """Read an interval that stands as a list of two."""

    def read(run: RunRecord) -> Interval | None:
        found = run.scored(*keys)
        if not isinstance(found, list) or len(found) != 2:
            return None
        low, high = number(found[0]), number(found[1])
        return None if low is None or high is None else (low, high)

    return read


def limits(*keys: str) -> IntervalReader:
    """Read an interval that stands as ``low`` and ``high`` beside its value."""

    def read(run: RunRecord) -> Interval | None:
        low, high = number(run.scored(*keys, "low")), number(run.scored(*keys, "high"))
        return None if low is None or high is None else (low, high)

    return read


def half_range(name: str) -> Reader:
    """Read half the range of a score over blocks of seeds."""
    return at("seeds", name, "half_range")


# Texts


def per_cent(value: float) -> str:
    """Return a share for people."""
    return f"{100 * value:.1f} %"


def plain(value: float) -> str:
    """Return a number with four digits."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def two(value: float) -> str:
    """Return a number with two digits after the point."""
    return f"{value:.2f}"


def millions(value: float) -> str:
    """Return a number of weights for people."""
    return f"{value / 1e6:.1f} M" if value >= 1e6 else f"{value / 1e3:,.0f} k"


def duration(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


# The columns


def distance(name: str, about: str, count: bool = True) -> Score:
    """Return a distance to real images; ``count``: whether it depends on how many images there are."""
    judged = ("classifier",) if name.endswith("_classifier") else ()
    return Score(
        name,
        about,
        at("distances", name, "generated"),
        plain,
        "lowest",
        real=at("distances", name, "floor"),
        interval=ends("distances", name, "interval"),
        half_range=half_range(name),
        needs=(*(_COUNTED if count else _COUNTED[:3]), *judged),
    )


def manifold(kind: str, feature: str, about: str) -> Score:
    """Return precision, recall, density or coverage in given features."""
    key = f"{kind}_{feature}"
    return Score(
        kind,
        about,
        at("manifold", key, "generated"),
        two,
        "nearest" if kind == "density" else "highest",  # density may exceed 1 where samples crowd
        real=at("manifold", key, "floor"),
        interval=ends("manifold", key, "interval"),
        half_range=half_range(key),
        feature=feature,
        needs=(*_COUNTED, *(("classifier",) if feature == "classifier" else ())),
    )


def _in_features(feature: str) -> tuple[str, ...]:
    return JUDGED if feature == "classifier" else JUDGED[:4]


def diversity(feature: str) -> Score:
    """Return how different images of one class are, against real ones."""

    def half(run: RunRecord) -> float | None:
        absolute = number(run.scored("seeds", f"diversity/{feature}", "half_range"))
        real = number(run.scored("diversity", feature, "real"))
        return absolute / real if absolute is not None and real else None

    return Score(
        "diversity",
        "Mean distance of two generated images of one class over that of two real ones; 1 is as different "
        "as real images, far below 1 the model repeats itself.",
        at("diversity", feature, "ratio"),
        two,
        "nearest",
        real=lambda run: None if run.scored("diversity", feature, "ratio") is None else 1.0,
        interval=ends("diversity", feature, "interval"),
        half_range=half,
        feature=feature,
        needs=_in_features(feature),
    )


def two_sample(feature: str) -> Score:
    """Return how well generated and real images can be told apart."""
    return Score(
        "told from real",
        "How often a small classifier trained for it tells generated from real images that it has not "
        "seen; 50 % is guessing.",
        at("two_sample", feature, "generated", "accuracy"),
        per_cent,
        "nearest",
        aim="50 %",
        target=lambda run: 0.5,
        real=at("two_sample", feature, "real", "accuracy"),
        interval=limits("two_sample", feature, "generated"),
        feature=feature,
        needs=(*_COUNTED, *(("classifier",) if feature == "classifier" else ())),
    )


def _memory(
    feature: str, key: str, title: str, about: str, real: Reader, shown: Callable[[float], str]
) -> Score:
    return Score(
        title,
        about,
        at("memorisation", feature, key),
        shown,
        "nearest",
        aim="real",
        target=real,
        real=real,
        feature=feature,
        needs=(*_COUNTED, "training images", *(("classifier",) if feature == "classifier" else ())),
    )


def nearest_ratio(feature: str) -> Score:
    """Return how near to training images generated ones are, against held-out real ones."""
    return _memory(
        feature,
        "distance_ratio",
        "distance to training",
        "Distance of generated images to their nearest training image over that of held-out real images; "
        "well below 1 the model copies.",
        lambda run: None if run.scored("memorisation", feature, "distance_ratio") is None else 1.0,
        two,
    )


def usefulness(way: str, title: str, about: str) -> Score:
    """Return the accuracy of a classifier trained on one kind of images and tested on the other."""
    return Score(
        title,
        about,
        at("cas", way, "accuracy"),
        per_cent,
        "highest",
        real=at("cas", "ceiling", "accuracy"),
        interval=limits("cas", way),
        half_range=half_range(f"cas/{way}"),
        needs=("data", "conditions", "split", "image size", "count", "CAS images"),
    )


def pair_score(key: str, title: str, about: str) -> Score:
    """Return how like the real image of its condition a generated one is."""
    return Score(
        title,
        about,
        at("pairs", "generated", key),
        two if key.startswith("psnr") else plain,
        "lowest" if key == "lpips" else "highest",
        needs=("data", "conditions", "split", "image size"),
    )


def reconstruction(key: str, title: str) -> Score:
    """Return how like themselves test images are after the model has encoded and decoded them."""
    return Score(
        f"reconstruction {title}",
        "Of test images through the model and back.",
        at("reconstruction", key),
        two if key == "psnr" else plain,
        "lowest" if key == "lpips" else "highest",
        interval=ends("reconstruction", "interval", key),
    )


def copies(feature: str) -> list[Score]:
    """Return the shares of images that are nearly copies, of training images and of each other."""
    return [
        _memory(
            feature,
            "close_share",
            "closer than real",
            "Share of generated images that lie closer to a "
            "training image than nearly all held-out real images do.",
            at("memorisation", feature, "close_share_real"),
            per_cent,
        ),
        _memory(
            feature,
            "duplicate_share",
            "duplicates",
            "Share of generated images with another nearly equal one.",
            at("memorisation", feature, "duplicate_share_real"),
            per_cent,
        ),
    ]
