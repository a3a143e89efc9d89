"""Street photos with their country as condition: OpenStreetView-5M, whole or in part, or data of its form.

Source: Astruc et al. 2024, "OpenStreetView-5M: The Many Roads to Global Visual Geolocation" (CVPR),
https://huggingface.co/datasets/osv5m/osv5m
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ImageDataModule
from vedute.countries import country_code, country_names
from vedute.data.image_files import FileSource
from vedute.data.labels import Labelled, Labels, by_class, unlabelled
from vedute.data.source import Source
from vedute.data.street_view_index import PhotoIndex, open_index
from vedute.errors import ConfigurationError

logger = logging.getLogger("vedute.datamodules")


class StreetViewDataModule(ImageDataModule):
    """Street photos of many countries."""

    def __init__(
        self,
        countries: list[str | bool] | None = None,
        images_per_country: int | None = None,
        minimum_per_country: int = 1,
        condition: Literal["country", "none"] = "country",
        image_size: int | tuple[int, int] = 128,
        **shared: Any,
    ) -> None:
        """Keep the options; nothing is read yet.

        ``root`` holds ``train.csv`` and ``test.csv`` (or a single CSV file, whose photos are then split)
        with the columns ``id`` and ``country``, and the photos in ``images/train/00/<id>.jpg`` and so on, as
        the archive unpacks. It need not be complete: rows without photos are left out.

        Args:
            countries: Countries to keep, by English name, ISO code or usual variant, e.g. [US, Italy, Ivory
                Coast, NO]; null: all that have training photos.
            images_per_country: At most so many photos of a country in each part that is shipped, drawn by
                ``seed``; null: all.
            minimum_per_country: Countries with fewer training photos (before splits are drawn) are left out.
            condition: country: the condition is the country. none: there is no condition.
            image_size: Side of the images in pixels, or [height, width].
            shared: Options of every data set, see ``ImageDataModule``.

        Raises:
            ConfigurationError: An option is out of its range, or a country is unknown.
        """
        super().__init__(image_size=image_size, **shared)
        self._codes = None if countries is None else _codes(countries)
        for name, value in (
            ("images_per_country", images_per_country),
            ("minimum_per_country", minimum_per_country),
        ):
            if value is not None and value < 1:
                raise ConfigurationError(f"data.{name} must be at least 1, got {value}.")
        self._cap = images_per_country
        self._minimum = minimum_per_country
        self._condition = condition

    def find_sources(self, root: Path) -> Mapping[str, Source]:
        """Read the index and keep the wanted photos of it: only these are prepared."""
        indices = open_index(root, self._on_error)
        wanted = self._wanted(np.bincount(indices["train"].countries, minlength=len(country_names())))
        chosen = {part: self._chosen(index, wanted) for part, index in indices.items()}
        return {
            part: FileSource(index.paths(), index.countries.astype(np.int64))
            for part, index in chosen.items()
            if len(index)
        }

    def paint_sample(self) -> Path:
        """Return the folder of the painted streets, of the wanted size."""
        from vedute.data.painted.streets import painted_streets

        return painted_streets(self.image_size)

    def label(self, raw: Mapping[str, Labels], sources: Mapping[str, Source]) -> Labelled:
        """Take labels as numbers of countries, whose names are the conditions in alphabetical order."""
        if self._condition == "none":
            return unlabelled(raw)
        names = dict(enumerate(country_names().values()))
        return by_class(raw, {number: names[number] for number in np.unique(raw["train"]).tolist()}, sources)

    def _wanted(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which countries to keep, (C,), from the numbers of their training photos, (C,)."""
        names = np.array(list(country_names().values()))
        wanted = counts > 0
        if self._codes is not None:
            asked = np.isin(list(country_names()), self._codes)
            missing = asked & (counts == 0)
            if missing.any():
                raise ConfigurationError(
                    f"data.countries: the data set has no training photo of {', '.join(names[missing])}. "
                    f"It has: {_with_counts(names, counts)}."
                )
            wanted &= asked
        few = wanted & (counts < self._minimum)
        if few.any():
            logger.warning(
                "Left out for fewer than %d training photos: %s.",
                self._minimum,
                _with_counts(names, np.where(few, counts, 0)),
            )
        wanted &= ~few
        if not wanted.any():
            raise ConfigurationError(
                f"data.minimum_per_country: no country has {self._minimum} training photos. "
                f"The data set has: {_with_counts(names, counts)}."
            )
        logger.info(
            "%d countries: %s.", np.count_nonzero(wanted), _with_counts(names, np.where(wanted, counts, 0))
        )
        return wanted

    def _chosen(self, index: PhotoIndex, wanted: NDArray[np.bool_]) -> PhotoIndex:
        """Return the photos of wanted countries, capped."""
        rows = np.flatnonzero(wanted[index.countries])
        if self._cap is not None:
            codes = list(country_names())
            drawn = []
            for number in np.unique(index.countries[rows]).tolist():
                own = rows[index.countries[rows] == number]
                # Seeded by country, so that asking for others changes nothing; a higher cap adds photos.
                generator = np.random.default_rng([self._seed, *codes[number].encode()])
                drawn.append(generator.permutation(own)[: self._cap])
            rows = np.sort(np.concatenate([rows[:0], *drawn]))
        return index.take(rows)


def _codes(countries: Sequence[str | bool]) -> list[str]:
    if not countries:
        raise ConfigurationError("data.countries is empty; name some, or give null for all.")
    codes = []
    for country in countries:
        if country is True:
            raise ConfigurationError("data.countries holds 'true', which is no country.")
        # YAML reads NO without quotes as the truth value 'no': nobody means anything but Norway by it.
        codes.append("NO" if country is False else country_code(country))
    return codes


def _with_counts(names: NDArray[np.str_], counts: NDArray[np.int64], most: int = 20) -> str:
    """Return countries with their numbers of photos, those with the most first."""
    order = [number for number in np.argsort(-counts, kind="stable").tolist() if counts[number]]
    shown = ", ".join(f"{names[number]} {counts[number]:,}" for number in order[:most])
    return shown + (f", and {len(order) - most} more" if len(order) > most else "")
