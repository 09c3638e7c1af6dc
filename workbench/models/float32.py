"""A linear map of a 16-bit model held in float32: an edit of it is rounded to float32 and no further.

Its input is cast up and its output down, so the rest of the model sees the dtype that it knows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as apply_linear

from workbench.models.families import Layout


def hold_float32(linear: nn.Module, layout: Layout) -> None:
    """Makes the weight of `linear` float32, to the same values, and its forward pass one in float32."""
    held: Any = linear
    held.weight = nn.Parameter(held.weight.detach().to(torch.float32), requires_grad=False)

    def forward(inputs: Tensor) -> Tensor:
        weight = held.weight.T if layout == "in,out" else held.weight  # (d_out, d_in)
        bias = None if held.bias is None else held.bias.float()
        return apply_linear(inputs.float(), weight, bias).to(inputs.dtype)

    # Where accelerate has put a hook on the module, the hook's own forward calls the one that it found there.
    setattr(held, "_old_forward" if hasattr(held, "_old_forward") else "forward", forward)
