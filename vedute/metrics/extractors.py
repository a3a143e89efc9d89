"""Feature extractors by name, as a person asks for them: ``--features inception,dinov2,pixels``.

| name | features |
|---|---|
| ``pixels`` | the image shrunk to 8x8 |
| ``details`` | colours of 4x4 cells, and how much detail there is at three scales |
| ``inception`` | 2048 of the Inception network of FID |
| ``dinov2``, ``dinov2_vitb14``, ``dinov2_vitl14`` | 384, 768 and 1024 of DINOv2 |
| ``classifier``, ``regressor``, ``segmenter`` | those of a judge that was trained on the same kind of data |
| ``torchvision:NAME`` | those before the last layer of a network of torchvision |
| ``torchvision:NAME:random`` | the same of random weights, for pictures unlike photos |
| ``script:FILE.pt`` | the output of a TorchScript file |

``@SIZE`` behind the last two resizes images to SIZE x SIZE pixels: ``script:net.pt@224``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vedute.errors import ConfigurationError
from vedute.metrics.details import detail_features
from vedute.metrics.features import (
    FeatureExtractor,
    MissingWeightsError,
    find_inception,
    inception_features,
    judge_features,
    pixel_features,
)
from vedute.metrics.judge import Measuring, check_channels
from vedute.metrics.published_features import (
    DINOV2,
    dinov2_features,
    script_features,
    shown_name,
    sized,
    torchvision_features,
)
from vedute.pretrained import check_network, did_you_mean

JUDGES = ("classifier", "regressor", "segmenter")
"""Features that a judge's checkpoint gives; the name is that of the option."""

_PLAIN = ("pixels", "details", "inception", *JUDGES, *DINOV2)


@dataclass(frozen=True)
class Source:
    """What extractors are made for, and of.

    Attributes:
        image_channels: Channels C of the images.
        image_size: Height and width of the images, pixels.
        judges: Judges by the name of their features, see ``JUDGES``.
        folder: Pretrained weights (``--weights-dir``); None: ``VEDUTE_WEIGHTS``, then torch's cache.
        device: Where to compute.
    """

    image_channels: int
    image_size: tuple[int, int]
    judges: Mapping[str, Measuring] = field(default_factory=dict)
    folder: Path | None = None
    device: torch.device | str = "cpu"


def make_extractors(names: Sequence[str], source: Source) -> tuple[list[FeatureExtractor], list[str]]:
    """Return extractors, and a line for each whose weights are not on this machine.

    Args:
        names: See the module; each once.
        source: What they are made for.

    Raises:
        ConfigurationError: A name that means nothing, twice the same, a judge that was not given, or a
            file that does not exist.
        CheckpointError: A file that cannot be used, or a judge of other images.
    """
    check_names(names, source.judges)
    extractors: list[FeatureExtractor] = []
    left_out: list[str] = []
    for name in names:
        try:
            extractors.append(_make(name, source))
        except MissingWeightsError as absent:
            left_out.append(str(absent))
    return extractors, left_out


def check_names(names: Sequence[str], judges: Mapping[str, Measuring] | Sequence[str]) -> None:
    """Make sure, before long work, that each name means something and is asked for once.

    Args:
        names: See the module.
        judges: The judges that are given, by name.

    Raises:
        ConfigurationError: One does not.
    """
    for name in names:
        kind, _, rest = name.partition(":")
        if kind == "torchvision" and rest:
            check_network(sized(rest)[0].partition(":")[0])
        elif kind == "script" and rest:
            if not Path(sized(rest)[0]).is_file():
                raise ConfigurationError(
                    f"The features '{name}' need the file {sized(rest)[0]}: there is none."
                )
        elif name not in _PLAIN:
            raise ConfigurationError(
                f"There are no features '{name}'. {did_you_mean(name, _PLAIN)} Known are "
                f"{', '.join(_PLAIN)}, torchvision:NAME (torchvision:resnet50) and script:FILE.pt."
            )
        elif name in JUDGES and name not in judges:
            raise ConfigurationError(f"The features '{name}' need a checkpoint: give --{name} FILE.")
    shown = [shown_name(name) for name in names]
    for name in shown:
        if shown.count(name) > 1:
            raise ConfigurationError(
                f"The features '{name}' are asked for twice: their scores would share a name."
            )


def _make(name: str, source: Source) -> FeatureExtractor:
    kind, _, rest = name.partition(":")
    if kind == "torchvision":
        return torchvision_features(rest, source.folder, source.device)
    if kind == "script":
        file, size = sized(rest)
        shape = (source.image_channels, *source.image_size)
        return script_features(Path(file), shape, (size, size) if size else None, source.device)
    if name == "pixels":
        return pixel_features(source.image_channels, source.image_size)
    if name == "details":
        return detail_features(source.image_channels, source.image_size)
    if name == "inception":
        return inception_features(find_inception(source.folder), source.device)
    if name in DINOV2:
        return dinov2_features(name, source.folder, source.device)
    judge = source.judges[name]
    check_channels(judge, name, source.image_channels)
    return judge_features(judge, name)
