"""What the painted raters really think of generated cars, for each strategy of ``sample``.

    python benchmarks/taste.py --checkpoint runs/cvae_residual_cars/0/checkpoints/best.ckpt

The true taste is a function of a car's traits (``vedute.data.painted.cars_taste``), which pixels do
not have. An oracle reads it from pictures: a regressor trained on thousands of cars of another seed with
their true scores, without the moods of the written ones, and on softened pictures too, so that it does
not take blur for a trait. Its error on cars of a third seed is printed first. It is kept in VEDUTE_CACHE.

The judge of best-of knows no more than the model: the written scores of the model's training pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.base import GenerativeModule
from lightning_modules.regressor import Regressor
from vedute.batch import Condition
from vedute.checkpoints import load_datamodule, load_module
from vedute.data.painted.cars import car_traits, painted_cars
from vedute.data.painted.cars_taste import RANGE, RATERS, true_scores
from vedute.errors import ConfigurationError
from vedute.files import cache_folder, whole
from vedute.metrics.diversity import mean_pairwise_distance
from vedute.metrics.features import resize
from vedute.metrics.judge import ScoreJudge, load_score_judge
from vedute.metrics.scores import rank_correlation
from vedute.networks.classifiers import ResidualClassifier
from vedute.promises import as_image_data, as_latent_generator
from vedute.report.grid import image_grid
from vedute.sampling.rankers import score_ranker
from vedute.sampling.score_distribution import LearnedScores, around, standard_limits
from vedute.sampling.strategies import (
    BestOf,
    Direct,
    Ensemble,
    Probability,
    Refine,
    Strategy,
    Truncation,
)

JOINT = ("Moira", "Ferdinando")
"""The second and the fourth rater: whose joint taste counts."""

SIZE = (48, 64)
TRAINING_SEED, TEST_SEED, TEST_CARS = 1001, 1002, 1000
Images = Tensor


def painted(count: int, seed: int) -> tuple[Images, Tensor]:
    """Return painted cars (N, 3, H, W) uint8 and their true scores (N, 6)."""
    folder = painted_cars(SIZE, count, seed) / "images"
    pixels = np.stack([np.asarray(Image.open(folder / f"{n:05d}.jpg")) for n in range(count)])
    scores = [list(true_scores(car_traits(number, seed)).values()) for number in range(count)]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(scores)


def softened(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures (N, C, H, W), each as sharp as it is, or blurred by a random amount."""
    size = (images.shape[-2], images.shape[-1])
    scale = 2 if torch.rand((), generator=generator) < 0.5 else 4
    small = F.interpolate(images, scale_factor=1 / scale, mode="bilinear", antialias=True)
    blurred = F.interpolate(small, size=size, mode="bilinear").clamp(0, 1)
    weight = torch.rand(len(images), 1, 1, 1, generator=generator) * 2 - 0.6  # three in ten stay sharp
    return torch.lerp(images, blurred, weight.clamp(0, 1))


def regressor(
    images: Images, scores: Tensor, names: Sequence[str], widths: Sequence[int], epochs: int
) -> Regressor:
    """Train a regressor of scores (N, D) on pictures (N, 3, H, W) uint8."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = partial(ResidualClassifier, widths=list(widths), blocks=1, dropout=0.1)
    model = Regressor(
        network=network,
        image_size=(images.shape[-2], images.shape[-1]),
        image_channels=3,
        condition_kind="score",
        condition_names=list(names),
        train_size=len(images),
        optimizer=torch.optim.AdamW,
        condition_mean=scores.mean(0).tolist(),
        condition_scale=scores.std(0).tolist(),
    )
    wanted = (scores - scores.mean(0)) / scores.std(0)
    steps = epochs * (len(images) // 64)
    if not steps:
        return model.eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(images), (64,), generator=generator)
        batch = softened(images[rows].float() / 255, generator)
        batch = torch.where(torch.rand(64, 1, 1, 1, generator=generator) < 0.5, batch, batch.flip(-1))
        with torch.autocast("cpu", torch.bfloat16):
            features = model.features(batch)
        loss = F.huber_loss(model.score(features), wanted[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"\r  step {step} of {steps}: loss {loss.item():.3f}", end="", flush=True)
    print()
    return model.eval()


def judged(judge: Regressor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (N, D) in [0, 9] and features (N, F) of pictures (N, 3, H, W), uint8 or in [0, 1]."""
    scores, features = [], []
    with torch.inference_mode():
        for start in range(0, len(images), 250):
            part = images[start : start + 250]
            part = part.float() / 255 if part.dtype == torch.uint8 else part
            features.append(judge.features(resize(part, judge.image_size)))
            scores.append(judge.in_units(judge.score(features[-1])))
    return torch.cat(scores).clamp(*RANGE), torch.cat(features)


