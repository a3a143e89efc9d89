"""Tiles: where they lie, how they are blended, and that they share what they must."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from tests.data.translators import StubTranslator
from vedute.batch import Condition
from vedute.errors import ConfigurationError, VeduteError
from vedute.sampling.shared_statistics import shared_statistics
from vedute.sampling.tiling import (
    TileNetwork,
    Tiling,
    computed_rows,
    padded_to,
    plan,
    spread_pieces,
    tile_count,
    with_less_memory,
)


class Picture:
    """A picture in memory that counts the rows that are read at once."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self.most = 0

    def rows(self, top: int, bottom: int) -> NDArray[np.uint8]:
        self.most = max(self.most, bottom - top)
        return self.pixels[top:bottom]


def noise(height: int, width: int, channels: int = 3) -> Picture:
    return Picture(np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8))


def as_tensor(picture: Picture) -> Tensor:
    return torch.from_numpy(picture.pixels).permute(2, 0, 1)[None].float() / 255


def joined(picture: Picture, network: TileNetwork, tiling: Tiling) -> Tensor:
    with torch.inference_mode():
        return torch.cat(list(computed_rows(picture, network, tiling)), dim=1)


def network_of(model: StubTranslator) -> TileNetwork:
    return TileNetwork(
        lambda tiles: model.sample(Condition(image=tiles), torch.zeros(len(tiles), dtype=torch.int64)),
        model.scale,
        model.tile_multiple,
    )


# Where tiles lie


@pytest.mark.parametrize("multiple", [1, 4, 12, 16, 64])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (64, 32), (48, 0), (40, 11), (16, 8)])
def test_tiles_cover_a_side_and_overlap_enough(multiple: int, tile: int, overlap: int) -> None:
    for side in (1, 15, 16, 63, 64, 65, 100, 129, 500, 1000, 5000):
        spans = plan(side, Tiling(tile, overlap), multiple)
        assert spans[0].start == 0 and spans[-1].stop >= side
        assert spans[-1].stop - side < multiple, "no more is made up than the network needs"
        assert spans[0].fade_in == (0, 0) and min(spans[-1].fade_out) >= side
        assert len({span.stop - span.start for span in spans}) == 1
        assert (spans[0].stop - spans[0].start) % multiple == 0
        for left, right in pairwise(spans):
            assert left.stop - right.start >= overlap and left.fade_out == right.fade_in
            first, last = right.fade_in
            assert right.start + overlap // 4 <= first <= last <= left.stop - overlap // 4
            assert left.fade_in[1] <= first, "never more than two tiles are blended"


def test_an_overlap_beyond_half_a_tile_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="from 0 to 32"):
        Tiling(64, 33)


# What comes out


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (64, 64), (65, 63), (150, 131)])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_network_of_short_sight_gives_what_it_gives_on_the_whole(
    size: tuple[int, int], scale: int, batch_size: int
) -> None:
    model = StubTranslator(3, 4, scale=scale)
    picture = noise(*size)
    tiled = joined(picture, network_of(model), Tiling(48, 16, batch_size))
    with torch.inference_mode():
        whole = model(as_tensor(picture))[0]
    assert tiled.shape == (4, size[0] * scale, size[1] * scale)
    assert torch.allclose(tiled, whole, atol=1e-5)


def test_patterns_that_repeat_fall_onto_each_other() -> None:
    model = StubTranslator(3, 3, tile_multiple=8)

    def blocks(tiles: Tensor) -> Tensor:
        return interpolate(avg_pool2d(tiles, 8), scale_factor=8)

    picture = noise(90, 133)
    tiled = joined(picture, TileNetwork(blocks, 1, model.tile_multiple), Tiling(48, 16))
    whole = blocks(padded_to(as_tensor(picture), 8))[0, :, :90, :133]
    assert torch.allclose(tiled, whole, atol=1e-5)


def test_no_more_than_a_row_of_tiles_is_read_or_kept() -> None:
    picture = noise(700, 50)
    with torch.inference_mode():
        for block in computed_rows(picture, network_of(StubTranslator(3)), Tiling(32, 8)):
            assert block.shape[1] <= 32 and block.shape[2] == 50
    assert picture.most <= 32


