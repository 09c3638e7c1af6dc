"""Reading a decoder's module tree: which list holds its blocks, and what in a block works on each token alone.

    block ── what mixes tokens (attention, a state space, a convolution): its forward takes a mask, a cache or a state
          └─ what works on each token alone: linear maps, and experts, of which a router chooses some

Nothing here goes by a model's name. Names of modules only break ties that shapes leave.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache

from torch import nn
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

LAST_MAPS = ("down_proj", "c_proj", "dense_4h_to_h", "fc_out", "fc2", "w2", "wo", "lin2", "output_linear", "proj_down")
"""What the last map of an MLP is called, where its shape does not tell it from the others: all are square."""

Shape = tuple[int, int]
"""(d_in, d_out)."""


def block_lists(model: nn.Module, embedding: nn.Module | None) -> list[tuple[str, nn.ModuleList]]:
    """The lists of decoder blocks, with their paths: those beside the token `embedding`, or else all there are.

    Encoders of images and sound are made of blocks too, but these do not stand beside the embedding of text.
    """
    found: list[tuple[str, nn.ModuleList]] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, nn.ModuleList) and not inside and any(_is_block(child) for child in module):
            found.append((path, module))
    beside = [one for one in found if any(child is embedding for child in _parent(model, one[0]).children())]
    return beside or found


def down_projections(block: nn.Module, width: int) -> list[str]:
    """Paths of the maps in `block` that lead its MLP back into the residual stream of `width`; more than one is a tie.

    Such a map stands beside one that leads out of the stream to as many features as it takes, or to twice as many: a
    gate and an up-projection in one matrix. Narrower ones than the widest are not the MLP's.
    """
    linears = dict(_alone(block))
    found = {path: d_in for path, (d_in, d_out) in linears.items() if d_out == width and _is_fed(linears, path, d_in)}
    widest = [path for path, d_in in found.items() if d_in == max(found.values())]
    named = [path for path in widest if path.rpartition(".")[2] in LAST_MAPS]
    return named if len(named) == 1 else widest


def has_experts(block: nn.Module) -> bool:
    """Whether a router sends the tokens of `block` to experts."""
    return any(_is_experts(path.rpartition(".")[2], module) for path, module in _part(block))


def reads_ahead(block: nn.Module) -> bool:
    """Whether attention in `block` lets a token see those after it, as in BERT."""
    return any(getattr(module, "is_causal", None) is False for module in block.modules())


def linear_shape(module: nn.Module) -> Shape | None:
    """(d_in, d_out) if `module` is a linear map, of whatever kind and precision; otherwise None."""
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    d_in, d_out = getattr(module, "in_features", None), getattr(module, "out_features", None)
    return (d_in, d_out) if isinstance(d_in, int) and isinstance(d_out, int) else None


def _is_block(module: nn.Module) -> bool:
    """A block has a part that mixes tokens."""
    return any(_mixes(type(part)) for part in module.modules() if part is not module)


def _mixes(kind: type[nn.Module]) -> bool:
    """Whether modules of this kind read other tokens than the one they write."""
    return _takes_tokens(kind.forward)


@cache
def _takes_tokens(forward: Callable[..., object]) -> bool:
    names = inspect.signature(forward).parameters
    return any(name == "state" or any(word in name for word in ("mask", "past", "cache")) for name in names)


def _is_experts(name: str, module: nn.Module) -> bool:
    """A module of experts: so named, a list of MLPs, or their matrices in one tensor of three dimensions."""
    if name == "experts":
        return True
    if isinstance(module, nn.ModuleList):
        return any(linear_shape(part) for child in module for part in child.modules() if part is not child)
    stacked = any(parameter.dim() == 3 for parameter in module.parameters(recurse=False))
    return stacked and not isinstance(module, _ConvNd)


def _part(block: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What of `block` works on each token alone, as (path, module), down to linear maps and experts."""
    for name, child in block.named_children():
        if _mixes(type(child)):
            continue
        yield prefix + name, child
        if not _is_experts(name, child):
            yield from _part(child, f"{prefix}{name}.")


def _alone(block: nn.Module) -> Iterator[tuple[str, Shape]]:
    """The linear maps of `block` that work on each token alone and on every token."""
    for path, module in _part(block):
        shape = linear_shape(module)
        if shape:
            yield path, shape


def _is_fed(linears: dict[str, Shape], down: str, d_in: int) -> bool:
    """Whether beside the map `down` there is one from the width that it leads to, to the `d_in` features it takes."""
    folder, width = down.rpartition(".")[0], linears[down][1]
    beside = [shape for path, shape in linears.items() if path != down and path.rpartition(".")[0] == folder]
    return (width, d_in) in beside or (width, 2 * d_in) in beside


def _parent(model: nn.Module, path: str) -> nn.Module:
    return model.get_submodule(path.rpartition(".")[0])
