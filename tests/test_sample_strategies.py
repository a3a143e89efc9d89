"""``sample --strategy`` and fitted latent samplers, as a user runs them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.commands import failed
from tests.data.judged import write_config
from vedute import checkpoints
from vedute.batch import Condition
from vedute.checkpoints import load_checkpoint
from vedute.cli import main
from vedute.metrics.judge import load_score_judge
from vedute.sampling.rankers import score_ranker

CLASSES = Path("runs/tiny/0/checkpoints/best.ckpt")
_OPTIMIZER = "{class_path: torch.optim.AdamW, init_args: {lr: 3.0e-3}}"
_CVAE = """{class_path: lightning_modules.cvae.CVAE, init_args: {
  network: {class_path: vedute.networks.residual_vae.ResidualVAE, init_args: {
    latent_size: 4, encoder_widths: [8, 8, 8], decoder_widths: [8, 8, 8]}},
  latent_sampler: {class_path: SAMPLER, init_args: {OPTIONS}},
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-3}}}}"""
_JUDGE = """{class_path: lightning_modules.KIND, init_args: {
  network: {class_path: vedute.networks.classifiers.ResidualClassifier, init_args: {widths: [8, 16]}},
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 3.0e-3}}}}"""
FLOW = ("vedute.sampling.latent_flow.LatentFlow", "hidden: 8, steps: 4, batch_size: 32")
MIXTURE = ("vedute.sampling.mixture.GaussianMixture", "components: 2")


def cvae(sampler: str, options: str) -> str:
    return _CVAE.replace("SAMPLER", sampler).replace("OPTIONS", options)


def fit(config: Path, *options: str) -> Path:
    assert (
        main(["fit", "--config", str(config), "--trainer.default_root_dir", str(config.parent), *options])
        == 0
    )
    return config.parent / "runs" / config.stem / "0" / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a CVAE of scores with a flow."""
    folder = tmp_path_factory.mktemp("scores")
    return fit(
        write_config(folder / "rated.yaml", cvae(*FLOW), "RatedDataModule"), "--trainer.max_epochs", "2"
    )


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regressor")
    model = _JUDGE.replace("KIND", "regressor.Regressor")
    return fit(write_config(folder / "judge.yaml", model, "RatedDataModule"), "--trainer.max_epochs", "2")