def oracle(cars: int, epochs: int) -> tuple[Regressor, dict[str, object]]:
    """Return the regressor of true scores, trained once, and its error on cars that it does not know."""
    kept = cache_folder() / "taste" / f"oracle-{SIZE[0]}x{SIZE[1]}-{cars}-{epochs}.pt"
    images, scores = painted(cars, TRAINING_SEED)
    widths = (24, 48, 96, 192)
    if kept.exists():
        model = regressor(images, scores, RATERS, widths, 0)
        model.load_state_dict(torch.load(kept, weights_only=True))
    else:
        print(f"Training the oracle on {cars} painted cars with true scores ...")
        model = regressor(images, scores, RATERS, widths, epochs)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole(kept) as temporary:
            torch.save(model.state_dict(), temporary)
    fresh, true = painted(TEST_CARS, TEST_SEED)
    soft = softened(fresh.float() / 255, torch.Generator().manual_seed(1))
    facts: dict[str, object] = {"cars": cars, "test_cars": TEST_CARS}
    for name, pictures in (("sharp", fresh), ("softened", soft)):
        found, _ = judged(model, pictures)
        facts[name] = {
            "mean_absolute_error": dict(zip(RATERS, (found - true).abs().mean(0).tolist(), strict=True)),
            "rank_correlation": dict(zip(RATERS, rank_correlation(found, true).tolist(), strict=True)),
        }
    return model, facts


def kept_judge(images: Images, scores: Tensor, names: Sequence[str]) -> Regressor:
    """Return a regressor of the written scores (N, D) of training pictures, trained once per data set."""
    key = hashlib.sha256(images.numpy().tobytes() + scores.numpy().tobytes()).hexdigest()[:16]
    kept, widths = cache_folder() / "taste" / f"judge-{key}.pt", (16, 32, 64, 128)
    if kept.exists():
        model = regressor(images, scores, names, widths, 0)
        model.load_state_dict(torch.load(kept, weights_only=True))
        return model
    print("Training the judge of best-of on the model's training pictures and their written scores ...")
    model = regressor(images, scores, names, widths, 12)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with whole(kept) as temporary:
        torch.save(model.state_dict(), temporary)
    return model


def quality(scores: Tensor, features: Tensor, threshold: float) -> dict[str, float]:
    """Return what the oracle's scores (N, 6) and features (N, F) say of a set of pictures."""
    first, second = (scores[:, RATERS.index(name)] for name in JOINT)
    joint = (first + second) / 2
    return {
        JOINT[0]: float(first.mean()),
        JOINT[1]: float(second.mean()),
        "joint": float(joint.mean()),
        "product": float((first * second).mean()),
        "top_decile": float((joint >= threshold).float().mean()),
        "diversity": float(mean_pairwise_distance(features)),
    }


def strategies(model: GenerativeModule, scores: Tensor, judge: ScoreJudge) -> dict[str, Strategy]:
    """Return what is compared, by name."""
    names, mean, scale = model.condition_names, model.condition_mean, model.condition_scale
    limits = standard_limits(names, model.condition_range, mean, scale)
    found: dict[str, Strategy] = {
        "direct": Direct(),
        "ensemble of 8": Ensemble(8, 0.5, limits),
        "probability, around": Probability(around("score", 0.5, limits)),
        "probability, learned": Probability(LearnedScores(scores, 0.5, *(limits or (None, None)))),
    }
    if model.has_encoder:
        found["refine, 3 rounds"] = Refine(3)
    if model.latent_shape is not None:
        found["truncation 0.7"] = Truncation(0.7)
    rank = score_ranker(judge, names, model.image_channels, mean, scale)
    return {**found, "best of 4": BestOf(4, rank), "best of 16": BestOf(16, rank)}


def training_part(checkpoint: Path) -> tuple[Images, Tensor]:
    """Return the model's training pictures (N, 3, H, W) uint8 and their standardised scores (N, D)."""
    data = as_image_data(load_datamodule(checkpoint))
    parts = [
        data.batch("train", range(s, min(s + 250, data.train_size))) for s in range(0, data.train_size, 250)
    ]
    vectors = [part.condition.vector for part in parts if part.condition.vector is not None]
    images = [(resize(part.image, SIZE) * 255).round().to(torch.uint8) for part in parts]
    return torch.cat(images), torch.cat(vectors)


