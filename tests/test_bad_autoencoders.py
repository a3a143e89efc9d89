"""Mistakes with autoencoders as a person makes them: one message, exit code 2, and nothing left behind.

Every command is refused before any work; one tiny checkpoint of each kind serves them all. Data that
are broken are in test_bad_data.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.data.cars import tiny_scores, write_tiny_cars
from tests.data.commands import failed
from tests.data.landscapes import write_tiny_class_folders
from vedute.cli import main
from vedute.cli.parser_messages import essence
from vedute.errors import ConfigurationError, VeduteError
from vedute.files import check_place, whole
from vedute.losses.adversarial import AdversarialBalance
from vedute.losses.balance import GradientNorm, OnPlateau, Uncertainty
from vedute.losses.histogram import ColourHistogram
from vedute.losses.objective import Objective
from vedute.schedules import Constant, FromEpoch, LinearWarmup, Progress, WarmupCosine, check_schedule

Refused = Callable[..., str]

_RESIDUAL = (
    "network: {class_path: vedute.networks.residual_vae.ResidualVAE, init_args: "
    "{latent_size: 4, encoder_widths: [8, 8], decoder_widths: [8, 8]}}"
)
_JUDGE = (
    "network: {class_path: vedute.networks.classifiers.ResidualClassifier, init_args: "
    "{widths: [8], blocks: 1}}"
)
_LADDER = (
    "network: {class_path: vedute.networks.ladder.LadderVAE, init_args: "
    "{top_size: 4, map_channels: [2], widths: [8, 8]}}"
)
_GAN = (
    f"{_RESIDUAL}, discriminator: {{class_path: vedute.networks.discriminators.ProjectionDiscriminator, "
    "init_args: {widths: [8, 8]}}"
)
MODELS = {
    "cvae": ("five", "cvae.CVAE", _RESIDUAL),
    "scores": ("cars", "cvae.CVAE", _RESIDUAL),
    "judge": ("five", "classifier.Classifier", _JUDGE),
    "judge3": ("three", "classifier.Classifier", _JUDGE),
    "gan": ("five", "vae_gan.VAEGAN", _GAN),
    "ladder": ("five", "cvae.CVAE", _LADDER),
}
_DATA = {
    "five": "landscapes.LandscapesDataModule",
    "three": "landscapes.LandscapesDataModule",
    "cars": "cars.CarsDataModule",
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tiny data, a configuration of each kind of model, and a run of some."""
    root = tmp_path_factory.mktemp("autoencoders")
    write_tiny_class_folders(root / "five")
    write_tiny_class_folders(root / "three", labels=(0, 1, 2))
    write_tiny_cars(root / "cars", tiny_scores(40))
    for name, (data, model, parts) in MODELS.items():
        (root / f"{name}.yaml").write_text(
            f"data: {{class_path: datamodules.{_DATA[data]}, init_args: "
            f"{{root: {root / data}, image_size: 16, batch_size: 8}}}}\n"
            f"model: {{class_path: lightning_modules.{model}, init_args: {{{parts}, "
            "optimizer: {class_path: torch.optim.AdamW}}}\n"
            "trainer: {max_epochs: 1, limit_train_batches: 1, precision: 32-true, accelerator: cpu, "
            "enable_progress_bar: false}\n",
            encoding="utf-8",
        )
    for name in ("cvae", "scores", "judge", "judge3"):
        here = f"--trainer.default_root_dir={root}"
        assert main(["fit", "--config", str(root / f"{name}.yaml"), here]) == 0
    return root


