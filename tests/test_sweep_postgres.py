"""Sweeps on a real PostgreSQL: two workers, and a server that goes away in the middle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("psycopg")

from tests.data.commands import failed
from tests.data.postgres import PostgreSQL, programs
from tests.test_sweep import OBJECTIVE, QUICK, space, start, table
from vedute.cli import main

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (Debian: postgresql)"),
]


@pytest.fixture
def server() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    yield server
    server.remove()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_workers_go_on_when_the_server_has_been_away(
    server: PostgreSQL, tiny_config: Path, folder: Path
) -> None:
    given = space(model__optimizer__lr={"low": 1e-4, "high": 1e-2, "log": True})
    common = ["--config", tiny_config, "--space", given, *OBJECTIVE, *QUICK, "--trials", 8]
    common += ["--storage", server.url, "--study", "shared", "--pruner", "hyperband", "--patience", 300]
    both = [start(*common, "--output", name, "--trainer.max_epochs", 4) for name in ("a", "b")]
    try:
        first = both[0].stdout
        assert first is not None
        for line in first:
            if "val/loss" in line:
                break
        server.stop()
        time.sleep(8)
        server.start()
        said = [one.communicate(timeout=1200)[0] for one in both]
    finally:
        for one in both:
            one.kill()
    assert [one.returncode for one in both] == [0, 0], said
    assert any("does not answer" in text and "answers again" in text for text in said), said
    assert main(["sweep", "--report-only", "--output", "a"]) == 0
    rows = table(folder / "a")
    assert len(rows) == 8 and {row["state"] for row in rows} <= {"complete", "pruned"}, rows
    assert {Path(row["run"]).parts[0] for row in rows} == {"a", "b"}, "both have worked"


def test_a_server_that_stays_away_loses_nothing(server: PostgreSQL, tiny_config: Path, folder: Path) -> None:
    given = space(model__optimizer__lr={"low": 1e-4, "high": 1e-2, "log": True})
    command = ["--config", tiny_config, "--space", given, *OBJECTIVE, *QUICK, "--trials", 3]
    command += ["--storage", server.url, "--patience", 3]
    process = start(*command)
    assert process.stdout is not None
    for line in process.stdout:
        if "Trial 1: started" in line:
            break
    server.stop()
    said = process.communicate(timeout=600)[0]
    assert process.returncode == 2 and "Nothing is lost" in said and "Traceback" not in said, said
    server.start()
    assert main(["sweep", *map(str, command)]) == 0
    rows = table(folder / "sweeps" / "tiny")
    assert [row["state"] for row in rows].count("complete") == 3
    assert len({row["model.optimizer.lr"] for row in rows}) == 3, "no value was lost"


def test_addresses_that_lead_nowhere(
    server: PostgreSQL, tiny_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = space(model__optimizer__lr={"low": 1e-4, "high": 1e-2})
    command = ["sweep", "--config", tiny_config, "--space", given, *OBJECTIVE, "--trials", "1", "--storage"]
    other = server.url.replace("/postgres", "/nothing").replace("vedute@", "vedute:secret@")
    message = failed(capsys, *command, other)
    assert 'database "nothing" does not exist' in message and "secret" not in message
    server.stop()
    message = failed(capsys, *command, server.url, "--patience", "1")
    assert "has not answered" in message and "refused" in message.lower()
