"""Features that images are compared in: what a distance between two sets of images means.

Here: what an extractor is, with the name that its scores carry, and those of pixels, judges and Inception.
Not here: all the others, and choosing by name (``vedute.metrics.extractors``); the distances themselves
(``vedute.metrics.distances``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.errors import CheckpointError, VeduteError
from vedute.files import weights_folder
from vedute.metrics.judge import Measuring

Features = Callable[[Tensor], Tensor]
"""From images (N, C, H, W) float32 in [0, 1] to features (N, F)."""

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""File name of the Inception weights, as torch-fidelity publishes and caches them."""

_PIXELS_SIDE = 8


@dataclass(frozen=True)
class FeatureExtractor:
    """Features with what a reader of a score must know about them.

    Attributes:
        name: ``inception``, ``classifier``, ``pixels``, ``dinov2``, ...: scores are named after it.
        size: Number F of features.
        resizing: How images are brought to the size that the features need.
        extract: From images (N, C, H, W) in [0, 1] to (N, F).
        weights: Fingerprint of the weights, 16 hexadecimal digits; empty: there are none. Features of
            one name, size, resizing and fingerprint are equal, so kept ones can be used again.
    """

    name: str
    size: int
    resizing: str
    extract: Features
    weights: str = ""

    @property
    def frechet_name(self) -> str:
        """Name of the Fréchet distance: ``fid`` in Inception features only."""
        return "fid" if self.name == "inception" else f"fd_{self.name}"

    @property
    def kernel_name(self) -> str:
        """Name of the kernel distance: ``kid`` in Inception features only."""
        return "kid" if self.name == "inception" else f"kd_{self.name}"


class MissingWeightsError(VeduteError):
    """Pretrained weights that are not on this machine; the message says where to put them."""


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring images to another size, bilinear and antialiased.

    Args:
        image: (N, C, H, W) in [0, 1].
        size: Wanted height and width.

    Returns:
        (N, C, *size) in [0, 1]; ``image`` itself where it has that size.
    """
    if image.shape[-2:] == size:
        return image
    resized = F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp(0, 1)


def eight_bit(image: Tensor) -> Tensor:
    """Round images in [0, 1] to the 256 levels that a file holds, as real images have them."""
    return (image.float().clamp(0, 1) * 255).round() / 255


def in_colour(image: Tensor) -> Tensor:
    """Return (N, 3, H, W) for networks that take colours: grey is repeated, what follows blue is left out."""
    return image[:, :3] if image.shape[1] >= 3 else image[:, :1].expand(-1, 3, -1, -1)


def file_fingerprint(file: Path) -> str:
    """Return 16 hexadecimal digits that differ between files."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def network_fingerprint(network: nn.Module) -> str:
    """Return 16 hexadecimal digits that differ between networks with other weights."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):  # a module may keep other things there
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def pixel_features(channels: int, image_size: tuple[int, int]) -> FeatureExtractor:
    """Return the pixels of images shrunk to 8x8: colours and coarse layout, without any network.

    Args:
        channels: Channels C of the images.
        image_size: Height and width of the images, pixels.
    """
    size = (min(_PIXELS_SIDE, image_size[0]), min(_PIXELS_SIDE, image_size[1]))
    return FeatureExtractor(
        "pixels",
        channels * size[0] * size[1],
        f"bilinear, antialiased, to {size[0]}x{size[1]}",
        lambda image: resize(image, size).flatten(1),
    )


def judge_features(judge: Measuring, name: str = "classifier") -> FeatureExtractor:
    """Return a judge's features under a name: ``classifier``, ``segmenter``."""
    height, width = judge.image_size
    example = torch.zeros(1, judge.image_channels, height, width, device=judge.device)
    with torch.inference_mode():
        size = judge.features(example).shape[1]
    return FeatureExtractor(
        name,
        size,
        f"bilinear, antialiased, to {height}x{width} where the size differs",
        lambda image: judge.features(resize(image.to(judge.device), judge.image_size)),
        network_fingerprint(judge) if isinstance(judge, nn.Module) else "",
    )


def find_inception(option: Path | None = None) -> Path:
    """Return the file of the Inception weights.

    Args:
        option: Folder to look in first (``--weights-dir``); None: ``VEDUTE_WEIGHTS``.

    Raises:
        MissingWeightsError: It is neither there nor in torch's hub cache.
    """
    own = weights_folder(option)
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    folders = [cache] if own is None else [own, cache]
    for folder in folders:
        if (folder / INCEPTION_FILE).is_file():
            return folder / INCEPTION_FILE
    raise MissingWeightsError(
        f"fid and kid are left out: {INCEPTION_FILE} (91 MB, published with torch-fidelity) is not in "
        f"{' or '.join(map(str, folders))}. Put it there, or name its folder with --weights-dir or "
        "VEDUTE_WEIGHTS."
    )


def inception_features(file: Path, device: torch.device | str = "cpu") -> FeatureExtractor:
    """Return the 2048 pooled features of the Inception network that FID and KID are defined on.

    The network is torch-fidelity's port of the original weights; images are resized to 299x299
    bilinear with antialiasing, which equals neither the original code nor clean-fid: compare
    only scores with the same resizing.

    Args:
        file: The weights, see :func:`find_inception`.
        device: Where to compute.

    Raises:
        CheckpointError: The file is damaged, holds more than tensors, or other weights.
    """
    from torchmetrics.image.fid import NoTrainInceptionV3

    try:
        # torch-fidelity reads without this protection: what passes here executes nothing there.
        torch.load(file, map_location="cpu", weights_only=True, mmap=False)
        network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(file)).to(device)
    except Exception as error:
        raise CheckpointError(
            f"{file} does not hold the Inception weights of torch-fidelity: {str(error).splitlines()[0]} "
            "Fetch it again, or remove it to leave fid and kid out."
        ) from error

    def extract(image: Tensor) -> Tensor:
        features: Tensor = network((in_colour(image).to(device) * 255).round().to(torch.uint8))
        return features

    resizing = "bilinear, antialiased, to 299x299"
    return FeatureExtractor("inception", 2048, resizing, extract, file_fingerprint(file))