@pytest.fixture
def refused(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Return a function that runs a command which must fail and leave no file; it returns the message."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> str:
        before = sorted(tmp_path.rglob("*"))
        said = failed(capsys, *args)
        assert sorted(tmp_path.rglob("*")) == before
        assert "Parser key" not in said and "Namespace" not in said and len(said) < 700
        return said

    return run


def best(shelf: Path, name: str) -> Path:
    return shelf / "runs" / name / "0" / "checkpoints" / "last.ckpt"


def term(kind: str, **options: object) -> str:
    given = ", ".join(f"{name}: {value}" for name, value in options.items())
    return f"{{class_path: {kind}, init_args: {{{given}}}}}"


_LOSS = "vedute.losses.histogram.ColourHistogram"
_PLATEAU, _NORM = "vedute.losses.balance.OnPlateau", "vedute.losses.balance.GradientNorm"
_PLACES = "vedute.networks.conditioning.Conditioning"
_WARMUP = "vedute.schedules.LinearWarmup"

FITS: list[tuple[str, str, str, str]] = [
    # model, option below model.init_args, value, what is said
    ("cvae", "losses", f"{{a: {term('vedute.losses.histogram.ColorHistogram')}}}", "mean ColourHistogram?"),
    ("cvae", "losses", f"{{a: {term('vedute.losses.nope.Nope')}}}", "there is no vedute.losses.nope"),
    ("cvae", "losses", f"{{a: {term(_WARMUP)}}}", "LinearWarmup is no ImageLoss"),
    (
        "cvae",
        "losses",
        f"{{a: {term(_LOSS, weight='heavy')}}}",
        "losses.weight: expected a number, got heavy",
    ),
    ("cvae", "losses", f"{{a: {term(_LOSS, wait=3)}}}", "no option 'wait' (did you mean weight?)"),
    ("cvae", "losses", f"{{3: {term(_LOSS)}}}", "'3' cannot name a loss"),
    ("cvae", "losses", f"[{term(_LOSS)}]", "expected names, each with its value"),
    ("cvae", "losses", "{a: null}", "expected a ImageLoss"),
    ("cvae", "loss_schedules", f"{{colours: {term(_WARMUP)}}}", "names the loss 'colours'"),
    ("cvae", "loss_schedules", f"{{kl: {term('vedute.schedules.Nope')}}}", "no vedute.schedules.Nope"),
    ("cvae", "loss_schedules", f"{{kl: {term(_WARMUP, epochs=0)}}}", "epochs > 0"),
    ("cvae", "loss_schedules", f"{{kl: {term('vedute.schedules.FromEpoch')}}}", "FromEpoch needs epoch"),
    ("cvae", "loss_schedules", f"{{kl: {term(_LOSS)}}}", "loss_schedules.kl: ColourHistogram is no schedule"),
    ("cvae", "loss_schedules", "{kl: 3}", "expected a class (class_path and init_args), got 3"),
    ("cvae", "loss_balance", "gradnorm", "expected the path of a class"),
    ("cvae", "loss_balance", term(_PLATEAU), "OnPlateau needs order"),
    ("cvae", "loss_balance", term(_PLATEAU, order="kl"), "loss_balance.order: expected a list, got kl"),
    ("cvae", "reconstruction_weight", ".nan", "'reconstruction' is nan"),
    ("cvae", "kl_free_bits", ".nan", "kl_free_bits is nan"),
    ("cvae", "kl_wait", "1", "did you mean kl_weight?"),
    ("cvae", "network", "vedute.networks.residual_vae.ResidualVEA", "did you mean ResidualVAE?"),
    ("cvae", "network", "vedute.networks.classifiers.ResidualClassifier", "is no VAENetwork"),
    ("cvae", "network.init_args.latent_size", "0", "latent_size of at least 1"),
    ("cvae", "network.init_args.latent_size", "many", "network.latent_size: expected a whole number"),
    ("cvae", "network.init_args.encoder_blocks", "-1", "blocks of at least 0"),
    ("cvae", "network.init_args.encoder_widths", "[0, 8]", "widths of at least 1"),
    ("cvae", "network.init_args.conditioning", term(_PLACES, enters="[nowhere]"), "'film', got nowhere"),
    ("cvae", "network.init_args.conditioning", term(_PLACES, enters="film"), "expected a list, got film"),
    ("cvae", "network.init_args.conditioning", term(_PLACES, embedding=term(_LOSS)), "no ConditionEncoder"),
    ("cvae", "optimizer.init_args.lr", "-1", "optimizer cannot be built: Invalid learning rate"),
    ("ladder", "network.init_args.widths", "[0, 0]", "widths of at least 1"),
    ("gan", "penalty_weight", ".nan", "penalty_weight >= 0"),
    ("gan", "loss_balance", term("vedute.losses.adversarial.AdversarialBalance", limit=-1), "limit above 0"),
]


@pytest.mark.parametrize(("model", "option", "value", "said"), FITS)
def test_a_model_that_cannot_be(
    model: str, option: str, value: str, said: str, shelf: Path, refused: Refused
) -> None:
    config = shelf / f"{model}.yaml"
    assert said in refused("fit", "--config", config, f"--model.init_args.{option}={value}")


@pytest.mark.parametrize("minutes", ["0", "-1", ".nan", "soon"])
def test_a_budget_that_is_none(minutes: str, shelf: Path, refused: Refused) -> None:
    assert "budget.minutes" in refused("fit", "--config", shelf / "cvae.yaml", f"--budget.minutes={minutes}")


def test_callbacks_that_cannot_be(shelf: Path, refused: Refused) -> None:
    add = "--trainer.callbacks+="
    monitor = "vedute.callbacks.latent_monitor.LatentMonitor"
    fit = ("fit", "--config", shelf / "cvae.yaml")
    assert "low_variance" in refused(*fit, add + term(monitor, low_variance=".nan"))
    assert "expected one of 'val', 'train', got all" in refused(*fit, add + term(monitor, split="all"))
    grid = term("vedute.callbacks.sample_grid.SampleGrid", columns=0)
    assert "SampleGrid needs" in refused(*fit, add + grid), "a ValueError of a constructor"
    said = refused("fit", "--config", shelf / "judge.yaml", f"{add}{monitor}")
    assert "Classifier has no encoder" in said


def test_a_reference_without_a_gradient_is_said_in_the_first_step(shelf: Path, refused: Refused) -> None:
    given = f"--model.init_args.loss_balance={term(_NORM, reference='kl')}"
    assert "'kl' has no gradient in the image" in refused("fit", "--config", shelf / "cvae.yaml", given)


def test_a_reference_with_a_gradient_is_used() -> None:
    image = torch.rand(2, 3, 8, 8, requires_grad=True)
    balance = GradientNorm(reference="colours")
    balance.prepare({"colours": 1.0, "brightness": 1.0})
    losses = {"colours": ColourHistogram()(image, 1 - image.detach()).mean(), "brightness": image.mean()}
    multipliers, _ = balance(losses, {"colours": 1.0, "brightness": 1.0}, image)
    assert multipliers["colours"] == 1.0 and float(multipliers["brightness"]) > 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: LinearWarmup(epochs=float("nan")),
        lambda: LinearWarmup(start=-1.0),
        lambda: FromEpoch(float("nan")),
        lambda: Constant(float("nan")),
        lambda: WarmupCosine(final=float("nan")),
        lambda: OnPlateau(["kl"], min_delta=float("nan")),
        lambda: GradientNorm(limit=float("nan")),
        lambda: Uncertainty(limit=float("nan")),
        lambda: AdversarialBalance(limit=float("inf")),
    ],
)
def test_what_is_no_number_is_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match=r"got|must be"):
        build()


