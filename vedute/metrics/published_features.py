"""Features of networks that others published: DINOv2, torchvision's, and any TorchScript file.

Nothing here downloads. Not here: choosing extractors by name (``vedute.metrics.extractors``), Inception,
judges and pixels (``vedute.metrics.features``).
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import CheckpointError, ConfigurationError
from vedute.metrics.features import (
    FeatureExtractor,
    Features,
    MissingWeightsError,
    file_fingerprint,
    in_colour,
    resize,
)
from vedute.networks.dinov2 import PATCH, Dinov2, architecture, fits
from vedute.pretrained import RANDOM, find_weights, missing, places, pretrained_torchvision, published

DINOV2 = {
    "dinov2": ("dinov2_vits14_pretrain.pth", 384, 12, 88),
    "dinov2_vitb14": ("dinov2_vitb14_pretrain.pth", 768, 12, 346),
    "dinov2_vitl14": ("dinov2_vitl14_pretrain.pth", 1024, 24, 1220),
}
"""By name: the file as it is published, width and depth of the network, MB."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DINOV2_SIZE = 16 * PATCH
_AT_A_TIME = 32  # images in a large network, so that memory does not grow with the caller's batch


def shown_name(name: str) -> str:
    """Return the name that scores carry: ``torchvision:resnet50@96`` gives ``torchvision_resnet50_96``."""
    kind, colon, rest = name.partition(":")
    if kind == "script" and colon:
        file, size = sized(rest)
        rest = Path(file).stem + (f"_{size}" if size else "")
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{kind}_{rest}" if colon else kind)


def sized(name: str) -> tuple[str, int]:
    """Split ``NAME@SIZE``; the size is 0 where there is none."""
    before, at, after = name.rpartition("@")
    if at and after.isdigit() and int(after) > 0:
        return before, int(after)
    return name, 0


def dinov2_features(
    name: str = "dinov2", folder: Path | None = None, device: torch.device | str = "cpu"
) -> FeatureExtractor:
    """Return the class token of DINOv2: what most people compare generated pictures in since 2023.

    Images are resized to 224x224, bicubic and antialiased.

    Args:
        name: A key of ``DINOV2``.
        folder: Where the file lies; None: ``VEDUTE_WEIGHTS``, then torch's cache.
        device: Where to compute.

    Raises:
        MissingWeightsError: The file is not on this machine.
        CheckpointError: It is damaged, holds more than tensors, or other weights.
    """
    published_name, width, depth, megabytes = DINOV2[name]
    where = places(folder)
    file = next((place / published_name for place in where if (place / published_name).is_file()), None)
    if file is None:
        raise MissingWeightsError(
            f"{name} is left out: {published_name} ({megabytes} MB, published with DINOv2) is not in "
            f"{' or '.join(map(str, where))}. Put it there, or name its folder with --weights-dir or "
            "VEDUTE_WEIGHTS."
        )
    state = _read(file, f"Fetch it again, or remove it to leave {name} out.")
    if not fits(state) or architecture(state) != (width, depth):
        raise CheckpointError(
            f"{file} does not hold the weights of {name}: {depth} blocks of width {width} without registers "
            f"are needed. Fetch it again, or remove it to leave {name} out."
        )
    with torch.device("meta"):
        network = Dinov2(width, depth)
    network.load_state_dict(state, assign=True)
    network.float().eval().requires_grad_(False).to(device)

    def extract(image: Tensor) -> Tensor:
        small = F.interpolate(image, size=(_DINOV2_SIZE,) * 2, mode="bicubic", antialias=True)
        features: Tensor = network(_standard(small.clamp(0, 1), _MEAN, _DEVIATION))
        return features

    resizing = f"bicubic, antialiased, to {_DINOV2_SIZE}x{_DINOV2_SIZE}"
    return FeatureExtractor(name, width, resizing, _on(device, extract), file_fingerprint(file))


