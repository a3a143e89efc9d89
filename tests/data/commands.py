"""Commands as a person types them, for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedute.cli import main


def failed(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    """Run a command that must fail by the user's mistake; return its one message."""
    capsys.readouterr()
    assert main([str(arg) for arg in args]) == 2
    said = capsys.readouterr().err
    message = said[said.index("error: ") :]
    assert "Traceback" not in said and "usage:" not in said and len(message.splitlines()) == 1
    return message
