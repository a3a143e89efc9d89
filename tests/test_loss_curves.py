"""Curves of losses: which terms there are, the picture, and losses and balances in a whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from vedute.callbacks.loss_curves import LossCurves
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.loggers import read_metrics
from vedute.report.loss_curves import Term, loss_curves, terms_of_run

RUN = Path("runs/tiny/0")
_PACKAGE = "vedute.losses"
LOSSES = {
    "l1": {"class_path": f"{_PACKAGE}.pixel.AbsoluteError"},
    "structure": {
        "class_path": f"{_PACKAGE}.similarity.StructuralDissimilarity",
        "init_args": {"weight": 2.0},
    },
    "colours": {"class_path": f"{_PACKAGE}.histogram.ColourHistogram", "init_args": {"bins": 16}},
    "likelihood": {
        "class_path": f"{_PACKAGE}.likelihood.GaussianLikelihood",
        "init_args": {"variance": "learned"},
    },
    "features": {
        "class_path": f"{_PACKAGE}.perceptual.Perceptual",
        "init_args": {"network": "squeezenet1_1", "layers": ["features.1"], "weights": "random"},
    },
}
BALANCES = {
    "OnPlateau": {"order": ["structure", "kl"], "patience": 1},
    "GradientNorm": {"every_n_steps": 2},
    "Uncertainty": {"terms": ["reconstruction", "features"]},
}


def rows(**columns: list[str]) -> list[dict[str, str]]:
    names = {name.replace("__", "/"): values for name, values in columns.items()}
    return [dict(zip(names, values, strict=True)) for values in zip(*names.values(), strict=True)]


def test_terms_are_those_with_a_weight() -> None:
    table = rows(
        step=["1", "2", "2"],
        train__loss=["3", "2", ""],
        train__kl=["0.5", "nan", ""],
        train__psnr=["9", "10", ""],
        val__kl=["", "", "0.4"],
        train__weight__kl=["0", "0.1", ""],
        val__psnr=["", "", "9"],
    )
    total, kl = terms_of_run(table)
    assert total.name == "loss" and total.train[1].tolist() == [3, 2] and not len(total.val[0])
    assert kl.name == "kl" and kl.train[1].tolist() == [0.5], "what is no number is left out"
    assert kl.val[0].tolist() == [2] and kl.weight[1].tolist() == [0, 0.1]


def test_a_module_without_weights_shows_what_it_logs() -> None:
    both = rows(step=["1"], train__loss=["1"], train__accuracy=["1"], val__accuracy=["1"], train__lr=["1"])
    assert [term.name for term in terms_of_run(both)] == ["loss", "accuracy"]
    trained = rows(step=["1"], train__generator=["1"], train__critic=["2"])
    assert [term.name for term in terms_of_run(trained)] == ["generator", "critic"]
    assert terms_of_run([]) == []


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("points", [1, 2, 200])
def test_any_number_of_terms_and_points_can_be_drawn(count: int, points: int) -> None:
    steps, noise = np.arange(1.0, points + 1), np.random.default_rng(0)
    curves = [
        steps * 0,
        1e6 * np.exp(-steps) + 1e-9,
        -steps,
        noise.normal(size=points),
    ]
    nothing = (np.zeros(0), np.zeros(0))
    terms = [
        Term(f"term {n}", (steps, curve), nothing if n % 2 else (steps, curve), (steps, np.abs(curve)))
        for n, curve in enumerate(curves[:count])
    ]
    picture = loss_curves(terms, "Losses")
    assert picture.mode == "RGB" and np.asarray(picture).std() > 1


def config(tiny_config: Path, path: Path, **model: object) -> Path:
    """Write the tiny configuration with options of the model, and curves every epoch."""
    content = yaml.safe_load(tiny_config.read_text())
    content["model"]["init_args"].update(model)
    curves = {"class_path": "vedute.callbacks.loss_curves.LossCurves", "init_args": {"every_n_epochs": 1}}
    content["trainer"]["callbacks"] = [curves]
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("balance", BALANCES)
def test_a_run_with_every_loss_and_a_balance(
    balance: str, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = config(
        tiny_config,
        tmp_path / "tiny.yaml",
        losses=LOSSES,
        loss_balance={"class_path": f"{_PACKAGE}.balance.{balance}", "init_args": BALANCES[balance]},
    )
    assert main(["fit", "--config", str(path)]) == 0
    with Image.open(RUN / "samples" / "losses.png") as picture:
        first = picture.size
    table = read_metrics(RUN / "metrics.csv")
    names = {"loss", "reconstruction", "kl", *LOSSES}
    assert {term.name for term in terms_of_run(table)} == names
    weights = [float(row["train/weight/structure"]) for row in table if row["train/weight/structure"]]
    assert weights[0] == {"OnPlateau": 0.0, "Uncertainty": 2.0}.get(balance, weights[0])

    if balance != "OnPlateau":
        return
    # A resumed run draws its whole training; the checkpoint samples without the losses' files.
    assert main(["fit", "--config", str(path), "--ckpt_path", "last", "--trainer.max_epochs", "3"]) == 0
    total = terms_of_run(read_metrics(RUN / "metrics.csv"))[0]
    assert len(total.train[0]) == len(set(total.train[0])) and len(total.val[0]) == 3
    with Image.open(RUN / "samples" / "losses.png") as picture:
        assert picture.size == first
    sample = ["--condition", "coast", "--count", "2", "--output", "samples.png"]
    assert main(["sample", "--checkpoint", str(RUN / "checkpoints" / "last.ckpt"), *sample]) == 0


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            {"losses": {"features": {"class_path": "vedute.losses.perceptual.Perceptual"}}},
            "vgg16-397923af.pth",
        ),
        (
            {
                "loss_balance": {
                    "class_path": f"{_PACKAGE}.balance.OnPlateau",
                    "init_args": {"order": ["perceptual"]},
                }
            },
            "'perceptual', which this model does not have",
        ),
    ],
)
def test_mistakes_are_told_before_training(
    model: dict[str, object],
    told: str,
    tiny_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("VEDUTE_WEIGHTS", raising=False)
    assert main(["fit", "--config", str(config(tiny_config, tmp_path / "tiny.yaml", **model))]) == 2
    said = capsys.readouterr()
    assert told in " ".join((said.out + said.err).split()) and "epoch 1" not in said.out
    assert not RUN.exists()


def test_never_is_no_interval() -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        LossCurves(every_n_epochs=0)
