"""Frobenius norms in float64 of weights in any dtype, a block at a time: no second copy of a weight is made."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.models.device import for_float64
from workbench.stack.hashing import block_of


def distance(one: Tensor, other: Tensor | None = None) -> float:
    """|one − other|, or |one|; of one shape, on any devices. Summed on `one`'s device, or the CPU where that cannot."""
    device = for_float64(one.device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    blocks = _blocks(one)
    others = _blocks(other, block_of(one)) if other is not None else [None] * len(blocks)
    for block, base in zip(blocks, others, strict=True):
        wide = block.to(device).double()
        if base is not None:
            wide = wide - base.to(device, non_blocking=True)  # narrower numbers are widened first: no bit is lost
        total += wide.square().sum()
    return float(total.sqrt())


def _blocks(weight: Tensor, elements: int | None = None) -> tuple[Tensor, ...]:
    return torch.split(weight.detach().reshape(-1), elements or block_of(weight))