def test_objectives_refuse_what_is_no_number() -> None:
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="'a' is"):
            Objective({"a": weight})
    check_schedule(lambda progress: progress.fraction, "any callable")
    with pytest.raises(ConfigurationError, match="at least 0, got -1"):
        check_schedule(lambda progress: -progress.epoch if progress == Progress(1, 1) else 0.0, "x")


def test_data_of_other_conditions(shelf: Path, refused: Refused) -> None:
    other = (f"--data.root={shelf / 'three'}", "--data.classes=[coast, desert, forest]")
    checkpoint = f"--ckpt_path={best(shelf, 'cvae')}"
    said = refused("test", "--config", shelf / "cvae.yaml", *other, checkpoint)
    assert "3] in the model" in said and "5] in the file" in said
    said = refused("embed", "--checkpoint", best(shelf, "cvae"), "--data.root", shelf / "three")
    assert "class: coast, desert, forest) than the model" in said


SAMPLES = [
    (["--strategy", "magic"], "invalid choice: 'magic'"),
    (["--strategy", "refine", "--rounds", "0"], "--rounds: must be a whole number of at least 1, got 0"),
    (["--strategy", "refine", "--rounds", "x"], "of at least 1, got x"),
    (["--strategy", "refine", "--noise", "nan"], "noise in [0, 1)"),
    (["--strategy", "ensemble", "--spread", "-1"], "spread"),
    (["--strategy", "probability", "--spread", "inf"], "at least 0, got inf"),
    (["--strategy", "truncation", "--truncation", "nan"], "above 0"),
    (["--rounds", "2"], "--rounds is an option of --strategy refine"),
    (["--seed", "9" * 25], "--seed: must be a whole number of at most"),
]