def torchvision_features(
    name: str, folder: Path | None = None, device: torch.device | str = "cpu"
) -> FeatureExtractor:
    """Return what the last layer of a network of torchvision gets, its mean where it is a map.

    Random weights give features that prefer no kind of picture: Naeem et al. 2020
    (https://arxiv.org/abs/2002.09797) compare pictures unlike ImageNet's photos in them.

    Args:
        name: ``resnet50``; ``resnet50:random`` or ``resnet50:IMAGENET1K_V1`` for other weights than the first
            published; ``resnet50@96`` for another size than that the weights were trained for.
        folder: Where weights are looked for; None: ``VEDUTE_WEIGHTS``, then torch's cache.
        device: Where to compute.

    Raises:
        MissingWeightsError: The weights are not on this machine.
        ConfigurationError: There is no such network, nor such weights, or they take no images of that size.
        CheckpointError: The file is damaged or of another architecture.
    """
    from torchvision.models import get_model_weights

    rest, size = sized(name)
    network_name, _, weights = rest.partition(":")
    entries = published(network_name)
    file = None if weights == RANDOM else find_weights(network_name, weights or None, folder)
    if file is None and weights != RANDOM:
        sentence = missing(network_name, weights or None, folder)
        raise MissingWeightsError(f"torchvision:{name} is left out: its weights are absent. {sentence}")
    entry = next((entry for entry in entries if file is not None and entry.file == file.name), entries[0])
    side = size or get_model_weights(network_name)[entry.name].transforms().crop_size[0]
    network = pretrained_torchvision(network_name, RANDOM if file is None else str(file))
    _leave_out_last_layer(network)
    network.float().to(device)

    def extract(image: Tensor) -> Tensor:
        features: Tensor = network(_standard(resize(image, (side, side)), entry.mean, entry.deviation))
        return features

    run = _on(device, extract)
    try:
        count = run(torch.zeros(1, 3, side, side)).shape[1]
    except (RuntimeError, AssertionError, ValueError) as error:  # what networks raise where a map vanishes
        raise ConfigurationError(
            f"torchvision:{name}: {network_name} takes no images of {side}x{side} pixels "
            f"({str(error).splitlines()[0]}). Leave out @{side}."
        ) from error
    return FeatureExtractor(
        shown_name(f"torchvision:{name}"),
        count,
        f"bilinear, antialiased, to {side}x{side}",
        run,
        f"{RANDOM}-0" if file is None else file_fingerprint(file),
    )


def _leave_out_last_layer(network: nn.Module) -> None:
    """Replace the layer that gives the logits, the last linear layer or convolution, by what it gets."""
    layers = [name for name, part in network.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    network.set_submodule(layers[-1], nn.Identity())
    if hasattr(network, "transform_input"):
        network.transform_input = True  # type: ignore[assignment]  # the published Inception and GoogLeNet scale colours inside too


def script_features(
    file: Path,
    image_shape: tuple[int, int, int],
    size: tuple[int, int] | None = None,
    device: torch.device | str = "cpu",
) -> FeatureExtractor:
    """Return the output of a TorchScript file.

    It is given float32 images (n, C, H, W) in [0, 1], of three channels where it takes no others, and must
    return (n, F), or maps (n, F, h, w), of which the mean is taken. TorchScript is a program: open no file
    of people whom you do not trust.

    Args:
        file: Written by ``torch.jit.save``.
        image_shape: C, H and W of the images.
        size: Height and width that images are resized to; None: they stay as they are.
        device: Where to compute.

    Raises:
        CheckpointError: The file is damaged, no TorchScript, or does not turn images into features.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.jit.load(str(file), map_location=device).eval()  # type: ignore[no-untyped-call]
    except Exception as error:  # what a damaged archive makes its reader raise can be nearly anything
        raise CheckpointError(
            f"{file} cannot be read as TorchScript: write it with torch.jit.save(torch.jit.trace(...))."
        ) from error
    channels, *own_size = image_shape
    side = size or (own_size[0], own_size[1])

    def given(as_it_is: bool) -> Features:
        def extract(image: Tensor) -> Tensor:
            result = network(resize(image, side))
            if not isinstance(result, Tensor) or result.ndim not in (2, 4) or len(result) != len(image):
                shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
                raise ValueError(f"it returns {shape} for {len(image)} images")
            return result.flatten(2).mean(dim=2) if result.ndim == 4 else result

        return _on(device, extract, as_it_is)

    example = torch.full((2, channels, *side), 0.5)
    problem = ""
    for as_it_is in (True, False):
        run = given(as_it_is)
        try:
            count = run(example).shape[1]
        except Exception as error:  # whatever a foreign program raises
            # The last line: before it TorchScript prints where in the program it was.
            problem = problem or str(error).strip().splitlines()[-1]
            continue
        resizing = f"bilinear, antialiased, to {side[0]}x{side[1]}" if size else "none"
        name = shown_name(f"script:{file}" + (f"@{side[0]}" if size else ""))
        return FeatureExtractor(name, count, resizing, run, file_fingerprint(file))
    raise CheckpointError(
        f"{file} does not turn images {tuple(example.shape)} in [0, 1] into features (2, F): {problem} Where "
        "it needs another size, say so: script:FILE.pt@224."
    )


def _on(device: torch.device | str, extract: Features, as_it_is: bool = False) -> Features:
    """Run images through a network in float32, in colour unless ``as_it_is``, a few at a time."""

    def run(image: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(torch.device(device).type, enabled=False):
            given = image if as_it_is else in_colour(image)
            parts = torch.split(given.to(device).float(), _AT_A_TIME)
            return torch.cat([extract(part).float() for part in parts])

    return run


def _standard(image: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    shape = (1, 3, 1, 1)
    return (image - image.new_tensor(mean).view(shape)) / image.new_tensor(deviation).view(shape)


def _read(file: Path, advice: str) -> dict[str, Tensor]:
    content: object = None
    with suppress(Exception), warnings.catch_warnings():  # damage can make a pickle's reader raise anything
        warnings.simplefilter("ignore")
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(
            f"{file} cannot be read as weights: it is damaged, or holds more than numbers. {advice}"
        )
    return {str(key): value for key, value in content.items()}
