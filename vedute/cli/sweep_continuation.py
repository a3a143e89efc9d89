"""How a trial goes on with what a lost one of the same values has left."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import yaml

from vedute.checkpoints import load_checkpoint
from vedute.errors import VeduteError
from vedute.files import whole
from vedute.run_folder import CHECKPOINTS, CONFIG, shown

_log = logging.getLogger("vedute.cli")


def take_over(lost: Path, folder: Path, text: str) -> Path | None:
    """Copy the run folder of a lost trial, if it can be seen from here and is of the same configuration.

    A copy, since the lost trial's process may still be writing its last checkpoint.

    Args:
        lost: The lost trial's run folder, as its own worker called it.
        folder: The new trial's run folder, which must not exist yet.
        text: The new trial's whole configuration, YAML.

    Returns:
        The checkpoint in ``folder`` to go on from; None: the trial begins anew.
    """
    last, config = Path(CHECKPOINTS, "last.ckpt"), lost / CONFIG
    if folder.exists() or not (lost / last).is_file() or not config.is_file():
        return None
    # Another study's folder may have the same name on this machine.
    if _without_place(config.read_text(encoding="utf-8")) != _without_place(text):
        return None
    try:
        load_checkpoint(lost / last)
        with whole(folder) as temporary:
            shutil.copytree(lost, temporary, ignore=shutil.ignore_patterns("*.partial"))
    except (OSError, VeduteError) as error:
        _log.warning("The lost trial in %s cannot be gone on with: %s", shown(lost), error)
        return None
    _log.info("This trial goes on with the lost one in %s.", shown(lost))
    return folder / last


def _without_place(text: str) -> object:
    """Return a configuration without where it writes."""
    content = yaml.safe_load(text)
    return {**content, "trainer": {**content["trainer"], "default_root_dir": None}}