def generate(
    strategy: Strategy, model: GenerativeModule, vector: Tensor, count: int, batch_size: int = 50
) -> tuple[Tensor, float]:
    """Return ``count`` pictures for one wish (D,) and the seconds that each took."""
    generator = as_latent_generator(model)
    strategy.check(generator)
    parts, start = [], time.perf_counter()
    with torch.inference_mode():
        for first in range(0, count, batch_size):
            seeds = torch.arange(first, min(first + batch_size, count))
            wish = Condition(vector.expand(len(seeds), -1))
            parts.append(strategy.generate(generator, wish, seeds).float().clamp(0, 1))
    return torch.cat(parts), (time.perf_counter() - start) / count


def table(rows: dict[str, dict[str, float]], real: float) -> str:
    """Return the results as a markdown table; diversity as a share of real cars'."""
    head = [*JOINT, "joint", "product", "in the top decile", "diversity", "s an image"]
    lines = ["| pictures | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[key]:.2f}" for key in (*JOINT, "joint")] + [f"{row['product']:.1f}"]
        cells += [f"{row['top_decile']:.0%}", f"{row['diversity'] / real:.2f}"]
        cells.append(f"{row['seconds']:.3f}" if "seconds" in row else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, write JSON and a grid of pictures beside it."""
    options = argparse.ArgumentParser(description="Strategies of 'sample' against the painted raters' taste.")
    options.add_argument("--checkpoint", type=Path, required=True, help="a model of painted cars")
    options.add_argument("--output", type=Path, default=Path("taste.json"), help="JSON; a grid beside it")
    options.add_argument("--regressor", type=Path, help="judge of best-of; none: trained here")
    options.add_argument("--wish", type=float, default=9, help="score that is wanted from both raters")
    options.add_argument("--count", type=int, default=200, help="pictures of each strategy")
    options.add_argument("--cars", type=int, default=10_000, help="cars that the oracle learns from")
    options.add_argument("--epochs", type=int, default=8, help="of the oracle")
    given = options.parse_args()
    model = load_module(given.checkpoint, GenerativeModule)
    if not set(JOINT) <= set(model.condition_names):
        raise ConfigurationError(f"{given.checkpoint} does not know {' and '.join(JOINT)}: data.raters.")
    judge, facts = oracle(given.cars, given.epochs)
    for name in ("sharp", "softened"):
        print(f"Oracle on {name} cars: {json.dumps(facts[name])}")

    images, vectors = training_part(given.checkpoint)
    mean, scale = torch.tensor(model.condition_mean), torch.tensor(model.condition_scale)
    if given.regressor is None:
        known: ScoreJudge = kept_judge(images, vectors * scale + mean, model.condition_names)
    else:
        known = load_score_judge(given.regressor)
    true = torch.tensor([list(true_scores(car_traits(number)).values()) for number in range(2000)])
    joint = true[:, [RATERS.index(name) for name in JOINT]].mean(1)
    threshold = float(joint.quantile(0.9))
    print(f"A tenth of the data set has a joint true score of {threshold:.2f} or more.")

    real, _ = painted(TEST_CARS, TEST_SEED)
    scores, features = judged(judge, real)
    rows = {"real cars": quality(scores, features, threshold)}
    best = scores[:, [RATERS.index(name) for name in JOINT]].mean(1) >= threshold
    rows["real cars of the top decile"] = quality(scores[best], features[best], threshold)
    for name, row in rows.items():
        print(f"{name}: {json.dumps({key: round(value, 3) for key, value in row.items()})}")
    vector = ((torch.full_like(mean, given.wish) - mean) / scale).float()
    others = torch.tensor([name not in JOINT for name in model.condition_names])
    vector[others] = 0  # the others' mean
    shown, titles = [real[:8].float() / 255, real[best][:8].float() / 255], list(rows)
    for name, strategy in strategies(model, vectors, known).items():
        pictures, seconds = generate(strategy, model, vector, given.count)
        scores, features = judged(judge, pictures)
        rows[name] = {**quality(scores, features, threshold), "seconds": seconds}
        shown.append(resize(pictures[:8], SIZE))
        titles.append(f"{name}: {rows[name]['joint']:.1f}")
        print(f"{name}: {json.dumps({key: round(value, 3) for key, value in rows[name].items()})}")
    print("\n" + table(rows, rows["real cars"]["diversity"]))
    result = {"wish": given.wish, "count": given.count, "threshold": threshold, "oracle": facts, "rows": rows}
    given.output.write_text(json.dumps(result, indent=2), encoding="utf-8")
    image_grid(torch.cat(shown), 8, titles).save(given.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
