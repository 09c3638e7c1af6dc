"""What answers for a module for the length of one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers.activations import FastGELUActivation, NewGELUActivation

from workbench.editing.clean import hidden_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def with_offset(hidden: Tensor, offset: Tensor) -> Tensor:
    """`hidden`, (rows, suffix, d_model), with `offset`, (rows, d_model), added at the first token of each row."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    first = (hidden[:, :1].to(wide) + offset.to(hidden.device)[:, None]).to(hidden.dtype)
    return torch.cat([first, hidden[:, 1:]], dim=1)


def at_places(mlp: nn.Module, places: Tensor) -> Callable[..., Any]:
    """A forward of `mlp` for the flat indices `places` alone, each named once; zero elsewhere."""
    own = mlp.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1 or args[0].dim() != 3:
            return own(*args, **kwargs)
        flat, here = args[0].flatten(0, 1), places.to(args[0].device)
        out = own(flat[here][None])
        if not isinstance(out, Tensor):
            return own(*args)
        whole = out.new_zeros(len(flat), out.shape[-1]).index_copy(0, here, out[0])
        return whole.view(*args[0].shape[:2], -1)

    return forward


def in_one_kernel(model: PreTrainedModel) -> dict[nn.Module, Callable[..., Any]]:
    """A forward for each activation of `model` that is GELU by its tanh formula in many small steps, and float32.

    The same function up to rounding, and several times as fast; in a narrower dtype the small steps round otherwise.
    """
    if model.dtype not in (torch.float32, torch.float64):
        return {}
    return {module: _gelu for module in model.modules() if isinstance(module, (NewGELUActivation, FastGELUActivation))}


def _gelu(inputs: Tensor) -> Tensor:
    return gelu(inputs, approximate="tanh")


def unchanged(beside: tuple[Any, ...] | None) -> Callable[..., Any]:
    """A block that gives its hidden states on."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        hidden = hidden_of(args, kwargs)
        return hidden if beside is None else (hidden, *beside)

    return forward


def saying(hidden: Tensor, beside: tuple[Any, ...] | None) -> Callable[..., Any]:
    """A block that gives `hidden`, whatever it is asked."""

    def forward(*_: Any, **__: Any) -> Any:
        return hidden if beside is None else (hidden, *beside)

    return forward
