"""What answers for a module for the length of one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from workbench.editing.clean import hidden_of


def with_offset(hidden: Tensor, offset: Tensor) -> Tensor:
    """`hidden`, (rows, suffix, d_model), with `offset`, (rows, d_model), added at the first token of each row."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    first = (hidden[:, :1].to(wide) + offset.to(hidden.device)[:, None]).to(hidden.dtype)
    return torch.cat([first, hidden[:, 1:]], dim=1)


def at_places(mlp: nn.Module, places: Tensor) -> Callable[..., Any]:
    """A forward of `mlp` for the flat indices `places` alone; zero elsewhere."""
    own = mlp.forward
    chosen = torch.tensor(sorted(set(places.tolist())))

    def forward(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1 or args[0].dim() != 3:
            return own(*args, **kwargs)
        flat, here = args[0].flatten(0, 1), chosen.to(args[0].device)
        out = own(flat[here][None])
        if not isinstance(out, Tensor):
            return own(*args)
        whole = out.new_zeros(len(flat), out.shape[-1]).index_copy(0, here, out[0])
        return whole.view(*args[0].shape[:2], -1)

    return forward


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
