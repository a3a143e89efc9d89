"""How small pictures come to be: what a model that enlarges them learns to undo.

Here: degradations from images to smaller images. Not here: augmentations, which keep the size (the
other files of this folder), and the compression (``vedute.augment.jpeg``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.augment.jpeg import jpeg_compressed
from vedute.errors import ConfigurationError

_KERNEL_RADIUS = 10
"""Half the side of the largest blur kernel, pixels; a kernel of 21 as in the source."""


class Degradation(nn.Module, ABC):
    """Makes small images of large ones; no gradients. Results are rounded to 8 bits, as files hold them."""

    def __init__(self, scale: int = 4) -> None:
        """Say by how much.

        Args:
            scale: Pixels along a side for each pixel of the result, at least 1.

        Raises:
            ConfigurationError: It is below 1.
        """
        super().__init__()
        if scale < 1:
            raise ConfigurationError(f"{type(self).__name__}.scale must be at least 1, got {scale}.")
        self.scale = scale

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of what becomes of images of a size.

        Raises:
            ConfigurationError: A side is no multiple of the scale.
        """
        height, width = size
        if height % self.scale or width % self.scale:
            raise ConfigurationError(
                f"Images of {height}x{width} pixels cannot be shrunk {self.scale} times: choose sides that "
                f"are multiples of {self.scale}."
            )
        return height // self.scale, width // self.scale

    @torch.no_grad()
    def forward(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Shrink images.

        Args:
            image: (N, C, H, W) in [0, 1]; sides multiples of the scale.
            generator: Of the CPU, where everything random comes from; None: torch's global ones.

        Returns:
            (N, C, H / scale, W / scale) float32 in [0, 1].
        """
        size = self.output_size((image.shape[2], image.shape[3]))
        return (self.shrink(image.float(), size, generator).clamp(0, 1) * 255).round() / 255

    @abstractmethod
    def shrink(self, image: Tensor, size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
        """Return (N, C, *size), which may leave [0, 1]; see :meth:`forward`."""

    def seeded(self, image: Tensor, seeds: Tensor) -> Tensor:
        """Shrink images, each by what its own seed draws, whatever the batch: for validation.

        Args:
            image: (N, C, H, W) in [0, 1].
            seeds: (N,) int64, e.g. the rows of the data set.

        Returns:
            (N, C, H / scale, W / scale) float32 in [0, 1], on the device of the images.
        """
        generator = torch.Generator()
        size = self.output_size((image.shape[2], image.shape[3]))
        results = [image.new_zeros(0, image.shape[1], *size, dtype=torch.float32)]
        for row, seed in enumerate(seeds.tolist()):
            # Not the plain number: noise of a generating model begins with the same seeds.
            generator.manual_seed((int(seed) * 1_000_003 + 7) % 2**63)
            results.append(self(image[row : row + 1], generator))
        return torch.cat(results)


class Bicubic(Degradation):
    """Bicubic and antialiased, as most benchmarks and Pillow shrink: nothing is random."""

    def shrink(self, image: Tensor, size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
        """Shrink; see the base class."""
        return F.interpolate(image, size=size, mode="bicubic", antialias=True)


class Realistic(Degradation):
    """Blur, resizing, noise and compression, drawn anew for each image: how real small pictures look.

    In turn: a Gaussian blur, round or not; a resize to any size by one of several methods; noise of the
    sensor's electronics (the same everywhere) or of the light (more where it is bright); JPEG. With
    ``second_order`` all of it twice, as with a picture that was edited and shared again. At the end comes
    a resize to the wanted size, before or after the last compression. The source's sinc filters are
    left out.

    Images are made one by one, so that each has a size of its own on the way.

    Source: Wang et al. 2021 (Real-ESRGAN), https://arxiv.org/abs/2107.10833; its ranges for photographs
    and a scale of 4 are the defaults.
    """

    def __init__(
        self,
        scale: int = 4,
        blur: tuple[float, float] = (0.2, 3.0),
        anisotropic: float = 0.35,
        resize: tuple[float, float] = (0.6, 1.5),
        noise: tuple[float, float] = (0.004, 0.12),
        shot_noise: tuple[float, float] = (0.05, 3.0),
        grey_noise: float = 0.4,
        jpeg: tuple[int, int] = (30, 95),
        second_order: bool = False,
    ) -> None:
        """Choose the ranges.

        Args:
            scale: Pixels along a side for each pixel of the result.
            blur: Lowest and highest standard deviation of the blur, pixels of the image given.
            anisotropic: Share of blurs that differ in their two directions, in [0, 1].
            resize: Size after the first resize: lowest, relative to the result's, at most 1; and highest,
                relative to that of the image given, at least 1.
            noise: Lowest and highest standard deviation of Gaussian noise, of images in [0, 1].
            shot_noise: Lowest and highest strength of Poisson noise; 1: as of 255 photons where it is white.
            grey_noise: Share of noises that are the same in all channels, in [0, 1].
            jpeg: Lowest and highest quality, 1 to 100.
            second_order: Degrade twice, the second time by a little less.

        Raises:
            ConfigurationError: A range is no range.
        """
        super().__init__(scale)
        for name, (low, high) in {"blur": blur, "noise": noise, "shot_noise": shot_noise}.items():
            if not 0 <= low <= high < math.inf:
                raise ConfigurationError(
                    f"Realistic.{name} must be two numbers of at least 0, the lower first; got {low}, {high}."
                )
        if not 0 < resize[0] <= 1 <= resize[1] < math.inf or not 1 <= jpeg[0] <= jpeg[1] <= 100:
            raise ConfigurationError(
                "Realistic needs resize with 0 < lowest <= 1 <= highest and jpeg within 1 to 100, the lower "
                f"first; got {list(resize)} and {list(jpeg)}."
            )
        if not 0 <= anisotropic <= 1 or not 0 <= grey_noise <= 1:
            raise ConfigurationError(
                f"Realistic needs anisotropic and grey_noise in [0, 1]; got {anisotropic:g}, {grey_noise:g}."
            )
        self.blur = blur
        self.anisotropic = anisotropic
        self.resize = resize
        self.noise = noise
        self.shot_noise = shot_noise
        self.grey_noise = grey_noise
        self.jpeg = jpeg
        self.second_order = second_order

    def shrink(self, image: Tensor, size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
        """Degrade; see the base class."""
        return torch.cat([self._single(single, size, _Draws(generator)) for single in torch.split(image, 1)])

    def _single(self, image: Tensor, size: tuple[int, int], draws: _Draws) -> Tensor:
        """Degrade one image (1, C, H, W)."""
        whole = (image.shape[2], image.shape[3])
        image = self._noisy(self._resized(self._blurred(image, 1.0, draws), whole, 1.0, draws), 1.0, draws)
        if self.second_order:
            image = jpeg_compressed(image, draws.whole(*self.jpeg))
            # The source's second round: no blur of one image in five, and narrower ranges.
            if draws.chance(0.8):
                image = self._blurred(image, 0.5, draws)
            image = self._noisy(self._resized(image, whole, 0.8, draws), 0.8, draws)
        quality = draws.whole(*self.jpeg)
        if draws.chance(0.5):
            return jpeg_compressed(_to_size(image, size, draws), quality)
        return _to_size(jpeg_compressed(image, quality), size, draws)

    def _blurred(self, image: Tensor, strength: float, draws: _Draws) -> Tensor:
        """Blur by an ellipse of any direction, or a circle."""
        first = draws.between(*self.blur) * strength
        second = draws.between(*self.blur) * strength if draws.chance(self.anisotropic) else first
        kernel = _gaussian(first, second, draws.between(0, math.pi)).to(image)
        channels, radius = image.shape[1], len(kernel) // 2
        # Reflections cannot reach beyond the image.
        mode = "reflect" if radius < min(image.shape[2:]) else "replicate"
        padded = F.pad(image, (radius, radius, radius, radius), mode=mode)
        return F.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)

    def _resized(self, image: Tensor, whole: tuple[int, int], strength: float, draws: _Draws) -> Tensor:
        """Shrink (7 of 10), enlarge (2) or keep (1): shares of the source; sizes relative to ``whole``."""
        low, high = self.resize[0] / self.scale, max(1.0, self.resize[1] * strength)
        choice, factor = draws.between(0, 1), 1.0
        if choice < 0.7:
            factor = draws.between(low, 1)
        elif choice < 0.9:
            factor = draws.between(1, high)
        return _to_size(image, (round(whole[0] * factor), round(whole[1] * factor)), draws)

    def _noisy(self, image: Tensor, strength: float, draws: _Draws) -> Tensor:
        """Add Gaussian or Poisson noise, half and half."""
        image = image.clamp(0, 1)
        grey = draws.chance(self.grey_noise)
        if draws.chance(0.5):
            base = image[:, :1] if grey else image
            noise = draws.normal(base) * draws.between(*self.noise)
        else:
            base = image.mean(dim=1, keepdim=True) if grey else image
            noise = (draws.poisson(base * 255) / 255 - base) * draws.between(*self.shot_noise)
        return (image + strength * noise).clamp(0, 1)


class _Draws:
    """What is random, from one generator of the CPU or from torch's global ones.

    Single numbers always come from the CPU: reading one from a GPU would wait for it.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        self._generator = generator

    def between(self, low: float, high: float) -> float:
        """Return a number, uniform between two."""
        return low + (high - low) * float(torch.rand((), generator=self._generator))

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""
        return int(torch.randint(low, high + 1, (), generator=self._generator))

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.between(0, 1) < probability

    def normal(self, like: Tensor) -> Tensor:
        """Return standard normal noise of a shape."""
        if self._generator is None:
            return torch.randn_like(like)
        return torch.randn(like.shape, generator=self._generator).to(like)

    def poisson(self, rate: Tensor) -> Tensor:
        """Return Poisson counts of a mean."""
        if self._generator is None:
            return torch.poisson(rate)
        return torch.poisson(rate.cpu(), generator=self._generator).to(rate)


def _gaussian(first: float, second: float, angle: float) -> Tensor:
    """Return a kernel (K, K) of sum 1, K odd, with two standard deviations along turned axes, pixels."""
    radius = min(_KERNEL_RADIUS, max(1, math.ceil(3 * max(first, second))))
    place = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(place, place, indexing="ij")
    along = (math.cos(angle) * x + math.sin(angle) * y) / max(first, 1e-3)
    across = (math.cos(angle) * y - math.sin(angle) * x) / max(second, 1e-3)
    kernel = torch.exp(-0.5 * (along.square() + across.square()))
    return kernel / kernel.sum()


def _to_size(image: Tensor, size: tuple[int, int], draws: _Draws) -> Tensor:
    """Resize by the mean of areas, bilinear or bicubic, the latter two with or without antialiasing."""
    size = (max(1, size[0]), max(1, size[1]))
    method, smooth = draws.whole(0, 2), draws.chance(0.5)
    if (image.shape[2], image.shape[3]) == size:
        return image
    if method == 0:
        return F.interpolate(image, size=size, mode="area")
    mode = "bilinear" if method == 1 else "bicubic"
    return F.interpolate(image, size=size, mode=mode, align_corners=False, antialias=smooth)
