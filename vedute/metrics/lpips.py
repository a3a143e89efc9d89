"""LPIPS: how different two images look, by a network's features and what people said of such differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vedute.metrics.features import MissingWeightsError, in_colour
from vedute.pretrained import find_weights, places, published, read_weights

LEAST = 32
"""Pixels a side below which its last layers see nothing."""

Difference = Callable[[Tensor, Tensor], Tensor]
"""From two sets of images (N, C, H, W) in [0, 1] to (N,): 0 for equal ones."""


def perceptual_difference(folder: Path | None = None, device: torch.device | str = "cpu") -> Difference:
    """Return LPIPS of AlexNet, as it is usually reported; images are not resized.

    The learned weights of its layers are part of torchmetrics; AlexNet's own are torchvision's file.
    Compare only values of images of one size.

    Source: Zhang et al. 2018, https://arxiv.org/abs/1801.03924; implementation by torchmetrics.

    Args:
        folder: Pretrained weights (``--weights-dir``); None: ``VEDUTE_WEIGHTS``, then torch's cache.
        device: Where to compute.

    Raises:
        MissingWeightsError: AlexNet's weights are not on this machine.
        CheckpointError: Their file is damaged.
    """
    file = find_weights("alexnet", folder=folder)
    if file is None:
        raise MissingWeightsError(
            f"lpips is left out: {published('alexnet')[0]}, published by torchvision, is not in "
            f"{' or '.join(map(str, places(folder)))}. Put it there, or name its folder with --weights-dir."
        )
    from torchmetrics.functional.image.lpips import _LPIPS

    state = read_weights("alexnet", file)
    network = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    # Its layers are AlexNet's first twelve, in five groups: slice2.3.weight is features.3.weight.
    groups = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
    network.net.load_state_dict({name: state[original] for name, original in groups.items()})
    network.to(device)

    @torch.inference_mode()
    def difference(image: Tensor, other: Tensor) -> Tensor:
        both = (in_colour(one).to(device).float() for one in (image, other))
        found: Tensor = network(*both, normalize=True)
        return found.flatten().cpu()

    return difference
