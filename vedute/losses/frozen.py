"""Networks that losses measure with, which are no part of the model that is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn


class Frozen:
    """A network that others measure with: no parameters of theirs, not in their state.

    It is built when it is first needed, stays in eval mode without gradients, and follows the device
    of its input. Copies share nothing and are built anew.
    """

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        """Keep how the network is built."""
        self._build = build
        self._network: nn.Module | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> Frozen:
        """Return one that builds the same network."""
        return Frozen(copy.deepcopy(self._build, memo))

    def __getstate__(self) -> dict[str, object]:
        """Leave the network out: another process builds it anew."""
        return {"_build": self._build, "_network": None}

    def on(self, device: torch.device) -> nn.Module:
        """Return the network on a device."""
        # Lightning validates before it trains: what is made in inference mode could not be trained with.
        with torch.inference_mode(False):
            if self._network is None:
                network = self._build().eval().requires_grad_(False)
                self._network = network.to(memory_format=torch.channels_last).to(device)
            elif next(self._network.parameters()).device != device:
                self._network = self._network.to(device)
        return self._network
