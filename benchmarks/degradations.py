"""Which score catches which fault: a quality card of real photos, damaged in known ways.

    python benchmarks/degradations.py --root DATA --classifier JUDGE.ckpt

The training split is halved, of each class as many. One half is what the 'generator' was trained on, and what
its images are searched for as copies of; the other half, as it is or damaged, is what it 'generates'. Test
photos are the test photos. The judge was trained on both halves: a row of validation photos says what that
does.

Cards that were made are kept beside the table (.json) and not made again: call it again after an
interruption.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import torch
from damages import UNDAMAGED, Damage, Half, StandIn, by_class, damages
from degradation_table import Score, tables
from PIL import Image
from torch import Tensor

from vedute.batch import Condition
from vedute.checkpoints import load_datamodule
from vedute.files import whole
from vedute.metrics.card import Card, Settings
from vedute.metrics.details import plain_features
from vedute.metrics.judge import Judge, load_judge
from vedute.metrics.learners import Advance, Answer, SmallNetwork, silent
from vedute.metrics.make_card import make_card
from vedute.metrics.proportion import binomial_interval
from vedute.metrics.sets import Instruments
from vedute.promises import ImageData, as_image_data
from vedute.report.grid import image_grid

SEEDS = 3  # cards of undamaged photos: other photos each


def card_of(damage: Damage, data: ImageData, half: Half, judge: Judge, settings: Settings) -> Card:
    """Return the card of a damage."""
    instruments = Instruments(
        data.condition_names, data.image_channels, judge, plain_features(data.image_channels, data.image_size)
    )
    generator = StandIn(data, damage.pools, damage.change, damage.split)
    return make_card(generator, half, instruments, settings, no_bar)  # type: ignore[arg-type]


def _with_interval(share: float, count: int) -> Score:
    if not math.isfinite(share):
        return share, math.nan, math.nan
    return share, *binomial_interval(round(share * count), count)


@contextmanager
def trained_once() -> Iterator[None]:
    """Train a classifier that was trained on the same images already only once: that on real photos."""
    known: dict[str, Answer] = {}
    train = SmallNetwork.fit

    def fit(
        learner: SmallNetwork,
        rows: Tensor,
        labels: Tensor,
        classes: int,
        seed: int,
        advance: Advance = silent,
    ) -> Answer:
        content = rows.numpy().tobytes() + labels.numpy().tobytes() + bytes(f"{classes} {seed}", "ascii")
        key = hashlib.sha256(content).hexdigest()
        if key not in known:
            known[key] = train(learner, rows, labels, classes, seed, advance)
        return known[key]

    with mock.patch.object(SmallNetwork, "fit", fit):
        yield


def no_bar(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show nothing."""
    return nullcontext(lambda count: None)


def scores_of(card: Card) -> dict[str, Score]:
    """Return value, lower and upper end of each score of a card; NaN where there is no interval."""
    values = {**card.distances, **card.manifold}
    if card.quality is not None:
        values["q"] = float(card.quality.mean)
    values |= {
        f"diversity_ratio/{name}": sides["ratio"] or math.nan for name, sides in card.diversity.items()
    }
    nothing = (math.nan, math.nan)
    found: dict[str, Score] = {
        name: (value, *card.intervals.get(name, nothing)) for name, value in values.items()
    }
    for name, sides in card.two_sample.items():
        one = sides["generated"]
        found[f"two_sample/{name}"] = (one["accuracy"], one["low"], one["high"])
    if card.substitution is not None:
        for way in ("generated_to_real", "real_to_generated"):
            score = getattr(card.substitution, way)
            found[f"cas/{way}"] = (float(score.accuracy), float(score.low), float(score.high))
    for name, memory in card.memory.items():
        found[f"memory/distance_ratio/{name}"] = (memory.distance_ratio, *nothing)
        for share in ("close_share", "duplicate_share"):
            found[f"memory/{share}/{name}"] = _with_interval(getattr(memory, share), card.images[0])
    return found


def planned(chosen: Sequence[Damage]) -> Iterator[tuple[str, int, Damage]]:
    """Yield the cards to make: name, which photos of the pools, and the damage."""
    for one in chosen:
        if one.name == UNDAMAGED:
            yield from ((f"{one.name}, seed {seed}", seed, one) for seed in range(SEEDS))
        else:
            yield one.name, 0, one


def picture(data: ImageData, chosen: Sequence[Damage]) -> Image.Image:
    """Return an image of each class (a column) for each damage (a row), in 256 colours: a small file."""
    names = data.condition_names
    condition, seeds = Condition(torch.eye(len(names))), torch.ones(len(names), dtype=torch.int64)
    rows = [StandIn(data, one.pools, one.change, one.split).sample(condition, seeds) for one in chosen]
    grid = image_grid(torch.cat(rows), len(names), [one.name for one in chosen], names, scale=1)
    return grid.quantize(256, dither=Image.Dither.NONE)


def main(args: Sequence[str] | None = None) -> None:
    """Make the cards, print and write the table, and a picture of the damages."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--root", type=Path, help="folder of real photos; none: the judge's own, or painted")
    options.add_argument("--classifier", type=Path, required=True, help="checkpoint of the judge")
    options.add_argument("--count", type=int, default=128, help="images of each class")
    options.add_argument("--cas-images", type=int, default=512, help="to train classifiers on; 0: no CAS")
    options.add_argument("--only", nargs="+", help="parts of the names of damages; none: all")
    options.add_argument("--output", type=Path, default=Path("degradations.md"))
    given = options.parse_args(args)
    overrides = {} if given.root is None else {"root": str(given.root)}
    data = as_image_data(load_datamodule(given.classifier, overrides))
    judge = load_judge(given.classifier)
    pools = by_class(data.labels("train"), 0)
    known, new = ([rows[part::2] for rows in pools] for part in range(2))
    half = Half(data, torch.cat(known).sort().values)
    chosen = damages(data, known, new, given.count)
    if given.only is not None:
        chosen = [
            one for one in chosen if one.name == UNDAMAGED or any(part in one.name for part in given.only)
        ]
    picture(data, chosen).save(given.output.with_suffix(".png"), optimize=True)
    asked = {"count": given.count, "cas_images": given.cas_images, "photos": len(torch.cat(pools))}
    kept = given.output.with_suffix(".json")
    cards = _read(kept, asked)
    with trained_once():
        for name, seed, one in planned(chosen):
            if name in cards:
                continue
            settings = Settings(
                given.count, seed=seed * given.count * len(pools), cas_images=given.cas_images
            )
            cards[name] = scores_of(card_of(one, data, half, judge, settings))
            print(name, {key: round(score[0], 3) for key, score in cards[name].items()}, flush=True)
            with whole(kept) as temporary:
                temporary.write_text(json.dumps({"asked": asked, "cards": cards}), encoding="utf-8")
    clean = [cards[f"{UNDAMAGED}, seed {seed}"] for seed in range(SEEDS)]
    rows = {one.name: cards[one.name] for one in chosen if one.name != UNDAMAGED}
    with whole(given.output) as temporary:
        temporary.write_text(tables(clean, rows), encoding="utf-8")
    print(given.output.read_text(encoding="utf-8"))


def _read(file: Path, asked: Mapping[str, int]) -> dict[str, dict[str, Score]]:
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content["cards"] if content.get("asked") == asked else {}


if __name__ == "__main__":
    main()