@pytest.fixture(scope="module")
def classifier(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tmp_path_factory.mktemp("classifier") / "judge.yaml"
    data = tiny_config.read_text().split("model:")[0]
    model = _JUDGE.replace("KIND", "classifier.Classifier")
    config.write_text(f"{data}model: {model}\ntrainer: {{max_epochs: 1, precision: 32-true}}\n")
    return fit(config)


def images(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in folder.glob("*.png")}


def sample(checkpoint: Path, output: Path, *options: str | Path) -> dict[str, np.ndarray]:
    """Generate into a folder, and return its pictures."""
    args = ["sample", "--checkpoint", checkpoint, "--output", output, *options]
    assert main([str(arg) for arg in args]) == 0
    return images(output)


def allow_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkpoints name the classes of tests."""
    for name in ("ALLOWED_PACKAGES", "_OWN_PACKAGES"):
        monkeypatch.setattr(checkpoints, name, (*getattr(checkpoints, name), "tests"))


STRATEGIES: dict[str, list[str]] = {
    "ensemble": ["--members", "3", "--spread", "1"],
    "probability": ["--spread", "1"],
    "refine": ["--rounds", "2", "--noise", "0.1"],
    "truncation": ["--truncation", "0.3", "--truncate", "redraw"],
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_makes_other_images_than_direct_whatever_the_batch(
    trained: Path, scores: Path, strategy: str
) -> None:
    for kind, checkpoint, wish in (("class", CLASSES, "coast"), ("score", scores, "Moira=7,Louie=8")):
        options = ["--condition", wish, "--count", "3"]
        direct = sample(checkpoint, trained / f"{kind}-direct", *options)
        chosen = [*options, "--strategy", strategy, *STRATEGIES[strategy]]
        whole = sample(checkpoint, trained / f"{kind}-whole", *chosen)
        single = sample(checkpoint, trained / f"{kind}-single", *chosen, "--batch-size", "1")
        assert whole.keys() == direct.keys() == single.keys() and len(whole) == 3
        assert all(np.abs(whole[name] - single[name]).max() <= 1 for name in whole)
        assert any(np.abs(whole[name] - direct[name]).max() >= 1 for name in whole)
        with (trained / f"{kind}-whole" / "conditions.csv").open() as file:
            assert [row["condition"] for row in csv.DictReader(file)] == [wish] * 3


def test_the_best_of_candidates_pleases_the_judge_and_a_grid_is_drawn(
    trained: Path, scores: Path, regressor: Path, classifier: Path
) -> None:
    wish = ["--condition", "Moira=9,Louie=9", "--count", "4"]
    best: list[str | Path] = ["--strategy", "best-of", "--candidates", "6", "--regressor", regressor]
    direct = sample(scores, trained / "direct", *wish)
    chosen = sample(scores, trained / "best", *wish, *best)
    judge = load_score_judge(regressor)
    high = score_ranker(judge, ["Moira", "Louie"], 3, [0.0, 0.0], [1.0, 1.0], "high")

    def liked(pictures: dict[str, np.ndarray]) -> float:
        pixels = torch.tensor(np.stack([pictures[name] for name in sorted(pictures)])).permute(0, 3, 1, 2)
        with torch.no_grad():
            return float(high(pixels.float() / 255, Condition()).mean())

    higher = sample(scores, trained / "high", *wish, *best, "--prefer", "high")
    assert liked(higher) > liked(direct)
    assert any((chosen[name] != direct[name]).any() for name in chosen)
    grid = ["--strategy", "best-of", "--candidates", "3", "--classifier", classifier, "--output", "best.png"]
    assert main(["sample", "--checkpoint", str(CLASSES), *map(str, grid)]) == 0
    assert Path("best.png").is_file()


def test_scores_that_are_left_out_are_drawn_from_what_was_learned(
    trained: Path, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    allow_tests(monkeypatch)
    learned = ["--strategy", "probability", "--distribution", "learned", "--spread", "0.1"]
    pictures = sample(scores, trained / "learned", "--condition", "Moira=7", "--count", "3", *learned)
    assert len(pictures) == 3
    assert "leaves out: Louie" in failed(
        capsys, "sample", "--checkpoint", scores, "--condition", "Moira=7", *learned[:2]
    )
    assert "outside the scores' range" in failed(
        capsys, "sample", "--checkpoint", scores, "--condition", "Moira=11", *learned
    )
    classes = sample(CLASSES, trained / "classes", "--condition", "coast", "--count", "2", *learned)
    direct = sample(CLASSES, trained / "direct", "--condition", "coast", "--count", "2")
    assert all(np.abs(classes[name] - direct[name]).max() <= 1 for name in direct), "no label is fuzzy"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--members", "4"], "--members is an option of --strategy ensemble; the strategy is direct"),
        (["--strategy", "refine", "--spread", "1"], "--strategy ensemble and probability"),
        (["--strategy", "best-of"], "needs a judge"),
        (["--strategy", "best-of", "--classifier", "a", "--regressor", "b"], "not both"),
        (["--strategy", "best-of", "--classifier", "a", "--prefer", "high"], "--prefer is about scores"),
        (["--strategy", "best-of", "--regressor", "a"], "ranks by scores"),
        (["--strategy", "best-of", "--classifier", "a.ckpt"], "no checkpoint a.ckpt"),
        (["--strategy", "best-of", "--classifier", CLASSES], "a classifier is needed"),
        (["--strategy", "truncation", "--truncation", "3"], "at most 1"),
        (["--strategy", "ensemble", "--members", "1"], "at least 2 members"),
        (["--strategy", "probability", "--spread=-1"], "at least 0"),
        (["--strategy", "refine", "--noise", "1"], "at least 1 round and noise in"),
    ],
)
def test_what_strategies_refuse_before_anything_is_made(
    trained: Path, capsys: pytest.CaptureFixture[str], options: list[str | Path], said: str
) -> None:
    message = failed(capsys, "sample", "--checkpoint", CLASSES, *options, "--output", "none")
    assert said in message and not Path("none").exists()


def test_a_model_without_an_encoder_or_numbers_as_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    allow_tests(monkeypatch)
    model = f"{{class_path: tests.data.judged.MaskPainter, init_args: {{optimizer: {_OPTIMIZER}}}}}"
    config = write_config(tmp_path / "masks.yaml", model, "MaskedDataModule")
    checkpoint = fit(config, "--trainer.max_epochs", "1")
    for strategy, said in (
        ("refine", "has no encoder"),
        ("truncation", "not driven by such noise"),
        ("ensemble", "kind 'image'"),
        ("probability", "kind 'image'"),
    ):
        assert said in failed(capsys, "sample", "--checkpoint", checkpoint, "--strategy", strategy)


@pytest.mark.parametrize("sampler", [FLOW, MIXTURE], ids=["flow", "mixture"])
def test_a_resumed_run_ends_with_the_same_fitted_sampler(tmp_path: Path, sampler: tuple[str, str]) -> None:
    states = []
    for name in ("whole", "parts"):
        folder = tmp_path / name
        folder.mkdir()
        config = write_config(folder / "rated.yaml", cvae(*sampler), "RatedDataModule")
        if name == "parts":
            fit(config, "--trainer.max_epochs", "1")
            checkpoint = fit(config, "--trainer.max_epochs", "2", "--ckpt_path", "last")
        else:
            checkpoint = fit(config, "--trainer.max_epochs", "2")
        state = load_checkpoint(checkpoint)["state_dict"]
        assert isinstance(state, dict)
        states.append({key: value for key, value in state.items() if key.startswith("latent_")})
    assert states[0].keys() == states[1].keys()
    assert any("latent_sampler" in key for key in states[0])
    assert not torch.equal(states[0]["latent_sampler.factor"][0], torch.eye(4)), "it is fitted"
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
