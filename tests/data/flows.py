"""Small flow models with random weights, and images for them."""

from __future__ import annotations

from functools import partial

import torch

from lightning_modules.flow_matching import FlowMatching
from vedute.batch import Batch, Condition
from vedute.networks.flow_unet import FlowUNet

NAMES = ["red", "green", "blue"]
SMALL = partial(FlowUNet, widths=(16, 32), attention=(1,), embedding_size=32)
FACTS = {
    "image_size": (8, 16),
    "image_channels": 3,
    "train_size": 64,
    "optimizer": partial(torch.optim.AdamW, lr=1e-3),
}


def flow(kind: str = "class", module: type[FlowMatching] = FlowMatching, **options: object) -> FlowMatching:
    """Build a small model whose last layers are not zero, so that conditions matter."""
    torch.manual_seed(0)
    facts = {"condition_kind": kind, "condition_names": [] if kind in ("none", "image") else NAMES, **FACTS}
    if kind == "image":
        facts["condition_channels"] = 1
    model = module(network=SMALL, **{**facts, **options})  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(std=0.05)
    return model.eval()


def batch(count: int = 6, kind: str = "class") -> Batch:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(count, 3, 8, 16, generator=generator)
    vector = torch.eye(3)[torch.arange(count) % 3] if kind != "none" else None
    return Batch(image, Condition(vector), torch.arange(count))