@pytest.mark.parametrize(("options", "said"), SAMPLES)
def test_a_strategy_that_cannot_be(options: list[str], said: str, shelf: Path, refused: Refused) -> None:
    given = ("sample", "--checkpoint", best(shelf, "cvae"), "--condition", "coast")
    assert said in refused(*given, *options)


def test_judges_that_do_not_fit(shelf: Path, refused: Refused) -> None:
    given = ("sample", "--checkpoint", best(shelf, "cvae"), "--condition", "coast", "--strategy", "best-of")
    assert "needs a judge" in refused(*given)
    assert "does not know the class" in refused(*given, "--classifier", best(shelf, "judge3"))
    assert "regressor ranks by scores" in refused(*given, "--regressor", best(shelf, "judge"))


@pytest.mark.parametrize(
    "options",
    [
        ["--seed", "3", "--to-seed", "3", "--condition", "coast"],
        ["--from-condition", "coast", "--to-condition", "coast"],
        ["--from", "a.png", "--to", "a.png"],
        ["--from", "a.png"],
    ],
)
def test_the_way_from_a_place_to_itself(options: list[str], shelf: Path, refused: Refused) -> None:
    assert "Nothing changes" in refused("interpolate", "--checkpoint", best(shelf, "cvae"), *options)


def test_ends_that_do_not_exist(shelf: Path, refused: Refused) -> None:
    given = ("interpolate", "--checkpoint", best(shelf, "cvae"))
    assert "Unknown condition 'city'" in refused(*given, "--from-condition=coast", "--to-condition=city")
    assert "of at most" in refused(*given, "--condition=coast", f"--to-seed={'9' * 25}")
    scores = (
        "--from-condition=Moira=1,Ferdinando=1,Esther=1",
        "--to-condition=Moira=10,Ferdinando=1,Esther=1",
    )
    assert "range 0 to 9" in refused("interpolate", "--checkpoint", best(shelf, "scores"), *scores)


COMMANDS: dict[str, tuple[str, ...]] = {
    "sample": ("--condition=coast", ".png"),
    "reconstruct": (".png",),
    "embed": (".npz",),
    "interpolate": ("--condition=coast", "--to-seed=3", ".png"),
    "evaluate": (".json",),
}


@pytest.mark.parametrize("verb", COMMANDS)
def test_an_output_that_cannot_be_written_is_said_first(verb: str, shelf: Path, refused: Refused) -> None:
    *options, suffix = COMMANDS[verb]
    Path("file").write_text("here")
    missing = ("--checkpoint", "missing.ckpt", *options)
    assert "file is no folder" in refused(verb, *missing, "--output", f"file/new{suffix}")


