"""How strongly terms of an objective pull at generated images: what balances compare."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def gradient_norms(losses: Mapping[str, Tensor], image: Tensor | None) -> dict[str, Tensor]:
    """Return the norm of each loss's gradient in the generated images, averaged over processes.

    Costs a way back from each loss to the images; all graphs are kept. Every process must call it
    with the same names.

    Args:
        losses: Scalars by name.
        image: (N, C, H, W), with the graph of the losses; None: not known.

    Returns:
        Scalars float32 without gradient. Losses that do not depend on the images are left out: all of
        them where the images are not known, or no gradients are computed.
    """
    norms: dict[str, Tensor] = {}
    if image is None or not image.requires_grad or not torch.is_grad_enabled():
        return norms
    for name, loss in losses.items():
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss, image, retain_graph=True, allow_unused=True)
            if gradient is not None:
                norms[name] = torch.linalg.vector_norm(gradient.detach().float())
    if norms and torch.distributed.is_available() and torch.distributed.is_initialized():
        stacked = torch.stack(list(norms.values()))
        torch.distributed.all_reduce(stacked)
        stacked = stacked / torch.distributed.get_world_size()
        norms = dict(zip(norms, stacked.unbind(), strict=True))
    return norms


def ratio_of_norms(wanted: Tensor, found: Tensor, least: float, limit: float) -> Tensor:
    """Return by what to multiply a gradient of norm ``found`` to make it ``wanted``, in [least, limit]."""
    return (wanted / found.clamp_min(1e-20)).clamp(least, limit)
