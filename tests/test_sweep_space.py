"""Spaces of sweeps: what they may say, how values become options, grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from vedute.errors import ConfigurationError
from vedute.sweep.names import as_text, short_names
from vedute.sweep.plan import differences
from vedute.sweep.processes import call
from vedute.sweep.space import Space, as_option
from vedute.sweep.space_file import described, parse_space, read_space

EXAMPLE = {
    "model.optimizer.lr": {"low": "1e-4", "high": 1e-2, "log": True},
    "data.batch_size": {"low": 8, "high": 32, "step": 8},
    "model.network": {"values": {"small": {"class_path": "a.B"}, "large": "c.D"}},
    "model.depth": {"low": 1, "high": 3, "when": {"model.network": "large"}},
    "data.flip": {"values": [True, False, "true"]},
}


class Highest:
    """Draws the highest number and the last choice."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return high

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        assert isinstance(low, int) and isinstance(high, int)
        return high

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        return choices[-1]


def space(**content: object) -> Space:
    return parse_space({name.replace("_", "."): entry for name, entry in content.items()}, "space.yaml")


def test_values_become_options_of_fit() -> None:
    parsed = parse_space(EXAMPLE, "space.yaml")
    chosen = parsed.suggest(Highest())
    assert chosen["model.network"] == "large" and chosen["model.depth"] == 3
    assert parsed.options(chosen) == [
        "--model.optimizer.lr=0.01",
        "--data.batch_size=32",
        "--model.network=c.D",
        "--model.depth=3",
        "--data.flip=true",
    ]
    assert parsed.options({"model.network": "small"}) == ['--model.network={"class_path": "a.B"}']
    assert len(set(parsed.parameters[-1].domain.samples())) == 3, "true and 'true' are told apart"


def test_a_study_remembers_a_space_exactly() -> None:
    parsed = parse_space(EXAMPLE, "space.yaml")
    assert described(parsed.describe()).describe() == parsed.describe()
    assert described(parsed.describe()).suggest(Highest()) == parsed.suggest(Highest())


@pytest.mark.parametrize("value", [1e-05, 2.5e-07, 1e22, 0.1, 3, True, None, [1, 2.5], "NO", 1.5e-8])
def test_options_are_read_back_as_they_were(value: object) -> None:
    import yaml

    read = yaml.safe_load(as_option(value))
    assert read == value or as_option(value) == value


def test_what_does_not_apply_is_left_out_of_draws_and_grids() -> None:
    parsed = space(
        a={"values": ["x", "y"]},
        b={"low": 1, "high": 3, "when": {"a": "y"}},
        c={"values": [1]},
    )
    points = parsed.points()
    assert {tuple(point.items()) for point in points} == {
        (("a", "x"), ("c", "1")),
        *((("a", "y"), ("b", number), ("c", "1")) for number in (1, 2, 3)),
    }
    tried = list(parsed.probes())
    assert ("b", {"a": "y", "b": 1}) in tried and ("a", {"a": "x"}) in tried


def test_a_grid_includes_both_ends() -> None:
    assert [
        point["a"] for point in space(a={"low": 0.1, "high": 0.4, "step": 0.1}).points()
    ] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ConfigurationError, match="a grid needs points"):
        space(a={"low": 0.1, "high": 0.4}).points()
    with pytest.raises(ConfigurationError, match="1,000,000 points"):
        space(a={"low": 1, "high": 1000}, b={"low": 1, "high": 1000}).points()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (3, "expected 'low' and 'high'"),
        ({"lo": 1, "high": 2}, "Did you mean 'low'"),
        ({"high": 2}, "'low' is missing"),
        ({"low": 2, "high": 2}, "must be below"),
        ({"low": 0, "high": 2, "log": True}, "above 0"),
        ({"low": 1, "high": 2, "log": "yes"}, "true or false"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "exclude"),
        ({"low": 1, "high": 9, "step": 0}, "above 0"),
        ({"low": "one", "high": 2}, "must be a number, got 'one'"),
        ({"low": True, "high": 2}, "must be a number"),
        ({"low": float("nan"), "high": 2}, "must be a number"),
        ({"values": []}, "a list"),
        ({"values": [1, 1]}, "twice"),
        ({"values": [1], "low": 2}, "exclude"),
        ({"values": [1], "when": {"nothing": 1}}, "stands above"),
        ({"values": [1], "when": 3}, "a name with its values"),
    ],
)
def test_what_is_wrong_is_named(entry: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        parse_space({"model.x": entry}, "space.yaml")
    assert "space.yaml: model.x" in str(error.value)


def test_a_condition_must_be_possible() -> None:
    with pytest.raises(ConfigurationError, match="never 'z'; its values: x, y"):
        space(a={"values": ["x", "y"]}, b={"values": [1], "when": {"a": "z"}})
    with pytest.raises(ConfigurationError, match="a is a range"):
        space(a={"low": 1, "high": 2}, b={"values": [1], "when": {"a": 1}})


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "cvae.yaml").write_text("a: {values: [1, 2]}\n")
    assert read_space(tmp_path / "cvae.yaml").names == ["a"]
    with pytest.raises(ConfigurationError, match=r"Did you mean .*cvae\.yaml"):
        read_space(tmp_path / "cave.yaml")
    for text, said in (("a: [", "is no YAML"), ("", "needs names"), ("- a", "needs names")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigurationError, match=said):
            read_space(tmp_path / "bad.yaml")


def test_differences_name_every_place() -> None:
    before, now = {"a": {"low": 1, "high": 2}, "b": 3}, {"a": {"low": 1, "high": 4}, "c": [1]}
    assert differences(before, now) == [
        "a high was 2, is 4",
        "b (it was 3) is gone",
        "c (it is [1]) is new",
    ]
    assert differences(before, before) == []


def test_names_are_as_short_as_they_stay_different() -> None:
    names = ["model.init_args.optimizer.init_args.lr", "model.discriminator_optimizer.lr", "data.batch_size"]
    assert list(short_names(names).values()) == ["optimizer.lr", "discriminator_optimizer.lr", "batch_size"]
    assert as_text({"data.batch_size": 8, "x.lr": 0.00123456}) == "batch_size 8, lr 0.001235"


def test_processes_call_what_is_named() -> None:
    import multiprocessing

    ours, theirs = multiprocessing.Pipe()
    call("tests.test_sweep_space:_echo", theirs, "told")
    assert ours.recv() == "told"


def _echo(connection: object, told: object) -> None:
    connection.send(told)  # type: ignore[attr-defined]  # a connection