def test_a_folder_is_never_replaced_by_a_file(shelf: Path, tmp_path: Path, refused: Refused) -> None:
    kept = tmp_path / "vectors.png" / "precious.txt"
    kept.parent.mkdir()
    kept.write_text("keep")
    given = ("embed", "--checkpoint", best(shelf, "cvae"), "--output", "vectors.npz")
    assert "vectors.png is a folder" in refused(*given)
    with pytest.raises(VeduteError, match="cannot be written"), whole(kept.parent) as temporary:
        temporary.write_text("picture")
    assert kept.read_text() == "keep"


def test_places(tmp_path: Path) -> None:
    check_place(tmp_path / "new" / "deep" / "file.png")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    check_place(tmp_path / "file")
    for place in (tmp_path, tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(VeduteError), whole(place) as temporary:
            check_place(place)
            temporary.write_text("")


def test_tables_of_damaged_runs(shelf: Path, tmp_path: Path, refused: Refused) -> None:
    run = tmp_path / "run"
    shutil.copytree(shelf / "runs" / "cvae" / "0", run)
    if not (run / "checkpoints" / "best.ckpt").exists():
        shutil.copy(run / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt")
    given = ("compare", "--table", "landscapes")
    assert "required: RUN" in refused(*given)
    assert "invalid choice: 'cars'" in refused("compare", "--table", "cars", run)
    (tmp_path / "file").write_text("")
    assert "is no folder" in refused(*given, run, "--output", "file/table.md")
    metrics = (run / "metrics.csv").read_bytes()
    for content in ("step,val/loss\n0,1,2,3\n", "step,val/loss\n0,abc\n", "step,val/loss\ninf,1\n"):
        (run / "metrics.csv").write_text(content)
        assert "metrics.csv is damaged" in refused(*given, run)
    (run / "metrics.csv").write_bytes(metrics)
    (run / "evaluation.json").write_text('{"quality": ')
    assert "evaluation.json is damaged" in refused(*given, run)


WRITERS = {
    "embed": ("vedute.report.vector_file.write_npz", ["--map", "none", "--output", "old.npz"], "old.npz"),
    "interpolate": (
        "PIL.Image.Image.save",
        ["--condition", "coast", "--to-seed", "3", "--count", "1", "--steps", "2", "--output", "old.png"],
        "old.png",
    ),
    "compare": (
        "vedute.report.table_files.as_text",
        ["--table", "landscapes", "--output", "old.md"],
        "old.md",
    ),
}


@pytest.mark.parametrize("verb", WRITERS)
def test_interrupted_while_writing(
    verb: str, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    writer, options, name = WRITERS[verb]
    (tmp_path / name).write_text("old")

    def interrupted(*args: object, **_: object) -> None:
        for place in args:
            if isinstance(place, Path):
                place.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, interrupted)
    what = ["--checkpoint", str(best(shelf, "cvae"))]
    if verb == "compare":
        shutil.copytree(shelf / "runs" / "cvae" / "0", tmp_path / "run")
        shutil.copy(best(shelf, "cvae"), tmp_path / "run" / "checkpoints" / "best.ckpt")
        what = ["run"]
    assert main([verb, *what, *options]) == 130
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_what_a_parser_says_in_one_line() -> None:
    nested = (
        'Parser key "model":\n  Does not validate against any of the Union subtypes\n  Errors:\n'
        "    - Problem with given class_path 'lightning_modules.cvae.CVAE':\n"
        "        Parser key \"kl_weight\":\n          Expected a <class 'float'>. Got value: heavy\n"
        "    - Expected a <class 'NoneType'>\n  Given value type: <class 'str'>\n  Given value: heavy"
    )
    assert essence(nested) == "model.kl_weight: expected a number, got heavy."
    assert essence("unrecognized arguments: --nope 3") == "unrecognized arguments: --nope 3."
    assert essence("Expected a <class 'NoneType'>"), "never empty"
