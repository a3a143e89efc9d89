"""Give a picture to the run folder and to every logger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from vedute.files import whole
from vedute.run_folder import run_folder


def save_picture(trainer: Trainer, picture: Image.Image, name: str, file_name: str) -> Path:
    """Write a picture to ``samples/<file_name>`` of the run and log it as ``name``.

    Call on rank 0.

    Args:
        trainer: The trainer of the run.
        picture: What to save.
        name: Its name in the loggers, e.g. ``samples``.
        file_name: Its file name, e.g. ``epoch_0010.png``.

    Returns:
        The file.
    """
    path = run_folder(trainer) / "samples" / file_name
    with whole(path) as temporary:
        picture.save(temporary, format="PNG")
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, np.asarray(picture), trainer.global_step, dataformats="HWC")
        elif hasattr(logger, "log_image"):  # Weights & Biases and others that show images
            logger.log_image(key=name, images=[picture], step=trainer.global_step)
    return path
