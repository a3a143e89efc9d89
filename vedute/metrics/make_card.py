"""Making a quality card: generate, measure, compare with real images.

Here: which sets a card compares, in which order. Not here: what each score is (the other modules of
``vedute.metrics``), networks and files (``vedute.cli.evaluate``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vedute.batch import Condition
from vedute.errors import DataError
from vedute.metrics.agreement import agreement
from vedute.metrics.card import SPLIT, Card, Pictures, Settings, Values
from vedute.metrics.chosen import KeptImages, advancing, drawn, first_of_each
from vedute.metrics.classification_score import ClassificationScores
from vedute.metrics.features import eight_bit
from vedute.metrics.fidelity import compare, diversity_interval, told_apart
from vedute.metrics.judge import MaskJudge
from vedute.metrics.likelihood import Likelihood, measure_likelihood
from vedute.metrics.memorisation import Memory, memorisation
from vedute.metrics.pairs import Pairs, measure_pairs
from vedute.metrics.proportion import balanced_interval, binomial_interval
from vedute.metrics.quality import Quality
from vedute.metrics.real_sets import Bar, RealSets
from vedute.metrics.reconstruction import measure_reconstruction
from vedute.metrics.sets import (
    Instruments,
    Measured,
    distances,
    diversities,
    generated_batches,
    matched_rows,
    wanted_images,
)
from vedute.metrics.substitution import substitution
from vedute.promises import Generator, ImageData, as_likelihood

_SHOWN = 8  # images of each class in a picture
_PAIRS = 16  # closest pairs in a picture


def make_card(
    generator: Generator,
    data: ImageData,
    instruments: Instruments,
    settings: Settings,
    bar: Bar,
    segmenter: MaskJudge | None = None,
) -> Card:
    """Generate, measure and compare.

    Args:
        generator: In eval mode.
        data: Its data set.
        instruments: What to measure with; classes as the generator's.
        settings: How much.
        bar: Shows progress.
        segmenter: Finds in generated images the masks that they were made from.

    Raises:
        ConfigurationError: A likelihood of a model that has none.
        DataError: Other classes than the generator's, images that are no numbers, or too few.
    """
    if settings.likelihood is not None:
        as_likelihood(generator)
    names = instruments.names
    if names and data.condition_names != names:
        raise DataError(
            f"The data set has the classes {', '.join(data.condition_names)}, the model {', '.join(names)}: "
            "give --data.root a data set with the model's classes."
        )
    return _Maker(generator, data, instruments, settings, bar, segmenter).card()


class _Maker:
    """One card in the making."""

    def __init__(
        self,
        generator: Generator,
        data: ImageData,
        instruments: Instruments,
        settings: Settings,
        bar: Bar,
        segmenter: MaskJudge | None,
    ) -> None:
        self.generator, self.data, self.instruments = generator, data, instruments
        self.settings, self.bar, self.segmenter = settings, bar, segmenter
        self.names = instruments.names
        self.extractors = instruments.extractors
        self.notes: list[str] = []
        self.intervals: dict[str, tuple[float, float]] = {}
        self.condition, self.wanted, self.seeds = self._asked_for(0)
        self.real = RealSets(data, instruments, settings.batch_size, bar)

    def card(self) -> Card:
        """Return the card."""
        settings, names = self.settings, self.names
        train_rows = drawn(self.data.size("train"), settings.train_images, settings.seed)
        labels = {
            split: torch.from_numpy(self.data.labels(split)) if names else None for split in (SPLIT, "train")
        }
        train_labels = labels["train"]
        if train_labels is not None:
            train_labels = train_labels[train_rows]
        counts = len(self.seeds), self.data.size(SPLIT), len(train_rows)
        rows = matched_rows([self.wanted, labels[SPLIT], train_labels], counts, settings.seed)

        generated, images = self._generate()
        test = self.real.measure("Test images", SPLIT, torch.arange(counts[1]))
        train = self.real.measure("Training images", "train", train_rows)
        if len(train_rows) < self.data.size("train"):
            self.notes.append(
                f"Copies were looked for among {len(train_rows):,} of {self.data.size('train'):,} training "
                "images, drawn by the seed (--train-images)."
            )
        chosen, chosen_test, chosen_train = generated[0][rows[0]], test[rows[1]], train[rows[2]]
        found = compare(chosen, chosen_test, self.extractors)
        floor = compare(chosen_train, chosen_test, self.extractors, intervals=False)
        self.intervals.update(found.intervals)
        self._notes_of_distances(len(rows[0]))
        self.notes += found.notes
        quality, ceiling = (self.instruments.quality(one) for one in (generated[0], test))
        self._quality_intervals(quality)
        memory = self._memory(generated[0], train, test)
        sides = {"generated": generated[0], "ceiling": test}
        return Card(
            classes=names,
            columns=self.instruments.column_names,
            quality=quality,
            ceiling=ceiling,
            agreement=agreement(self.generator, self.data, SPLIT, self.instruments, self.condition, sides),
            distances=found.distances,
            manifold=found.manifold,
            floor={**floor.distances, **floor.manifold},
            diversity=self._diversity(generated[0], test),
            two_sample=self._two_sample(generated[0], train, test),
            substitution=self._substitution(images),
            memory=memory,
            intervals=self.intervals,
            images=(counts[0], counts[1], len(rows[0])),
            reconstruction=self._reconstruction() if self.generator.has_encoder else None,
            likelihood=self._likelihood(),
            pictures=self._pictures(images, generated[0], memory, train_rows),
            pairs=self._pairs(),
            repeats=self._repeats(generated, test, rows),
            notes=self.notes,
        )

    # Generating.

    def _asked_for(self, block: int) -> tuple[Condition, Tensor | None, Tensor]:
        count, seed = self.settings.count, self.settings.seed
        if block:
            seed += block * len(self.seeds)
        return wanted_images(self.generator, self.data, SPLIT, count, seed)

    def _generate(self) -> tuple[list[Measured], KeptImages]:
        """Measure all blocks; keep the images of the first that are shown or trained on."""
        rows = first_of_each(self.wanted, len(self.seeds), _SHOWN)
        if self._substitutes():
            rows = first_of_each(self.wanted, len(self.seeds), self._cas_share())
        kept = KeptImages(rows)
        measured = []
        for block in range(self.settings.blocks):
            condition, wanted, seeds = self._asked_for(block)
            with self.bar("Generating", len(seeds)) as advance:
                batches = generated_batches(
                    self.generator, condition, wanted, seeds, self.settings.batch_size
                )
                passed = (kept if block == 0 else KeptImages(rows[:0])).taken_from(batches)
                measured.append(self.instruments.measure(advancing(passed, advance)))
        return measured, kept

    def _again(self, rows: Tensor) -> Tensor:
        """Generate some images of the first block once more: seeds decide what they are."""
        batches = generated_batches(
            self.generator,
            self.condition if not len(self.condition) else self.condition[rows],
            None,
            self.seeds[rows],
            self.settings.batch_size,
        )
        return torch.cat([eight_bit(image).cpu() for image, _ in batches])

    # Scores.

    def _notes_of_distances(self, each: int) -> None:
        self.notes += [
            f"{extractor.frechet_name}: {each} images a side are not more than its {extractor.size} "
            "features, so it says little on its own; read it beside its floor."
            for extractor in self.extractors
            if each <= extractor.size
        ]

    def _quality_intervals(self, quality: Quality | None) -> None:
        if quality is None:
            return
        right, asked = quality.confusion.diagonal(), quality.confusion.sum(dim=1)
        self.intervals["q"] = balanced_interval(right, asked)[1:]
        for name, hits, count in zip(self.names, right.tolist(), asked.tolist(), strict=True):
            self.intervals[f"q/{name}"] = binomial_interval(hits, count)

    def _diversity(self, generated: Measured, test: Measured) -> dict[str, Values]:
        for extractor in self.extractors:
            interval = diversity_interval(generated, test, extractor.name)
            if interval is not None:
                self.intervals[f"diversity_ratio/{extractor.name}"] = interval
        return diversities(generated, test, self.extractors, len(self.names))

    def _two_sample(
        self, generated: Measured, train: Measured, test: Measured
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Tell generated and training images apart, and for comparison test and training images."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for side, measured in (("generated", generated), ("real", test)):
            rows, train_rows = matched_rows(
                [measured.labels, train.labels], [len(measured), len(train)], self.settings.seed
            )
            try:
                scores = told_apart(measured[rows], train[train_rows], self.extractors, self.settings.seed)
            except ValueError as error:
                self.notes.append(f"The two-sample test is left out: {error}.")
                return {}
            for name, values in scores.items():
                found.setdefault(name, {})[side] = values
        return found

    def _memory(self, generated: Measured, train: Measured, test: Measured) -> dict[str, Memory]:
        found = {}
        for extractor in self.extractors:
            name = extractor.name
            sides = (side.features[name] for side in (train, test, generated))
            try:
                found[name] = memorisation(*sides, pairs=_PAIRS, seed=self.settings.seed)
            except DataError as error:
                self.notes.append(f"Memorisation ({name}) is left out: {error}")
        return found

    # Classification accuracy score.

    def _substitutes(self) -> bool:
        return len(self.names) > 1 and self.settings.cas_images > 0

    def _cas_share(self) -> int:
        """Return how many generated images of a class are kept."""
        return max(_SHOWN, self.settings.cas_images // max(1, len(self.names)))

    def _substitution(self, images: KeptImages) -> ClassificationScores | None:
        if not self._substitutes():
            return None
        assert self.wanted is not None
        try:
            return substitution(self.data, SPLIT, images, self.wanted, self.settings, self.bar)
        except ValueError as error:
            self.notes.append(f"The classification accuracy score is left out: {error}.")
            return None

    # Whatever has an encoder, or makes images from images.

    def _reconstruction(self) -> dict[str, float]:
        found, intervals = measure_reconstruction(
            self.generator, self.data, SPLIT, self.settings.batch_size, self.bar, self.instruments.difference
        )
        self.intervals.update({f"reconstruction/{name}": ends for name, ends in intervals.items()})
        return found

    def _likelihood(self) -> Likelihood | None:
        wanted, settings = self.settings.likelihood, self.settings
        if wanted is None:
            return None
        model = as_likelihood(self.generator)
        found = measure_likelihood(
            model, self.data, SPLIT, wanted, settings.batch_size, settings.seed, self.bar
        )
        self.intervals["likelihood"] = found.held_out[1:]
        return found

    def _pairs(self) -> Pairs | None:
        if self.generator.condition_kind != "image":
            return None
        settings = self.settings
        with self.bar("Pairs", self.data.size(SPLIT)) as advance:
            found = measure_pairs(
                self.generator,
                self.data,
                SPLIT,
                settings.batch_size,
                advance,
                self.segmenter,
                settings.seed,
                self.instruments.difference,
            )
        self.intervals.update({f"pairs/{name}": ends for name, ends in found.intervals.items()})
        return found

    # Pictures and repeats.

    def _pictures(
        self, images: KeptImages, generated: Measured, memory: dict[str, Memory], train_rows: Tensor
    ) -> Pictures:
        shown = first_of_each(self.wanted, len(self.seeds), _SHOWN)
        samples = images.of(shown)
        best = worst = None
        probable = self.instruments.recognised(generated)
        if probable is not None:
            assert self.wanted is not None
            ranked = [
                rows[probable[rows].argsort(descending=True, stable=True)]
                for rows in (torch.where(self.wanted == label)[0] for label in range(len(self.names)))
            ]
            best = self._again(torch.cat([rows[:_SHOWN] for rows in ranked]))
            worst = self._again(torch.cat([rows.flip(0)[:_SHOWN] for rows in ranked]))
        if not memory:
            return Pictures(samples, best, worst)
        name = self._telling(list(memory))
        pairs = memory[name].closest
        mine = self._again(torch.tensor([row for row, _, _ in pairs]))
        theirs = self.data.batch("train", train_rows[torch.tensor([row for _, row, _ in pairs])]).image
        both = torch.stack([mine, eight_bit(theirs)], dim=1).flatten(0, 1)
        return Pictures(samples, best, worst, both, [distance for *_, distance in pairs], name)

    @staticmethod
    def _telling(names: Sequence[str]) -> str:
        """Return the features in which being near means most to people: a network's, the best known first."""
        order = ("dinov2", "inception", "torchvision", "script", "classifier", "regressor", "segmenter")
        for kind in order:
            for name in names:
                if name.startswith(kind):
                    return name
        return "details" if "details" in names else names[0]

    def _repeats(
        self, generated: list[Measured], test: Measured, rows: Sequence[Tensor]
    ) -> dict[str, list[float]]:
        if len(generated) < 2:
            return {}
        values = [self._values(block, test, rows) for block in generated]
        return {name: [block[name] for block in values] for name in values[0]}

    def _values(self, block: Measured, test: Measured, rows: Sequence[Tensor]) -> dict[str, float]:
        """Return each score of a block under its own name."""
        found = distances(block[rows[0]], test[rows[1]], self.extractors)
        quality = self.instruments.quality(block)
        if quality is not None:
            found["q"] = float(quality.mean)
            found |= {
                f"q/{name}": value for name, value in zip(self.names, quality.per_class.tolist(), strict=True)
            }
        for name, sides in diversities(block, test, self.extractors, len(self.names)).items():
            if sides["generated"] is not None:
                found[f"diversity/{name}"] = sides["generated"]
        return found
