"""A quality card for people: the table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from vedute.metrics.card import Card
from vedute.metrics.pairs import GENERATED, Pairs
from vedute.metrics.quality import Quality

_NAMES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "lpips": "LPIPS (0: equal)"}
_CODES = {
    "active_units": "active latent units",
    "kl": "KL of the code (nats an image)",
    "perplexity": "perplexity of the codebook",
    "code_usage": "codes in use",
}
_CAS = {
    "generated_to_real": "CAS: trained on generated, tested on real",
    "real_to_generated": "CAS: trained on real, tested on generated",
}


def card_table(card: Card) -> Table:
    """Return the table: each score with its interval, what real images get, and how many images it is of."""
    return _CardTable(card).table


class _CardTable:
    def __init__(self, card: Card) -> None:
        self.card = card
        self.spread = card.spread()
        self.table = Table(title="Quality card", title_justify="left")
        self.table.add_column("score")
        for title in ("this model", "95 % interval", "real images", "images"):
            self.table.add_column(title, justify="right")
        blocks = len(next(iter(card.repeats.values()), []))
        if blocks:
            self.table.add_column(f"{blocks} blocks of seeds", justify="right")
        parts = (self._quality, self._agreement, self._distances, self._manifold, self._diversity)
        for part in (*parts, self._two_sample, self._substitution, self._memory, self._reconstruction):
            part()
            self.table.add_section()
        if card.pairs is not None:
            self._pairs(card.pairs)
        self.table.caption = (
            "real images: test images under the same instruments; distances, precision and the like: "
            "training beside test images, as many as generated ones. diversity: mean distance of two images "
            "of one class. distance to training images: of test images 1, of copies 0"
        )
        self.table.caption_justify = "left"

    def _row(
        self,
        title: str,
        own: str,
        real: str = "",
        images: str = "",
        name: str = "",
        per_cent: bool = False,
        interval: str = "",
    ) -> None:
        """Add a row; the interval and the spread over blocks are found by the score's name."""

        def shown(value: float) -> str:
            return f"{100 * value:.1f}" if per_cent else f"{value:.4g}"

        ends = self.card.intervals.get(name)
        if ends is not None:
            interval = f"{shown(ends[0])} to {shown(ends[1])}" + " %" * per_cent
        cells = [title, own, interval, real, images]
        if name in self.spread:
            mean, half = self.spread[name]
            cells.append(f"{100 * mean:.1f} ± {100 * half:.1f} %" if per_cent else f"{mean:.4g} ± {half:.2g}")
        self.table.add_row(*cells)

    def _quality(self) -> None:
        card, (generated, test, _) = self.card, self.card.images
        quality, ceiling = card.quality, card.ceiling
        if quality is None or ceiling is None:
            return
        for number, (title, own, real) in enumerate(_quality_rows(card, quality, ceiling)):
            name = f"q/{card.classes[number - 1]}" if number else "q"
            images = "" if number else f"{generated} / {test}"
            self._row(title, own, real, images, name, per_cent=True)
        own, real = (f"{100 * float(side.top2.nanmean()):.1f} %" for side in (quality, ceiling))
        self._row("class among the two most probable", own, real)

    def _agreement(self) -> None:
        agreement = self.card.agreement
        for kind, title in (("mean_absolute_error", "mean error of"), ("rank_correlation", "rank of")):
            if agreement:
                mine, real = agreement["generated"][kind], agreement["ceiling"][kind]
                for name, value in mine.items():
                    what = "all scores" if name == "mean" else name
                    self._row(f"{title} {what}, as the regressor reads", f"{value:.3g}", f"{real[name]:.3g}")

    def _distances(self) -> None:
        each = self.card.images[2]
        for name, value in self.card.distances.items():
            real = f"{self.card.floor[name]:.4g}"
            self._row(f"{name} (lower is better)", f"{value:.4g}", real, f"{each} / {each}", name)

    def _manifold(self) -> None:
        for name, value in self.card.manifold.items():
            real = self.card.floor.get(name)
            title = " in ".join(name.split("_", 1))
            self._row(title, f"{value:.3f}", "-" if real is None else f"{real:.3f}", "", name)

    def _diversity(self) -> None:
        generated, test, _ = self.card.images
        for name, values in self.card.diversity.items():
            mine, theirs, ratio = values["generated"], values["real"], values["ratio"]
            share = "" if ratio is None else f" ({100 * ratio:.0f} % of real)"
            ends = self.card.intervals.get(f"diversity_ratio/{name}")
            own, real = ("-" if side is None else f"{side:.4g}" for side in (mine, theirs))
            self._row(
                f"diversity in {name}{share}",
                own,
                real,
                f"{generated} / {test}",
                f"diversity/{name}",
                interval="" if ends is None else f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f} % of real",
            )

    def _two_sample(self) -> None:
        for name, sides in self.card.two_sample.items():
            mine, real = sides["generated"], sides.get("real")
            self.table.add_row(
                f"told from real in {name} (50 %: cannot)",
                f"{100 * mine['accuracy']:.1f} %",
                f"{100 * mine['low']:.1f} to {100 * mine['high']:.1f} %",
                "" if real is None else f"{100 * real['accuracy']:.1f} %",
                f"{mine['test_images']:.0f}",
            )

    def _substitution(self) -> None:
        scores = self.card.substitution
        if scores is None:
            return
        for name, title in _CAS.items():
            score = getattr(scores, name)
            self.table.add_row(
                title,
                f"{100 * float(score.accuracy):.1f} %",
                f"{100 * float(score.low):.1f} to {100 * float(score.high):.1f} %",
                f"{100 * float(scores.ceiling.accuracy):.1f} %",
                f"{int(scores.training_images)}",
            )

    def _memory(self) -> None:
        for name, memory in self.card.memory.items():
            self._row(
                f"distance to training images in {name}",
                f"{memory.distance_ratio:.3f}",
                "1",
            )
            for title, own, real in (
                ("nearly training images", memory.close_share, memory.close_share_real),
                ("duplicates of each other", memory.duplicate_share, memory.duplicate_share_real),
            ):
                if own == own:
                    self._row(f"{title} in {name}", f"{100 * own:.1f} %", f"{100 * real:.1f} %")

    def _reconstruction(self) -> None:
        found, test = self.card.reconstruction or {}, self.card.images[1]
        for name, title in _present(_NAMES, found):
            self._row(
                f"reconstruction {title}", f"{found[name]:.4g}", "", str(test), f"reconstruction/{name}"
            )
        for name, title in _present(_CODES, found):
            of = f" of {found['latent_units']:.0f}" if name == "active_units" else ""
            own = f"{100 * found[name]:.0f} %" if name == "code_usage" else f"{found[name]:.4g}{of}"
            self._row(title, own, "", str(test))
        likelihood = self.card.likelihood
        if likelihood is not None:
            held_out, training = likelihood.held_out.value, likelihood.training.value
            title = f"bits per dimension of 8-bit pixels (of training images {training:.4g}; lower is better)"
            self._row(title, f"{held_out:.4g}", "", str(likelihood.images[0]), "likelihood")

    def _pairs(self, pairs: Pairs) -> None:
        """Add what pairs of generated and real images get, beside interpolation and masks found again."""
        test = str(self.card.images[1])
        others = [way for way in pairs.scores if way != GENERATED]
        for name, value in pairs.scores[GENERATED].items():
            beside = ", ".join(f"{way} {pairs.scores[way][name]:.4g}" for way in others)
            kind, _, channel = name.partition("_")
            title = _NAMES[kind] + (" of Y" if channel else "")
            title = f"pairs, {title}" + (f" ({beside})" if beside else "")
            self._row(title, f"{value:.4g}", "", test, f"pairs/{name}")
        if pairs.overlap:
            mine, real = (pairs.overlap[side]["iou"] for side in (GENERATED, "real"))
            self._row("IoU of masks found again", f"{100 * mine:.1f} %", f"{100 * real:.1f} %", test)


def _present(names: dict[str, str], found: dict[str, float]) -> Iterable[tuple[str, str]]:
    return ((name, title) for name, title in names.items() if name in found)


def _quality_rows(card: Card, quality: Quality, ceiling: Quality) -> list[tuple[str, str, str]]:
    names = ["Q (recognised, mean of classes)", *(f"Q {name}" for name in card.classes)]
    own = [float(quality.mean), *quality.per_class.tolist()]
    real = [float(ceiling.mean), *ceiling.per_class.tolist()]
    return [
        (name, f"{100 * mine:.1f} %", "-" if theirs != theirs else f"{100 * theirs:.1f} %")
        for name, mine, theirs in zip(names, own, real, strict=True)
    ]
