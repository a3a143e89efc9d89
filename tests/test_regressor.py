"""The judge of scores: its metrics, and its training through the command line."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed
from PIL import Image
from torch.nn import functional as F
from torchmetrics.functional import spearman_corrcoef

from lightning_modules.regressor import Regressor
from tests.data.judged import RATERS, RatedDataModule, write_config
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_checkpoint, load_module
from vedute.cli import main
from vedute.errors import CheckpointError, ConfigurationError
from vedute.loggers import read_metrics
from vedute.metrics.judge import load_judge
from vedute.metrics.scores import ScoreAgreement, ScorePairs, rank_correlation
from vedute.networks.classifiers import ResidualClassifier
from vedute.report.score_scatter import score_scatter

MODEL = """{class_path: lightning_modules.regressor.Regressor, init_args: {
  network: {class_path: vedute.networks.classifiers.ResidualClassifier, init_args: {widths: [16, 32]}},
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 3.0e-3}}}}"""
EXTRA = "checkpoint: {monitor: val/rank_correlation, mode: max}"
SCATTER = "vedute.callbacks.score_scatter.ScoreScatter"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regressor")
    config = write_config(folder / "rated.yaml", MODEL, "RatedDataModule", EXTRA)
    options = ["--trainer.default_root_dir", str(folder), f"--trainer.callbacks+={SCATTER}"]
    assert main(["fit", "--config", str(config), *options]) == 0
    return folder / "runs" / "rated" / "0"


# Training


def test_it_learns_the_raters_tastes_and_logs_in_their_unit(run: Path) -> None:
    rows = [row for row in read_metrics(run / "metrics.csv") if row["val/mae"]]
    for measure, low, high in (("mae", 0.0, 9.0), ("rank_correlation", -1.0, 1.0)):
        for row in rows:
            of_raters = [float(row[f"val/{measure}/{rater}"]) for rater in RATERS]
            assert float(row[f"val/{measure}"]) == pytest.approx(sum(of_raters) / 2, abs=1e-5)
            assert all(low <= value <= high for value in of_raters)
    assert float(rows[-1]["val/loss"]) < float(rows[0]["val/loss"])
    assert max(float(row["val/rank_correlation"]) for row in rows) > 0.8
    assert min(float(row["val/mae"]) for row in rows) < 1.5, "the mean of all scores is wrong by 2.5"


def test_a_checkpoint_alone_is_a_judge_of_scores(run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    judge = load_module(path, Regressor)
    data = RatedDataModule(image_size=32)
    batch = data.batch("test", range(data.size("test")))
    with torch.no_grad():
        features, vector = judge.features(batch.image), judge(batch.image)
        one_by_one = torch.cat([judge(image[None]) for image in batch.image])
        again = load_module(path, Regressor)(batch.image)
    assert features.shape == (12, 32) and vector.shape == (12, 2) and vector.dtype == torch.float32
    assert torch.equal(vector, judge.score(features)) and torch.equal(vector, again)
    assert torch.allclose(vector, one_by_one, atol=1e-4), "the same in any batch"
    assert batch.condition.vector is not None
    given = judge.in_units(batch.condition.vector)
    assert torch.allclose(given, given.round(), atol=1e-4), "whole numbers, as they were given"
    assert judge.condition_mean == pytest.approx(data.condition_mean)
    assert not any("scores" in name for name in load_checkpoint(path)["state_dict"])  # type: ignore[attr-defined]


def test_scores_are_drawn_at_the_end_of_fit_and_test(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Image.open(run / "samples" / "scores_val.png").width > 300
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", best]) == 0
    assert Image.open(run / "samples" / "scores_test.png").width > 300
    assert "test/rank_correlation/Louie" in capsys.readouterr().out


def test_it_is_not_taken_for_a_classifier(run: Path) -> None:
    with pytest.raises(CheckpointError, match="a classifier is needed"):
        load_judge(run / "checkpoints" / "best.ckpt")


# The module


def module(**options: object) -> Regressor:
    given = {
        "image_size": (32, 32),
        "image_channels": 3,
        "condition_kind": "score",
        "condition_names": RATERS,
        "condition_mean": [4.0, 5.0],
        "condition_scale": [2.0, 0.5],
        "train_size": 10,
        "network": lambda size, channels, scores: ResidualClassifier(size, channels, scores, widths=(4, 8)),
        "optimizer": torch.optim.AdamW,
    }
    return Regressor(**{**given, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("delta", [None, 0.5])
def test_the_loss_is_of_standardised_scores_and_the_error_in_their_unit(delta: float | None) -> None:
    regressor = module(huber_delta=delta).eval()
    logged: dict[str, float] = {}
    regressor.log = lambda name, value, **_: logged.update({name: float(value.detach())})  # type: ignore[method-assign]
    image, vector = torch.rand(4, 3, 32, 32), 2 * torch.randn(4, 2)
    loss = regressor.training_step(Batch(image, Condition(vector)))
    error = (regressor(image) - vector).abs()
    expected = (
        error.square().mean()
        if delta is None
        else torch.where(error < 0.5, error.square() / 2, 0.5 * (error - 0.25)).mean()
    )
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert logged["train/mae"] == pytest.approx(
        float((error.detach() * torch.tensor([2.0, 0.5])).mean()), rel=1e-5
    )
    torch.autograd.backward(loss)
    assert all(parameter.grad is not None for parameter in regressor.network.parameters())


def test_scores_keep_their_digits_in_mixed_precision() -> None:
    regressor = module().eval()
    features = torch.rand(500, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        scores = regressor.score(features)
    assert scores.dtype == torch.float32 and len(torch.unique(scores[:, 0])) > 490


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"condition_kind": "class"}, "needs data with scores .* have the kind 'class'"),
        ({"condition_kind": "none", "condition_names": []}, "needs data with scores"),
        ({"huber_delta": 0.0}, "huber_delta must be above 0"),
        ({"image_size": (2, 32)}, "at least 4 pixels"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        module(**options)


def test_data_without_scores_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "masks.yaml", MODEL, "MaskedDataModule")
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "A regressor needs data with scores" in said and "Traceback" not in said


# The metrics


def test_mean_absolute_error_equals_a_hand_computed_one() -> None:
    agreement = ScoreAgreement(torch.tensor([[1.0, 5.0], [2.0, 7.0]]), torch.tensor([[2.0, 5.0], [5.0, 6.0]]))
    assert agreement.mean_absolute_error().tolist() == [2.0, 0.5]


def test_rank_correlation_is_spearmans_with_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randint(0, 10, (200, 3), generator=generator).float()
    predicted = given + 3 * torch.randn(200, 3, generator=generator)
    predicted[:, 1] = predicted[:, 1].round()  # ties on both sides
    found = rank_correlation(predicted, given)
    for column in range(3):
        expected = spearman_corrcoef(predicted[:, column], given[:, column])
        assert float(found[column]) == pytest.approx(float(expected), abs=1e-5)
    assert rank_correlation(given, given.exp()).tolist() == [1.0, 1.0, 1.0], "any rising function"
    assert rank_correlation(-given, given).tolist() == [-1.0, -1.0, -1.0]
    assert rank_correlation(torch.ones(5, 1), given[:5, :1]).tolist() == [0.0]
    assert rank_correlation(given[:1], given[:1]).tolist() == [0.0, 0.0, 0.0]


def test_rank_correlation_of_many_equal_scores_does_not_overflow() -> None:
    given = torch.zeros(150_000, 1)
    given[100_000:] = 1
    assert rank_correlation(given, given).tolist() == [1.0]


def test_a_single_image_has_scores() -> None:
    pairs = ScorePairs(1)
    pairs.update(torch.tensor([[3.0]]), torch.tensor([[4.0]]))
    assert pairs.compute().predicted.shape == (1, 1) and pairs.compute().mean_absolute_error().tolist() == [1]


def _score_half(rank: int, address: str, counts: list[int], folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    predicted, given = _scores()
    start = sum(counts[:rank])
    pairs = ScorePairs(2)
    for row in range(start, start + counts[rank]):
        pairs.update(predicted[row : row + 1], given[row : row + 1])
    found = pairs.compute()
    torch.save([found.mean_absolute_error(), found.rank_correlation()], Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def _scores() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    given = torch.randint(0, 10, (15, 2), generator=generator).float()
    return given + torch.randn(15, 2, generator=generator), given


@pytest.mark.slow
@pytest.mark.parametrize("counts", [[9, 6], [15, 0]])
def test_two_processes_find_what_one_finds(tmp_path: Path, counts: list[int]) -> None:
    address = f"file://{tmp_path / 'meeting'}"
    start = multiprocessing.get_context("spawn").Process
    ranks = [start(target=_score_half, args=(rank, address, counts, str(tmp_path))) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=120)
        assert process.exitcode == 0
    alone = ScoreAgreement(*_scores())
    for rank in range(2):
        error, correlation = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.allclose(error, alone.mean_absolute_error())
        assert torch.equal(correlation, alone.rank_correlation())


def test_loss_of_perfect_predictions_is_zero() -> None:
    regressor = module()
    vector = torch.randn(4, 2)
    assert float(regressor._loss(vector, vector)) == 0
    assert (
        float(F.mse_loss(regressor.in_units(vector), vector * torch.tensor([2, 0.5]) + torch.tensor([4, 5])))
        == 0
    )


# The picture


@pytest.mark.parametrize(("raters", "images"), [(1, 1), (2, 60), (6, 5000)])
def test_the_picture_has_a_panel_a_rater(raters: int, images: int) -> None:
    given = torch.randint(0, 10, (images, raters)).float()
    agreement = ScoreAgreement(given + torch.randn(images, raters), given)
    picture = score_scatter(agreement, [f"rater {number}" for number in range(raters)], "Test")
    assert picture.height > (600 if raters > 3 else 300) and picture.width > (900 if raters > 3 else 400)


def test_the_picture_shows_scores_of_any_value_and_of_a_single_one() -> None:
    for given in (torch.rand(50, 1), torch.full((50, 1), 3.0)):
        assert score_scatter(ScoreAgreement(torch.rand(50, 1), given), ["Moira"], "Test").width > 400
