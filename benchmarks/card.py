"""What a quality card costs, and which share of it networks take.

    python benchmarks/card.py --checkpoint MODEL.ckpt --classifier JUDGE.ckpt --root DATA --count 2500
    python benchmarks/card.py --checkpoint MODEL.ckpt --classifier JUDGE.ckpt --against torch-fidelity

The first makes a card without Inception as ``evaluate`` does and prints a profile by part; then a small
second card of the same data, whose real features are read from the cache. The second compares Fréchet and
kernel distances and precision and recall with torch-fidelity's own functions on the same features, in turns:
those of the judge, and drawn ones as wide as Inception's.

Times are processor time, as other work on the machine stretches all others.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest import mock

import torch
from torch import Tensor

from lightning_modules.base import GenerativeModule
from vedute.checkpoints import load_datamodule, load_module
from vedute.metrics import fidelity, learners, make_card, real_sets, reconstruction
from vedute.metrics.card import Settings
from vedute.metrics.details import plain_features
from vedute.metrics.distances import FrechetDistance, KernelDistance
from vedute.metrics.features import judge_features
from vedute.metrics.judge import Judge, load_judge
from vedute.metrics.manifold import neighbourhoods
from vedute.metrics.sets import Instruments, generated_batches, real_batches, wanted_images
from vedute.promises import ImageData, as_generator, as_image_data

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_SUBSET = 1000  # images of a kernel distance

_WORK = (
    (make_card, "memorisation", "neighbours: copies"),
    (fidelity, "neighbourhoods", "neighbours: precision, coverage"),
    (fidelity, "distances", "distances"),
    (fidelity, "frechet_interval", "intervals of distances"),
    (fidelity, "_kernel_interval", "intervals of distances"),
    (fidelity, "_manifold_intervals", "intervals of the rest"),
    (make_card, "balanced_interval", "intervals of the rest"),
    (make_card, "diversities", "diversity"),
    (make_card, "diversity_interval", "diversity"),
    (reconstruction, "image_scores", "SSIM and PSNR of reconstructions"),
    (real_sets.RealSets, "_digest", "digest of real pixels"),
)
"""Where a card does other things than run networks."""

_TRAINING = ((learners.SmallNetwork, "training for CAS"), (learners.SmallPerceptron, "two-sample test"))
"""Networks that a card trains itself; asking them is counted with it."""


class Profile:
    """Processor time by part; a part inside another one is not counted in that."""

    def __init__(self) -> None:
        """Start with no parts."""
        self.seconds: dict[str, float] = {}
        self.networks: set[str] = set()
        """The parts that are networks."""
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as a part's."""
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def timed(
        self, name: str, work: Callable[Parameters, Result], network: bool = False
    ) -> Callable[Parameters, Result]:
        """Return a function that is counted as a part."""
        if network:
            self.networks.add(name)

        @wraps(work)
        def counted(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            with self.part(name):
                return work(*args, **kwargs)

        return counted

    def table(self) -> str:
        """Return the parts as markdown, the longest first, and the share of networks."""
        total = sum(self.seconds.values())
        lines = ["| part | network | s | share |", "| --- | --- | --- | --- |"]
        for name, seconds in sorted(self.seconds.items(), key=lambda one: -one[1]):
            network = "yes" if name in self.networks else ""
            lines.append(f"| {name} | {network} | {seconds:.1f} | {seconds / total:.1%} |")
        share = sum(self.seconds.get(name, 0.0) for name in self.networks) / total
        return "\n".join([*lines, f"| **all** | **{share:.1%}** | {total:.1f} | |"])

    def _count(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


@contextmanager
def watched(profile: Profile) -> Iterator[None]:
    """Count what a card does, wherever it does it."""
    with ExitStack() as stack:
        for place, name, title in _WORK:
            counted = profile.timed(title, getattr(place, name))
            stack.enter_context(mock.patch.object(place, name, counted))
        for kind, title in _TRAINING:
            stack.enter_context(mock.patch.object(kind, "fit", _answering(profile, title, kind.fit)))
        yield


def _answering(
    profile: Profile, title: str, fit: Callable[Parameters, learners.Answer]
) -> Callable[Parameters, learners.Answer]:
    counted = profile.timed(title, fit, network=True)

    @wraps(fit)
    def both(*args: Parameters.args, **kwargs: Parameters.kwargs) -> learners.Answer:
        return profile.timed(title, counted(*args, **kwargs), network=True)

    return both


def profiled(
    model: GenerativeModule, data: ImageData, judge: Judge, settings: Settings
) -> tuple[Profile, int, float]:
    """Make a card.

    Returns:
        The profile, the number of images that the judge saw, and seconds on the clock.
    """
    profile, seen = Profile(), 0

    def looking(image: Tensor) -> Tensor:
        nonlocal seen
        seen += len(image)
        return extractor.extract(image)

    extractor = judge_features(judge)
    counted = [replace(extractor, extract=profile.timed("the judge's features", looking, network=True))]
    for plain in plain_features(model.image_channels, model.image_size):
        counted.append(replace(plain, extract=profile.timed("pixels and details", plain.extract)))
    names = model.condition_names if model.condition_kind == "class" else []
    instruments = Instruments(names, model.image_channels, judge, counted)
    steps = {"sample": "generating", "reconstruct": "reconstructing", "latent_scores": "reconstructing"}
    kept = {name: getattr(model, name) for name in steps}
    start = time.monotonic()
    try:
        for name, title in steps.items():
            setattr(model, name, profile.timed(title, kept[name], network=True))
        with watched(profile), profile.part("the rest"):
            make_card.make_card(as_generator(model), data, instruments, settings, no_bar)
    finally:
        for name in steps:
            delattr(model, name)
    return profile, seen, time.monotonic() - start


def no_bar(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show nothing."""
    return nullcontext(lambda count: None)


def cards(model: GenerativeModule, data: ImageData, judge: Judge, settings: Settings) -> None:
    """Print the profile of a card, and what a second one costs that finds real features in the cache."""
    again = replace(settings, count=min(64, settings.count), cas_images=0)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(real_sets, "cache_folder", lambda: Path(folder)),
    ):
        profile, seen, seconds = profiled(model, data, judge, settings)
        print(f"First card: {seconds:.0f} s on the clock, the judge saw {seen:,} images.")
        print(profile.table(), flush=True)
        profile, seen, seconds = profiled(model, data, judge, again)
    print(f"Second card, {again.count} images of a class, no CAS: {seconds:.0f} s, {seen:,} images seen by")
    print("the judge: those generated, as real ones are read from the cache.")


# Beside torch-fidelity.


def against(name: str, generated: Tensor, real: Tensor, repeats: int) -> None:
    """Print times and values of this package and of torch-fidelity on the same features, in turns."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    size, width = min(_SUBSET, len(real), len(generated)), real.shape[1]

    def frechet() -> float:
        metric = FrechetDistance(width, sync_on_compute=False)
        metric.update(generated, real=False)
        metric.update(real, real=True)
        return float(metric.compute())

    def their_frechet() -> float:
        sides = [fid_features_to_statistics(side) for side in (generated, real)]
        return float(fid_statistics_to_metric(*sides, False)["frechet_inception_distance"])

    def kernel(first: Tensor, second: Tensor, subsets: int) -> float:
        metric = KernelDistance(subset_size=size, subsets=subsets, sync_on_compute=False)
        metric.update(first, real=False)
        metric.update(second, real=True)
        return float(metric.compute())

    def their_kernel(first: Tensor, second: Tensor, subsets: int) -> float:
        given = {"kid_subsets": subsets, "kid_subset_size": size, "verbose": False}
        return float(kid_features_to_metric(first, second, **given)["kernel_inception_distance_mean"])

    def precision() -> float:
        return float(neighbourhoods(real, generated).scores()["precision"])

    def their_precision() -> float:
        return float(prc_features_to_metric(generated, real, verbose=False)["precision"])

    some = generated[:size], real[:size]
    compared: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "Fréchet distance": (frechet, their_frechet),
        f"kernel distance of {size} images": (lambda: kernel(*some, 1), lambda: their_kernel(*some, 1)),
        "kernel distance, 100 subsets": (
            lambda: kernel(generated, real, 100),
            lambda: their_kernel(generated, real, 100),
        ),
        "precision (and recall; ours density, coverage)": (precision, their_precision),
    }
    print(f"{name}: {len(generated):,} generated, {len(real):,} real images, width {width}")
    print("| score | ours | torch-fidelity | ours, s | torch-fidelity, s | ours / theirs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for title, sides in compared.items():
        times: list[list[float]] = [[], []]
        values = [0.0, 0.0]
        for _ in range(repeats):
            for number, work in enumerate(sides):
                start = time.process_time()
                values[number] = work()
                times[number].append(time.process_time() - start)
        ours, theirs = map(statistics.median, times)
        ratio = statistics.median([a / b for a, b in zip(*times, strict=True)])
        print(
            f"| {title} | {values[0]:.6g} | {values[1]:.6g} | {ours:.2f} | {theirs:.2f} | {ratio:.2f} |",
            flush=True,
        )


def judged(model: GenerativeModule, data: ImageData, judge: Judge, settings: Settings) -> list[Tensor]:
    """Return the judge's features of generated and of training images."""
    names = model.condition_names if model.condition_kind == "class" else []
    instruments = Instruments(names, model.image_channels, judge)
    generator = as_generator(model)
    asked = wanted_images(generator, data, "test", settings.count, settings.seed)
    sides = (
        generated_batches(generator, *asked, settings.batch_size),
        real_batches(data, "train", torch.arange(data.size("train")), settings.batch_size, bool(names)),
    )
    return [instruments.measure(side).features["classifier"] for side in sides]


def main(args: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--checkpoint", type=Path, required=True, help="the model")
    options.add_argument("--classifier", type=Path, required=True, help="the judge")
    options.add_argument("--root", type=Path, help="folder of the data; none: what the model was trained on")
    options.add_argument("--count", type=int, default=2500, help="images of each class")
    options.add_argument("--cas-images", type=int, default=2000)
    options.add_argument("--against", choices=["torch-fidelity"], help="compare with it; no cards")
    options.add_argument("--width", type=int, default=2048, help="of drawn features beside it; 0: none")
    options.add_argument("--repeats", type=int, default=3, help="of each comparison")
    given = options.parse_args(args)
    model = load_module(given.checkpoint, GenerativeModule)
    overrides = {} if given.root is None else {"root": str(given.root)}
    data = as_image_data(load_datamodule(given.checkpoint, overrides))
    judge = load_judge(given.classifier)
    settings = Settings(given.count, cas_images=given.cas_images)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if given.against is None:
        cards(model, data, judge, settings)
        return
    generated, real = judged(model, data, judge, settings)
    against("The judge's features", generated, real, given.repeats)
    if given.width:
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn(len(side), given.width, generator=generator) for side in (generated, real)]
        against("Drawn features", 1.1 * drawn[0] + 0.1, drawn[1], given.repeats)


if __name__ == "__main__":
    main()
