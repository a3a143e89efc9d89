"""Studies of sweeps, without trainings: several workers, dead ones, storages that do not answer."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy.exc

pytest.importorskip("optuna")

from vedute.cli import main
from vedute.cli.sweep import _environment
from vedute.cli.sweep_options import parse_objective
from vedute.errors import ConfigurationError
from vedute.sweep.plan import Objective, Plan
from vedute.sweep.records import read_sweep
from vedute.sweep.results import write_results
from vedute.sweep.space import Space
from vedute.sweep.space_file import parse_space
from vedute.sweep.storage import Patience, StorageLost, open_storage, without_password
from vedute.sweep.study import SweepStudy
from vedute.sweep.trials import Told

Join = Callable[..., SweepStudy]
LEARNING_RATE = {"model.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}}
SIZES = {"model.size": {"values": [2, 4]}, "data.batch_size": {"low": 8, "high": 24, "step": 8}}


@pytest.fixture(params=["sqlite:///{}/study.db", "journal:{}/study.journal"])
def join(request: pytest.FixtureRequest, tmp_path: Path) -> Join:
    """Return what makes a worker of one study; each opens the storage by itself."""

    def made(content: dict[str, object] | None = None, **options: object) -> SweepStudy:
        url = request.param.format(tmp_path)
        objective = options.pop("objective", Objective("val/loss", "minimize"))
        configuration = options.pop("configuration", {"trainer": {"max_epochs": 2}})
        space = parse_space(content or LEARNING_RATE, "space.yaml")
        plan = Plan(objective, space, configuration)  # type: ignore[arg-type]  # of the test's own making
        return SweepStudy(
            open_storage(url),
            "study",
            plan,
            Patience(1, url),
            tmp_path / "sweep",
            **options,  # type: ignore[arg-type]
        )

    return made


def run(worker: SweepStudy, total: int | None) -> list[int]:
    """Take and finish trials until there are enough."""
    numbers = []
    while (taken := worker.next(total)) is not None:
        numbers.append(taken.number)
        value = sum(float(value) for value in taken.chosen.values())
        assert worker.finish(taken.number, Told("complete", value, "", f"runs/{taken.number}", 1.5))
    return numbers


def test_workers_share_exactly_as_many_trials_as_were_asked_for(join: Join) -> None:
    with join() as first, join() as second:
        taken = [worker.next(3) for worker in (first, second, first)]
        assert [one.number for one in taken if one is not None] == [0, 1, 2]
        assert second.next(3) is None, "three are under way"
        assert len({one.chosen["model.optimizer.lr"] for one in taken if one is not None}) == 3
        for worker, one in zip((first, second, first), taken, strict=True):
            assert one is not None
            worker.finish(one.number, Told("complete", 1.0))
        assert first.next(3) is None and run(second, 5) == [3, 4], "a later command may want more"
        assert first.finished() == 5


def test_of_two_that_take_the_last_trial_one_gives_way(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    with join() as first, join() as second:
        seen = second.trials()
        one = first.next(1)
        with monkeypatch.context() as patch:
            real, answers = second.trials, iter([seen])
            patch.setattr(second, "trials", lambda *_: next(answers, None) or real())
            assert second.next(1) is None
        assert one is not None and first.finish(one.number, Told("complete", 1.0))
        assert [record.number for record in read_sweep(first.study).records] == [0]


def test_values_follow_from_the_seed_and_the_trial_alone(join: Join, tmp_path: Path) -> None:
    drawn: dict[str, dict[int, object]] = {}
    for kind in ("alone", "together"):
        url = f"sqlite:///{tmp_path / kind}.db"
        plan = Plan(Objective("x", "minimize"), parse_space(LEARNING_RATE, "space.yaml"), {})
        workers = [
            SweepStudy(open_storage(url), "s", plan, Patience(1, url), tmp_path / kind, "random", seed=7)
            for _ in range(1 if kind == "alone" else 2)
        ]
        drawn[kind] = {}
        for turn in range(4):
            taken = workers[turn % len(workers)].next(4)
            assert taken is not None
            drawn[kind][taken.number] = taken.chosen
    assert drawn["alone"] == drawn["together"] and len(set(map(str, drawn["alone"].values()))) == 4


def test_a_grid_is_visited_once_by_all_together(join: Join) -> None:
    with join(SIZES, sampler="grid") as first, join(SIZES, sampler="grid") as second:
        taken = []
        for turn in range(10):
            one = (first, second)[turn % 2].next(None)
            if one is not None:
                taken.append(one)
        assert len(taken) == 6 and len({str(one.chosen) for one in taken}) == 6
        first.withdraw(taken[0], "interrupted")
        again = second.next(None)
        assert again is not None and again.chosen == taken[0].chosen, "nothing of a grid is lost"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"content": {"model.optimizer.lr": {"low": 1e-4, "high": 1, "log": True}}}, "high was 0.1, is 1"),
        ({"content": {**LEARNING_RATE, **SIZES}}, "model.size .* is new"),
        ({"objective": Objective("val/mse", "minimize")}, 'name was "val/loss", is "val/mse"'),
        ({"configuration": {"trainer": {"max_epochs": 9}}}, "trainer.max_epochs was 2, is 9"),
    ],
)
def test_a_study_about_something_else_is_not_joined(
    join: Join, changed: dict[str, object], said: str
) -> None:
    join()
    with pytest.raises(ConfigurationError, match=said) as error:
        join(**changed)
    assert "--study" in str(error.value)


def test_trials_of_a_worker_that_has_gone_are_run_again(join: Join) -> None:
    first, second = join(), join()
    first.__enter__()
    lost = first.next(2)
    assert lost is not None
    with second:
        second.bury()
        assert second.trials()[0].state.name == "RUNNING", "its worker lives"
        # what the end of a process does, and an error that ends the sweep
        first.__exit__(RuntimeError, RuntimeError(), None)
        second.bury()
        again = second.next(2)
        assert again is not None and again.chosen == lost.chosen and again.number == 1
        assert not first.finish(lost.number, Told("complete", 1.0)), "too late"
        second.finish(again.number, Told("complete", 2.0))
        assert run(second, 2) == [2], "what was lost does not count"
    states = [record.state for record in read_sweep(second.study).records]
    assert states == ["lost", "complete", "complete"]


def test_trials_without_a_sign_of_life_are_run_again(join: Join, tmp_path: Path) -> None:
    first, second = join(heartbeat=0.1), join(heartbeat=0.1)
    with first, second:
        lost = first.next(1)
        assert lost is not None
        (tmp_path / "sweep" / "workers" / f"{first._signs.worker}.lock").rename(tmp_path / "elsewhere")
        first.beat([lost])
        second.bury()
        assert second.trials()[0].state.name == "RUNNING"
        import time

        time.sleep(0.5)
        second.bury()
        again = second.next(1)
        assert again is not None and again.chosen == lost.chosen
        (tmp_path / "elsewhere").rename(tmp_path / "sweep" / "workers" / f"{first._signs.worker}.lock")


def test_what_kills_every_worker_is_given_up(join: Join) -> None:
    with join() as worker:
        for _ in range(3):
            taken = worker.next(1)
            assert taken is not None
            worker.withdraw(taken, "its worker has gone")
        assert worker.next(1) is None
        record = read_sweep(worker.study).records[-1]
        assert record.state == "failed" and "3 times" in record.reason


def test_results_that_could_not_be_told_are_told_later(join: Join, tmp_path: Path) -> None:
    with join() as first:
        taken = first.next(1)
        assert taken is not None
        first.finish(taken.number, Told("complete", 0.25, "", "runs/0", 3.0), tell=False)
        assert first.trials()[0].state.name == "RUNNING"
    with join() as second:
        assert second.trials()[0].value == 0.25 and second.next(1) is None
    assert not list((tmp_path / "sweep").glob("untold/*"))


def test_the_better_trials_of_either_direction_are_kept_and_hopeless_ones_pruned(join: Join) -> None:
    highest = Objective("val/q", "maximize", "last")
    with join(objective=highest, pruner="median") as worker:
        for number in range(6):
            taken = worker.next(6)
            assert taken is not None
            value = 0.9 - 0.1 * number
            assert worker.report(taken, 1, value) == (number == 5), "after five trials, one below the median"
            told = Told("pruned", None, "hopeless") if number == 5 else Told("complete", value)
            worker.finish(taken.number, told)
        sweep = read_sweep(worker.study)
    assert sweep.best is not None and sweep.best.number == 0
    assert [record.state for record in sweep.records] == ["complete"] * 5 + ["pruned"]
    assert sweep.records[-1].value == pytest.approx(0.4)


def test_the_page_and_the_table_show_every_trial(join: Join, tmp_path: Path) -> None:
    content = {**LEARNING_RATE, **SIZES}
    with join(content, text="trainer: {}") as worker:
        run(worker, 6)
        for told in (Told("failed", None, "train/loss is <nan>"), Told("pruned", None, "hopeless")):
            taken = worker.next(8)
            assert taken is not None
            for step in (1, 2):
                worker.report(taken, step, 5.0)
            worker.finish(taken.number, told)
    said: list[str] = []
    write_results(worker.study, tmp_path, "vedute", said.append)
    page = (tmp_path / "sweep.html").read_text()
    for title in ("Result", "History", "Importances", "Parallel coordinates", "Slices", "Trials"):
        assert f">{title}</h2>" in page
    assert page.count("<svg") == 2 + 1 + 3, "history and curves, parallel coordinates, a slice for each name"
    assert "train/loss is &lt;nan&gt;" in page and "http" not in page.replace("http-equiv", "")
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete"] * 6 + ["failed", "pruned"]
    best = min(rows[:6], key=lambda row: float(row["val/loss"]))
    assert any(line.startswith(f"Best: trial {best['number']}") for line in said)
    assert set(content) <= set(rows[0]) and rows[6]["reason"] == "train/loss is <nan>"


def test_a_study_without_a_value_has_a_page_too(join: Join, tmp_path: Path) -> None:
    with join() as worker:
        taken = worker.next(1)
        assert taken is not None
        worker.finish(taken.number, Told("failed", None, "no memory"))
    write_results(worker.study, tmp_path, "vedute", print)
    assert "no memory" in (tmp_path / "sweep.html").read_text()


def database_error(said: str) -> Exception:
    return sqlalchemy.exc.OperationalError("select", {}, Exception(said))


def test_a_storage_that_does_not_answer_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    failures = [database_error("server closed the connection"), ConnectionError("refused")]
    waited: list[float] = []

    def ask() -> int:
        if failures:
            raise failures.pop()
        return 3

    patience = Patience(60, "postgresql://host/x", waited.append)
    assert patience(ask) == 3 and len(waited) == 2 and patience.recovered_at is not None
    with pytest.raises(StorageLost, match="Nothing is lost"):
        Patience(0.01, "postgresql://host/x")(lambda: (_ for _ in ()).throw(database_error("gone")))
    with pytest.raises(ConfigurationError, match='role "nobody" does not exist'):
        Patience(60, "x")(
            lambda: (_ for _ in ()).throw(database_error('FATAL:  role "nobody" does not exist'))
        )
    with pytest.raises(ZeroDivisionError):
        Patience(60, "x")(lambda: 1 // 0)


def test_nobodys_password_is_shown() -> None:
    assert without_password("postgresql://me:s3cr@t@host:5/db") == "postgresql://me@host:5/db"
    assert without_password("sqlite:///a b.db") == "sqlite:///a b.db"


@pytest.mark.parametrize(
    ("url", "said"),
    [("study.db", "expected sqlite:///FILE"), ("journal:", "give a file"), ("sqlite://", "give a file")],
)
def test_storages_that_are_none(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_storage(url)


def test_workers_share_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    shares = [_environment(slot, 2, 4).get("CUDA_VISIBLE_DEVICES") for slot in range(2)]
    assert shares == ["0,1", "2,3"] and "SLURM_JOB_ID" not in _environment()
    assert [_environment(slot, 3, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]
    assert "CUDA_VISIBLE_DEVICES" not in _environment(0, 1, 4), "a single worker has them all"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    assert _environment(1, 2, 2)["CUDA_VISIBLE_DEVICES"] == "6"


def test_objectives() -> None:
    assert parse_objective("val/fd:classifier:max", "best") == Objective("val/fd:classifier", "maximize")
    assert (
        Objective("x", "maximize").of([1, 3, 2]) == 3
        and Objective("x", "maximize", "last").of([1, 3, 2]) == 2
    )
    for text in ("val/loss", "val/loss:down", ":minimize"):
        with pytest.raises(ConfigurationError, match="NAME:minimize"):
            parse_objective(text, "best")


def test_reports_need_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, said in (
        ([], "needs --output"),
        (["--output", str(tmp_path / "x")], "is no sweep's folder"),
        (["--output", str(tmp_path), "--study", "x", "--storage", f"sqlite:///{tmp_path}/x.db"], "no study"),
        (["--output", str(tmp_path), "--data.root", "x"], "trains nothing"),
    ):
        assert main(["sweep", "--report-only", *options]) == 2
        assert said in capsys.readouterr().err


def test_an_empty_space_is_none() -> None:
    assert Space([]).points() == [{}]


def test_without_optuna_there_is_a_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vedute.sweep.storage.find_spec", lambda name: None)
    assert main(["sweep", "--report-only", "--output", str(tmp_path)]) == 2
    assert "vedute[sweep]" in capsys.readouterr().err
