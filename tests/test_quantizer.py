"""The codebook: nearest codes, straight-through gradients, moving averages, restarts, equal on all ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vedute.distributed import from_first, several, summed
from vedute.errors import ConfigurationError
from vedute.metrics.codes import CodeUsage
from vedute.networks.quantizer import EMAQuantizer

ROOT = Path(__file__).parents[1]


def clusters(count: int = 256, seed: int = 0) -> Tensor:
    """Return a map (count, 2, 1, 1) of points around the four corners of a square."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    points = corners[torch.randint(4, (count,), generator=generator)]
    return (points + 0.05 * torch.randn(count, 2, generator=generator))[:, :, None, None]


@pytest.mark.parametrize("normalise", [False, True])
def test_each_vector_becomes_the_nearest_code(normalise: bool) -> None:
    quantizer = EMAQuantizer(codes=7, code_size=3, normalise=normalise)
    given = torch.randn(2, 3, 4, 5)
    found = quantizer(given)
    rows = found.vectors.permute(0, 2, 3, 1).reshape(-1, 3)
    assert torch.allclose(rows, quantizer.look_up(found.codes).reshape(-1, 3), atol=1e-6)
    compared = torch.nn.functional.normalize(given, dim=1) if normalise else given
    distances = torch.cdist(compared.permute(0, 2, 3, 1).reshape(-1, 3), quantizer.codebook)
    assert torch.equal(distances.argmin(dim=1), found.codes.flatten())
    nearest = distances.min(dim=1).values.reshape(2, -1).square().mean(dim=1)
    assert torch.allclose(found.commitment, nearest / 3, atol=1e-5)


def test_quantising_twice_changes_nothing() -> None:
    quantizer = EMAQuantizer(codes=16, code_size=4)
    once = quantizer(torch.randn(3, 4, 2, 2))
    twice = quantizer(once.vectors)
    assert torch.equal(once.codes, twice.codes)


def test_gradients_pass_straight_through_and_reach_no_code() -> None:
    quantizer = EMAQuantizer(codes=5, code_size=2, normalise=False)
    given = torch.randn(2, 2, 3, 3, requires_grad=True)
    wanted = torch.randn(2, 2, 3, 3)
    (quantizer(given).vectors * wanted).sum().backward()
    assert given.grad is not None and torch.allclose(given.grad, wanted)
    assert not list(quantizer.parameters())


def test_commitment_pulls_vectors_to_their_codes() -> None:
    quantizer = EMAQuantizer(codes=4, code_size=2, normalise=False)
    given = torch.randn(2, 2, 3, 3, requires_grad=True)
    found = quantizer(given)
    (gradient,) = torch.autograd.grad(found.commitment.sum(), given)
    assert torch.allclose(gradient, 2 * (given - found.vectors).detach() / (2 * 9), atol=1e-6)


def test_the_first_batch_places_the_codes_by_k_means() -> None:
    torch.manual_seed(0)
    quantizer = EMAQuantizer(codes=8, code_size=2, normalise=False)
    found = quantizer(clusters(), learn=True)
    assert found.commitment.mean() < 0.01  # of random codes it is about 1
    assert CodeUsageOf(found.codes, 8)[1] == 1


def CodeUsageOf(codes: Tensor, size: int) -> tuple[float, float]:
    usage = CodeUsage(size)
    usage.update(codes)
    perplexity, used = usage.compute()
    return float(perplexity), float(used)


def test_codes_follow_the_vectors_and_stay_put_without_learning() -> None:
    torch.manual_seed(0)
    quantizer = EMAQuantizer(codes=4, code_size=2, normalise=False, decay=0.8, restart_share=0)
    quantizer(clusters(), learn=True)
    for step in range(30):
        quantizer(clusters(seed=step) + 0.3, learn=True)
    assert quantizer(clusters() + 0.3).commitment.mean() < 0.01
    before = quantizer.codebook.clone()
    quantizer(clusters() + 5)
    assert torch.equal(quantizer.codebook, before)


def test_unused_codes_come_back_to_life() -> None:
    torch.manual_seed(0)
    for share, alive in ((0.2, True), (0.0, False)):
        quantizer = EMAQuantizer(codes=8, code_size=2, normalise=False, decay=0.8, restart_share=share)
        quantizer(torch.zeros(64, 2, 1, 1) + 0.01 * torch.randn(64, 2, 1, 1), learn=True)
        for step in range(30):  # the vectors move far away from nearly all codes
            quantizer(clusters(seed=step) + 10, learn=True)
        assert (CodeUsageOf(quantizer(clusters() + 10).codes, 8)[1] == 1) == alive


