"""Equal and nearly equal images are found, others are not, and fast."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from tests.data.inspected import busy_picture, smaller_copy
from tests.data.landscapes import encoded, shared_data
from vedute.data.duplicates import LARGEST_DISTANCE, equal_groups, look_of, near_pairs
from vedute.data.facts import facts_of
from vedute.data.image_files import FileSource, image_files
from vedute.data.source import Record
from vedute.data.survey import survey


def random_looks(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def same_grids(count: int) -> np.ndarray:
    return np.zeros((count, 192), dtype=np.uint8)


def test_equal_contents_are_grouped() -> None:
    groups = equal_groups(np.array([5, 7, 5, 9, 7, 5], dtype=np.uint64))
    assert [group.tolist() for group in groups] == [[0, 2, 5], [1, 4]]
    assert equal_groups(np.zeros(0, dtype=np.uint64)) == []


@pytest.mark.parametrize("distance", [0, 1, 4, LARGEST_DISTANCE])
def test_the_search_finds_what_comparing_all_pairs_finds(distance: int) -> None:
    looks = random_looks(300)
    flips = np.random.default_rng(1).integers(0, 64, (300, 6)).astype(np.uint64)
    copies = looks.copy()
    for column in range(6):
        changed = np.arange(300) % 7 > column
        copies[changed] ^= np.uint64(1) << flips[changed, column]
    looks = np.concatenate([looks, copies])
    pairs = near_pairs(looks, same_grids(600), distance)
    distances = np.bitwise_count(looks[:, None] ^ looks[None])
    expected = {(int(a), int(b)) for a, b in np.argwhere(np.triu(distances <= distance, 1))}
    found = [tuple(pair) for pair in pairs.rows.tolist()]
    assert set(found) == expected and len(found) == len(expected), "each pair once"
    assert (np.diff(pairs.distances) >= 0).all() and pairs.complete


def test_colours_must_agree_too() -> None:
    looks = np.full(3, 77, dtype=np.uint64)
    grids = np.random.default_rng(0).integers(0, 200, (3, 192)).astype(np.uint8)
    grids[2] = grids[0] + 5
    assert near_pairs(looks, grids, 4).rows.tolist() == [[0, 2]]


def test_a_hundred_thousand_images_take_seconds() -> None:
    looks = random_looks(100_000)
    looks[60_000:60_050] = looks[:50] ^ np.uint64(0b1001)
    start = time.perf_counter()
    pairs = near_pairs(looks, same_grids(len(looks)), 4)
    assert len(pairs) == 50 and set(pairs.distances.tolist()) == {2}
    assert time.perf_counter() - start < 20, "0.2 s on a free machine"


def test_a_film_of_equal_frames_ends_the_search() -> None:
    pairs = near_pairs(np.full(3000, 5, dtype=np.uint64), same_grids(3000), 4, most=10_000)
    assert not pairs.complete and 10_000 <= len(pairs) < 20_000


def test_a_look_survives_packing_and_resizing_and_differs_between_pictures() -> None:
    pictures = [busy_picture(seed, 96, 80) for seed in range(40)]
    looks = [int(facts_of(Record(encoded(picture), None, ""))[1]["look"]) for picture in pictures]
    copies = [int(facts_of(Record(smaller_copy(picture), None, ""))[1]["look"]) for picture in pictures]
    distances = np.bitwise_count(np.array(looks, np.uint64)[:, None] ^ np.array(copies, np.uint64)[None])
    assert np.diag(distances).max() <= 4
    assert distances[~np.eye(40, dtype=bool)].min() > 8


def test_a_look_does_not_depend_on_brightness_and_contrast() -> None:
    grey = np.random.default_rng(0).uniform(0, 1, (32, 32))
    assert look_of(grey) == look_of(100 * grey + 7)


def test_a_photo_that_exif_turns_looks_as_it_stands() -> None:
    picture = busy_picture(3, 64, 48)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(picture)).save(buffer, "JPEG", quality=95, exif=exif)
    kind, turned = facts_of(Record(buffer.getvalue(), None, ""))
    _, plain = facts_of(Record(encoded(picture), None, ""))
    assert (turned["width"], turned["height"]) == (64, 48) and turned["rotated"] and kind.format == "JPEG"
    assert int(turned["look"] ^ plain["look"]).bit_count() <= 4


def test_real_photos_without_doubles_have_none() -> None:
    found = survey(FileSource(image_files(shared_data("pictures"))))
    assert len(found.facts) == 200 and not found.unreadable
    assert len(near_pairs(found.facts["look"], found.facts["grid"], 4)) == 0