@pytest.mark.parametrize("size", [(4096, 4096), (1024, 8192), (9000, 700)])
def test_pieces_for_statistics_are_spread_over_the_picture(size: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 2), dtype=np.uint8)
    pixels[:, :, 0] = (np.arange(size[0]) * 256 // size[0])[:, None]
    pixels[:, :, 1] = np.arange(size[1]) * 256 // size[1]
    pieces = spread_pieces(Picture(pixels), TileNetwork(lambda tiles: tiles, 1, 16), Tiling(512, 64))
    assert pieces.shape[1:] == (2, 128, 128) and 24 <= len(pieces) <= 32
    places = pieces.mean(dim=(2, 3))
    assert ((places.mean(dim=0) - 0.5).abs() < 0.05).all()
    assert ((places.std(dim=0) - 12**-0.5).abs() < 0.05).all(), "as even as can be"


def test_a_small_picture_is_seen_as_a_whole() -> None:
    pieces = spread_pieces(noise(250, 250), TileNetwork(lambda tiles: tiles), Tiling(256, 32))
    assert pieces.shape == (4, 3, 128, 128)


# Seams


def _gradients(image: Tensor, borders: list[int]) -> tuple[float, float]:
    """Return the mean step from column to column at borders, and elsewhere."""
    step = image.diff(dim=2).abs().mean(dim=(0, 1))
    near = torch.zeros(len(step), dtype=torch.bool)
    for border in borders:
        near[border - 1 : border + 1] = True
    return float(step[near].mean()), float(step[~near].mean())


def _mask(height: int = 700, width: int = 900) -> Picture:
    """Houses everywhere, and halls and fields at random: tiles differ in what they see."""
    generator = np.random.default_rng(1)
    pixels = np.where(generator.random((height // 4, width // 4, 1)) < 0.4, 255, 0).astype(np.uint8)
    pixels = pixels.repeat(4, axis=0).repeat(4, axis=1)
    pixels = np.roll(pixels, (1, 2), axis=(0, 1))
    for number in range(height * width // 8000):
        top, left = generator.integers(height), generator.integers(width)
        pixels[top : top + 40, left : left + 40] = 255 * (number % 2)
    return Picture(pixels)


def _see(network: TileNetwork, pieces: Tensor) -> None:
    network.compute(pieces)


def _seam(shared: bool, overlap: int) -> float:
    """Return by how much the gradient at tile borders differs from that elsewhere."""
    model = StubTranslator(1, 3, norm=nn.InstanceNorm2d(8)).eval()
    network, picture, tiling = network_of(model), _mask(), Tiling(64, overlap)

    if shared:
        pieces = spread_pieces(picture, network, tiling)
        with (
            torch.inference_mode(),
            shared_statistics(model, lambda: _see(network, pieces)),
        ):
            image = joined(picture, network, tiling)
    else:
        image = joined(picture, network, tiling)
    ratios = []
    for turned, side in ((image, picture.width), (image.transpose(1, 2), picture.height)):
        spans = plan(side, tiling)
        borders = sorted({right.start for right in spans[1:]} | {left.stop for left in spans[:-1]})
        at_border, elsewhere = _gradients(turned, borders)
        ratios.append(abs(at_border / elsewhere - 1))
    return max(ratios)


def test_no_seam_shows_in_the_gradient() -> None:
    assert _seam(shared=True, overlap=16) <= 0.05
    assert _seam(shared=False, overlap=0) > 0.2, "the measure sees the seams of plain tiles"


# Statistics


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(2, 8)])
def test_tiles_that_cover_the_picture_normalise_like_the_whole(norm: nn.Module) -> None:
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)  # type: ignore[operator, union-attr]
        norm.bias.uniform_(-1, 1)  # type: ignore[operator, union-attr]
    model = StubTranslator(1, 3, norm=norm).eval()
    network, picture = network_of(model), _mask(250, 250)
    pieces = spread_pieces(picture, network, Tiling(128, 0))
    with torch.inference_mode():
        whole = model(as_tensor(picture))[0]
        with shared_statistics(model, lambda: _see(network, pieces)):
            tiled = joined(picture, network, Tiling(64, 32))
        error = float((tiled - whole).abs().max())
        assert error < 0.02
        alone = joined(picture, network, Tiling(64, 32))
        assert float((alone - whole).abs().max()) > 4 * error
        assert torch.equal(model(as_tensor(picture))[0], whole), "the layers are as before"


def test_networks_without_such_layers_gather_nothing() -> None:
    for norm in (nn.BatchNorm2d(8), nn.InstanceNorm2d(8, track_running_stats=True)):
        model = StubTranslator(norm=norm).eval()
        with shared_statistics(model, lambda: pytest.fail("gathered")):
            assert "forward" not in vars(norm)


def test_layers_are_restored_when_the_work_fails() -> None:
    model = StubTranslator(norm=nn.InstanceNorm2d(8)).eval()

    def fail() -> None:
        assert "forward" in vars(model.norm)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), shared_statistics(model, fail):
        pass
    assert "forward" not in vars(model.norm)


# Memory


def test_less_is_tried_when_memory_runs_out() -> None:
    model = StubTranslator(3, 3, tile_multiple=4, largest=40 * 40)
    picture, said = noise(100, 100), list[str]()
    network = network_of(model)
    image, used = with_less_memory(
        Tiling(64, 16, 4), 4, lambda tiling: joined(picture, network, tiling), said.append
    )
    assert [len(said), used] == [3, Tiling(32, 16, 1)]
    assert "tiles of 64 x 64, 2 at a time" in said[0] and "tiles of 32 x 32" in said[2]
    with torch.inference_mode():
        assert torch.allclose(image, model(as_tensor(picture))[0], atol=1e-5)


def test_the_end_of_halving_is_a_message() -> None:
    model = StubTranslator(3, 3, tile_multiple=16, largest=1)
    with pytest.raises(VeduteError, match="even for one tile of 16 x 16"):
        with_less_memory(
            Tiling(64, 0), 16, lambda tiling: joined(noise(64, 64), network_of(model), tiling), lambda _: None
        )
    with pytest.raises(RuntimeError, match="something else"):
        with_less_memory(Tiling(64, 0), 1, lambda _: _raise("something else"), lambda _: None)


def _raise(text: str) -> None:
    raise RuntimeError(text)


def test_accelerators_out_of_memory_count_too(tmp_path: Path) -> None:
    tries = []

    def work(tiling: Tiling) -> int:
        tries.append(tiling.tile)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return tile_count(64, 64, TileNetwork(lambda tiles: tiles), tiling)

    assert with_less_memory(Tiling(64, 0), 1, work, lambda _: None) == (4, Tiling(32, 0))