def test_more_codes_than_vectors_are_all_different() -> None:
    quantizer = EMAQuantizer(codes=32, code_size=4, normalise=True)
    quantizer(torch.randn(1, 4, 2, 2), learn=True)
    assert len(torch.unique(quantizer.codebook, dim=0)) == 32
    assert torch.allclose(quantizer.codebook.norm(dim=1), torch.ones(32), atol=1e-5)


def test_half_precision_outside_changes_nothing_inside() -> None:
    torch.manual_seed(0)
    quantizer, given = EMAQuantizer(codes=64, code_size=8), torch.randn(2, 8, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = quantizer(given.bfloat16())
    assert inside.vectors.dtype == torch.float32
    assert torch.equal(inside.codes, quantizer(given.bfloat16().float()).codes)


def test_the_state_is_the_whole_codebook() -> None:
    torch.manual_seed(0)
    first, second = (EMAQuantizer(codes=4, code_size=2) for _ in range(2))
    first(clusters(), learn=True)
    second.load_state_dict(first.state_dict())
    for quantizer in (first, second):
        torch.manual_seed(1)
        quantizer(clusters(seed=1), learn=True)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_step_does_not_ask_the_device_whether_the_codebook_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantizer = EMAQuantizer(codes=4, code_size=2)
    empty = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(clusters(), learn=True)

    def wait(self: Tensor) -> bool:
        raise AssertionError("a number was read, for which a GPU would wait")

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "__bool__", wait)
        quantizer(clusters(seed=1), learn=True)
    quantizer.load_state_dict(empty)  # what is loaded counts, ready or not
    assert not quantizer.ready
    quantizer(clusters(), learn=True)
    assert quantizer.ready


def test_one_process_is_alone() -> None:
    value = torch.arange(3)
    assert not several() and torch.equal(summed(value), value) and torch.equal(from_first(value), value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"codes": 1}, "at least 2 codes"),
        ({"code_size": 0}, "code_size is 0"),
        ({"code_size": 1, "normalise": True}, "at least 2 entries"),
        ({"decay": 1.0}, "decay"),
        ({"restart_share": -0.1}, "restart_share"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        EMAQuantizer(**options)  # type: ignore[arg-type]


def test_perplexity_and_usage() -> None:
    assert CodeUsageOf(torch.tensor([[0, 1], [2, 3]]), 4) == pytest.approx((4.0, 1.0))
    assert CodeUsageOf(torch.tensor([5, 5, 5]), 10) == pytest.approx((1.0, 0.1))
    assert CodeUsageOf(torch.tensor([0, 0, 1, 1]), 8) == pytest.approx((2.0, 0.25))


_TWO = """
import sys
from datetime import timedelta
from pathlib import Path
import torch
from torch import distributed
from vedute.distributed import from_first, several, summed
from vedute.metrics.codes import CodeUsage
from vedute.networks.quantizer import EMAQuantizer

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
distributed.init_process_group(
    "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
)
torch.manual_seed(rank)  # ranks draw differently
quantizer, usage = EMAQuantizer(codes=16, code_size=4, decay=0.8), CodeUsage(16)
vectors = torch.randn(6, 64, 4, 2, 2, generator=torch.Generator().manual_seed(rank)) + 3 * rank
for batch in vectors:
    usage.update(quantizer(batch, learn=True).codes)
before = quantizer.use.sum().item()
even = EMAQuantizer(codes=16, code_size=4, restart_share=0)
even(vectors[0], learn=True)
assert even.use.sum() == 2 * 64 * 4, even.use.sum()  # from the first batch on those of both
mine = torch.full((3, 2), rank + 1.0).T
assert several() and torch.equal(summed(mine), torch.full((2, 3), 3.0))
assert torch.equal(from_first(mine), torch.ones(2, 3)) and mine[0, 0] == rank + 1
torch.save((quantizer.state_dict(), torch.stack(usage.compute()), before), folder / f"{rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_keep_one_codebook(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", _TWO, str(rank), str(tmp_path)], env=environment, cwd=ROOT)
        for rank in range(2)
    ]
    assert [process.wait(timeout=180) for process in both] == [0, 0]
    (first, usage, total), (second, other, _) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)
    )
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert torch.equal(usage, other)
    # 64 * 4 vectors of each of two processes a batch, after six batches of decay 0.8
    assert total > 256
