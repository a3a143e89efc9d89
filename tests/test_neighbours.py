"""Nearest neighbours, and precision, recall, density and coverage, against brute force and other packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vedute.errors import DataError
from vedute.metrics import neighbours
from vedute.metrics.manifold import Manifold, neighbourhoods
from vedute.metrics.neighbours import nearest

ROOT = Path(__file__).parents[1]


def noise(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def kinds(count: int, seed: int, kinds_of: int = 5, spread: float = 1.0, width: int = 8) -> Tensor:
    """Features of several kinds of images, far apart."""
    chosen = torch.randint(kinds_of, (count,), generator=torch.Generator().manual_seed(seed))
    return 10 * noise(5, width, 99)[chosen] + spread * noise(count, width, seed + 1000)


def all_distances(first: Tensor, second: Tensor) -> Tensor:
    direct = "donot_use_mm_for_euclid_dist"
    return torch.cdist(first.double(), second.double(), compute_mode=direct)


def brute(real: Tensor, generated: Tensor, k: int = 3, density_k: int = 5) -> dict[str, float]:
    """The definitions, written down."""
    within_real = all_distances(real, real).sort(dim=1).values
    within_generated = all_distances(generated, generated).sort(dim=1).values
    across = all_distances(real, generated)
    dense = across < within_real[:, density_k, None]
    return {
        "precision": float((across <= within_real[:, k, None]).any(dim=0).double().mean()),
        "recall": float((across <= within_generated[None, :, k]).any(dim=1).double().mean()),
        "density": float(dense.sum(dim=0).double().mean() / density_k),
        "coverage": float(dense.any(dim=1).double().mean()),
    }


def scores(real: Tensor, generated: Tensor) -> dict[str, float]:
    return {name: float(value) for name, value in neighbourhoods(real, generated).scores().items()}


SETS = {
    "several blocks": (noise(1100, 12), noise(9000, 12, 1)),
    "far from zero": (noise(300, 20) * 1e-3 + 1000, noise(400, 20, 1) * 1e-3 + 1000),
    "tight kinds": (kinds(300, 0, spread=1e-3), kinds(400, 1, spread=1e-3)),
    "equal images": (torch.full((50, 4), 3.3), torch.full((60, 4), 3.3)),
    "huge": (noise(80, 6) * 1e30, noise(90, 6, 1) * 1e30),
    "tiny": (noise(80, 6) * 1e-25, noise(90, 6, 1) * 1e-25),
    "one feature": (noise(80, 1), noise(90, 1, 1)),
}


@pytest.mark.parametrize("name", SETS)
def test_neighbours_are_those_of_brute_force(name: str) -> None:
    queries, references = SETS[name]
    found = nearest(queries, references, 4)
    expected = all_distances(queries, references)
    assert found.distances.dtype == torch.float64
    torch.testing.assert_close(found.distances, expected.topk(4, largest=False).values, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.distances, expected.gather(1, found.rows), rtol=1e-6, atol=0)
    assert all(len(set(rows)) == 4 for rows in found.rows.tolist())


def test_an_image_is_not_its_own_neighbour_but_its_copy_is() -> None:
    features = noise(40, 5)
    features = torch.cat([features, features[:3]])
    found = nearest(features, features, exclude_self=True)
    assert found.rows[:3, 0].tolist() == [40, 41, 42] and found.rows[40:, 0].tolist() == [0, 1, 2]
    assert (found.distances[:3] == 0).all() and (found.distances[3:40] > 0).all()
    assert (nearest(features, features).distances == 0).all()


@pytest.mark.parametrize(("query_rows", "reference_rows"), [(11, 5), (7, 25), (1, 1)])
def test_neighbours_depend_on_no_block_size(
    monkeypatch: pytest.MonkeyPatch, query_rows: int, reference_rows: int
) -> None:
    queries, references = noise(90, 7), noise(120, 7, 1)
    whole, told = nearest(queries, references, 3), []
    scored = scores(references, queries)
    own = nearest(references, references, 3, exclude_self=True)
    monkeypatch.setattr(neighbours, "_QUERY_ROWS", query_rows)
    monkeypatch.setattr(neighbours, "_REFERENCE_ROWS", reference_rows)
    parts = nearest(queries, references, 3, advance=told.append)
    assert torch.equal(whole.rows, parts.rows) and torch.equal(whole.distances, parts.distances)
    assert sum(told) == 90 * 120
    assert scores(references, queries) == scored
    again = nearest(references, references, 3, exclude_self=True, advance=told.append)
    assert torch.equal(own.rows, again.rows) and torch.equal(own.distances, again.distances)
    assert sum(told) == 90 * 120 + 120 * 120


@pytest.mark.parametrize("precision", ["medium", "high"])
def test_neighbours_do_not_lose_precision_to_settings(precision: str) -> None:
    queries, references = noise(90, 64), noise(400, 64, 1)
    expected = nearest(queries, references, 3)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = nearest(queries, references, 3)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(found.rows, expected.rows) and torch.equal(found.distances, expected.distances)


def test_half_precision_and_double_features_are_taken() -> None:
    queries, references = noise(50, 6).half(), noise(70, 6, 1).double()
    expected = all_distances(queries, references).topk(2, largest=False).values
    torch.testing.assert_close(nearest(queries, references, 2).distances, expected)


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(DataError, match=r"at least 4 images .* 3 reference"):
        nearest(noise(3, 2), noise(3, 2), 3, exclude_self=True)
    with pytest.raises(DataError, match="0 query"):
        nearest(noise(0, 2), noise(3, 2))
    with pytest.raises(ValueError, match="one width"):
        nearest(noise(3, 2), noise(3, 3))
    broken = noise(9, 2)
    broken[4, 1], broken[7] = float("nan"), float("inf")
    with pytest.raises(DataError, match="2 of 9 reference"):
        nearest(noise(3, 2), broken)
    with pytest.raises(ValueError, match=r"at least 1"):
        Manifold(k=0)
    metric = Manifold()
    metric.update(noise(5, 4), real=True)
    with pytest.raises(ValueError, match="4 came first, then 3"):
        metric.update(noise(5, 3), real=False)
    metric.update(noise(20, 4), real=False)
    with pytest.raises(DataError, match=r"at least 6 images .* 5 real"):
        metric.compute()


@pytest.mark.parametrize(
    ("real", "generated"),
    [
        (noise(500, 20), 0.9 * noise(400, 20, 1)),
        (kinds(300, 0, spread=1e-3), kinds(200, 1, spread=1e-3)),
        (noise(300, 30), noise(300, 30)),
        (kinds(200, 0, spread=0), kinds(150, 1, spread=0)),
    ],
    ids=["plain", "tight kinds", "copies", "equal images"],
)
def test_scores_are_those_of_the_definitions(real: Tensor, generated: Tensor) -> None:
    assert scores(real, generated) == pytest.approx(brute(real, generated), abs=1e-9)


def test_precision_and_recall_are_those_of_torch_fidelity() -> None:
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    real, generated = noise(400, 16), 0.9 * noise(350, 16, 1)
    theirs = prc.prc_features_to_metric(
        generated, real, prc_neighborhood=3, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    ours = scores(real, generated)
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)


def test_scores_are_those_of_prdc() -> None:
    prdc = pytest.importorskip("prdc")
    real, generated = noise(400, 16), 0.9 * noise(350, 16, 1)
    for k in (3, 5):
        theirs = prdc.compute_prdc(real.numpy(), generated.numpy(), nearest_k=k)
        ours = neighbourhoods(real, generated, k=k, density_k=k).scores()
        assert {name: float(value) for name, value in ours.items()} == pytest.approx(theirs, abs=1e-6)


def test_neighbours_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.neighbors")
    queries, references = noise(50, 16), noise(350, 16, 1)
    search = sklearn.NearestNeighbors(n_neighbors=4, algorithm="brute").fit(references.double().numpy())
    distances, rows = search.kneighbors(queries.double().numpy())
    found = nearest(queries, references, 4)
    assert found.rows.tolist() == rows.tolist()
    torch.testing.assert_close(found.distances, torch.from_numpy(distances), rtol=1e-6, atol=1e-9)


# What each score catches


def test_missing_kinds_lower_recall_and_coverage_but_not_precision() -> None:
    real = kinds(1000, 0)
    fresh, missing = scores(real, kinds(1000, 1)), scores(real, kinds(1000, 1, kinds_of=2))
    assert missing["recall"] < 0.6 * fresh["recall"] and missing["coverage"] < 0.6 * fresh["coverage"]
    assert missing["precision"] > fresh["precision"] - 0.03 and missing["density"] > fresh["density"] - 0.1


def test_noise_lowers_precision_and_density() -> None:
    real = kinds(1000, 0)
    fresh, noisy = scores(real, kinds(1000, 1)), scores(real, kinds(1000, 1, spread=2.0))
    assert noisy["precision"] < fresh["precision"] - 0.3 and noisy["density"] < fresh["density"] - 0.3
    assert noisy["recall"] > fresh["recall"] - 0.03, "noise does not lower recall"


def test_real_images_have_the_coverage_that_theory_says() -> None:
    found = scores(noise(3000, 16), noise(3000, 16, 1))
    assert found["coverage"] == pytest.approx(1 - 2**-5, abs=0.01)
    assert found["density"] == pytest.approx(1, abs=0.05)


# Parts and processes


def test_scores_do_not_depend_on_batches() -> None:
    real, generated = kinds(150, 0), kinds(130, 1)
    metric = Manifold()
    for number in range(0, 150, 7):
        metric.update(real[number : number + 7], real=True)
        metric.update(generated[number : number + 7], real=False)
    found = metric.compute()
    assert {name: float(value) for name, value in found.items()} == scores(real, generated)
    assert not metric.state_dict()


_TWO = """
import sys
from datetime import timedelta
from pathlib import Path
import torch
from torch import distributed
from tests.test_neighbours import kinds
from vedute.metrics.manifold import Manifold
from vedute.metrics.memorisation import Memorisation

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
distributed.init_process_group(
    "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
)
for name, cut in (("parts", 61), ("one", 150)):
    mine = slice(0, cut) if rank == 0 else slice(cut, None)  # of the second the other rank has none
    manifold, memory = Manifold(), Memorisation()
    if name == "parts" or rank == 0:
        for part in torch.split(torch.arange(150)[mine], 20):
            manifold.update(kinds(150, 0)[part], real=True)
            manifold.update(kinds(150, 1)[part], real=False)
            for seed, kind in enumerate(("train", "held_out", "generated")):
                memory.update(kinds(150, seed)[part], kind)
    torch.save({**manifold.compute(), **memory.compute()}, folder / f"{name}{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    from vedute.metrics.memorisation import Memorisation

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", _TWO, str(rank), str(tmp_path)], env=environment, cwd=ROOT)
        for rank in range(2)
    ]
    assert [process.wait(timeout=180) for process in both] == [0, 0]
    memory = Memorisation()
    for seed, kind in enumerate(("train", "held_out", "generated")):
        memory.update(kinds(150, seed), kind)
    expected = {**neighbourhoods(kinds(150, 0), kinds(150, 1)).scores(), **memory.compute()}
    for name in ("parts0", "parts1", "one0", "one1"):
        found = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        assert set(found) == set(expected)
        for score, value in expected.items():
            torch.testing.assert_close(found[score], value, equal_nan=True, msg=f"{name}: {score}")
