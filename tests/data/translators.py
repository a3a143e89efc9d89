"""Stand-ins for pix2pix and ESRGAN that keep the promises of ``GenerativeModule``: nothing is learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vedute import checkpoints
from vedute.batch import Condition, ConditionKind


class StubTranslator(nn.Module):
    """Makes images from images with a small convolution.

    Attributes:
        sizes: (N, h, w) of each call.
    """

    condition_kind: ConditionKind = "image"

    def __init__(
        self,
        condition_channels: int = 1,
        image_channels: int = 3,
        scale: int = 1,
        tile_multiple: int = 1,
        norm: nn.Module | None = None,
        largest: int | None = None,
    ) -> None:
        """Draw the weights.

        Args:
            condition_channels: Of the input.
            image_channels: Of the output.
            scale: Pixels along a side for each of the input.
            tile_multiple: What sides must be multiples of.
            norm: What normalises the 8 features.
            largest: Pixels of a batch from which memory runs out; None: never.
        """
        super().__init__()
        self.condition_channels, self.image_channels = condition_channels, image_channels
        self.scale, self.tile_multiple = scale, tile_multiple
        self.image_size = (16 * scale, 16 * scale)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(condition_channels, 8, 5, padding=2)
            self.last = nn.Conv2d(8, image_channels, 3, padding=1)
        self.norm = norm or nn.Identity()
        self.largest = largest
        self.sizes: list[tuple[int, int, int]] = []

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.first.weight.device

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, C, h * scale, w * scale) in [0, 1]."""
        features = self.norm(self.first(image)).tanh()
        large = features.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        return self.last(large).sigmoid()  # type: ignore[no-any-return]

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        """Return images; each seed shifts the brightness a little."""
        image = condition.image
        assert image is not None and len(seeds) == len(image) and image.shape[1] == self.condition_channels
        assert image.dtype == torch.float32 and float(image.min()) >= 0 and float(image.max()) <= 1
        count, _, height, width = image.shape
        assert height % self.tile_multiple == 0 == width % self.tile_multiple
        self.sizes.append((count, height, width))
        if self.largest is not None and count * height * width > self.largest:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")
        return (self(image) + 0.001 * seeds[:, None, None, None]).clamp(0, 1)  # type: ignore[no-any-return]


def use_stub(patch: pytest.MonkeyPatch, folder: Path, **stubs: nn.Module) -> dict[str, Path]:
    """Let ``load_module`` give stubs; return the name of a checkpoint file for each."""
    files = {name: folder / f"{name}.ckpt" for name in stubs}
    for name, file in files.items():
        file.write_bytes(name.encode())

    def load(path: Path, *_: object) -> nn.Module:
        return stubs[Path(path).stem].eval()

    patch.setattr(checkpoints, "load_module", load)
    return files
