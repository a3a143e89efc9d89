"""The shipped configurations' models without their data, for benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

import yaml
from lightning.pytorch.cli import instantiate_module

from lightning_modules.base import ImageModule

CONFIGS = Path(__file__).parents[1] / "configs"
TRAIN_SIZE = 10_000


@dataclass(frozen=True)
class Model:
    """A configuration, and the conditions that its model gets.

    Attributes:
        config: Its name.
        classes: Number of classes; 0: none.
        masks: Whether condition images of one channel are given.
    """

    config: str
    classes: int = 5
    masks: bool = False


MODELS = {
    "street_view": Model("cvae_street_view", 84),
    "residual": Model("cvae_landscapes"),
    "ladder": Model("cvae_ladder_landscapes"),
    "narrow": Model("cvae_narrow_landscapes"),
    "alexnet": Model("cvae_alexnet_landscapes"),
    "wide": Model("cvae_wide_d10_landscapes"),
    "wide_plus": Model("cvae_wide_plus_landscapes"),
    "wide_plus_128": Model("cvae_wide_plus_128_d64_landscapes"),
    "wide_plus_256": Model("cvae_wide_plus_256_landscapes"),
}
"""By the names that benchmarks take."""


ADVERSARIAL = {
    "dcgan": Model("dcgan_pictures", 0),
    "dcgan_128": Model("dcgan_pictures_128", 0),
    "gan": Model("gan_landscapes"),
    "pix2pix": Model("pix2pix_aerial", 0, masks=True),
    "esrgan": Model("esrgan_pictures", 0),
}
"""Those of two networks."""


def build(model: Model, image_size: int | None = None, **changes: object) -> ImageModule:
    """Build the model of a configuration as ``fit`` would, with made-up conditions.

    Args:
        model: Which.
        image_size: Height and width, pixels; None: as the configuration says.
        changes: Other values of the model's options.
    """
    content = yaml.safe_load((CONFIGS / f"{model.config}.yaml").read_text(encoding="utf-8"))
    size = image_size or content["data"]["init_args"]["image_size"]
    package, _, name = content["model"]["class_path"].rpartition(".")
    options = {
        **content["model"]["init_args"],
        **changes,
        "_class_path": content["model"]["class_path"],
        "image_size": [size, size],
        "image_channels": 3,
        "condition_kind": "class" if model.classes else "image" if model.masks else "none",
        "condition_channels": int(model.masks),
        "condition_names": [f"class {number}" for number in range(model.classes)],
        "train_size": TRAIN_SIZE,
    }
    make = cast(Callable[[type, dict[str, object]], ImageModule], instantiate_module)
    return make(getattr(import_module(package), name), options)
