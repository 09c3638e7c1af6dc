"""Which module of a decoder holds the facts: the MLP's down-projection, found by structure and not by model name.

block ── attention ── mlp: up-projection, activation, [down-projection] ── residual
k, its input at one token, has d_in entries; v, its output, d_out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from workbench.errors import ModelError

Layout = Literal["in,out", "out,in"]

DOWN_PROJECTIONS = (
    "mlp.c_proj",  # GPT-2, StarCoder2
    "mlp.down_proj",  # Llama, Mistral, Qwen, Gemma, Phi-3
    "mlp.dense_4h_to_h",  # GPT-NeoX, Pythia, BLOOM, Falcon
    "mlp.fc_out",  # GPT-J
    "mlp.fc2",  # Phi
    "fc2",  # OPT
    "ffn.down_proj",  # MPT
)
"""Where the down-projection hangs below a decoder block."""

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Weights that can be edited as they are."""


@dataclass(frozen=True)
class EditSite:
    """The one linear map that an edit changes: y = W k (+ b)."""

    layer: int
    """Decoder block, counted from 0."""
    module: str
    """Dotted path of the down-projection in the model."""
    layout: Layout
    """How its weight is stored: (d_in, d_out) or (d_out, d_in)."""
    d_in: int
    d_out: int

    def linear(self, model: nn.Module) -> nn.Module:
        """The down-projection itself. Raises ModelError if `model` has none under this path."""
        try:
            return model.get_submodule(self.module)
        except AttributeError as error:
            raise ModelError(f"This model has no module '{self.module}'.", "It is another architecture.") from error

    def weight(self, model: nn.Module) -> nn.Parameter:
        """Its weight, (d_in, d_out) or (d_out, d_in) by `layout`.

        Raises:
            ModelError: the module or the shape is another.
        """
        weight = self.linear(model).weight
        shape = (self.d_in, self.d_out) if self.layout == "in,out" else (self.d_out, self.d_in)
        if not isinstance(weight, nn.Parameter) or tuple(weight.shape) != shape:
            raise ModelError(f"The weight of '{self.module}' is not {shape[0]} x {shape[1]}.", "It is another model.")
        return weight


def edit_site(model: nn.Module, layer: int) -> EditSite:
    """The down-projection of decoder block `layer`.

    Raises:
        ModelError: no such layer, a mixture of experts, a quantised weight, or a structure that is not known.
    """
    path, blocks = _decoder(model)
    if not 0 <= layer < len(blocks):
        raise ModelError(f"The model has no layer {layer}.", f"Choose one of 0 to {len(blocks) - 1}.")
    name = _down_projection(blocks[layer], layer)
    linear = blocks[layer].get_submodule(name)
    weight = linear.weight
    if not isinstance(weight, nn.Parameter) or weight.dim() != 2 or weight.dtype not in FLOATS:
        raise ModelError(f"The weight of layer {layer} is quantised.", "Load it in float32, bfloat16 or float16.")
    first, second = weight.shape
    if layout_of(linear) == "in,out":
        return EditSite(layer, f"{path}.{layer}.{name}", "in,out", first, second)
    return EditSite(layer, f"{path}.{layer}.{name}", "out,in", second, first)


def layout_of(linear: nn.Module) -> Layout | None:
    """How the weight of `linear` is stored; None: it is no linear map that can be edited."""
    if isinstance(linear, Conv1D):
        return "in,out"
    return "out,in" if isinstance(linear, nn.Linear) else None


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """The decoder's blocks in order. Raises ModelError if the structure is not known."""
    return _decoder(model)[1]


def layer_count(model: nn.Module) -> int:
    """How many decoder blocks the model has. Raises ModelError as `decoder_blocks`."""
    return len(decoder_blocks(model))


def _decoder(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The list of blocks, the only one whose members have an MLP, and its path."""
    found = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and any(_is_block(child) for child in module)
    ]
    if not found:
        raise ModelError(
            f"{type(model).__name__} has no decoder blocks of a known kind.",
            "GPT-2, Llama, GPT-NeoX, GPT-J, OPT and models built like them can be edited.",
        )
    if len(found) > 1:
        names = " and ".join(path for path, _ in found[:3])
        raise ModelError(f"The model has several stacks of blocks: {names}.", "Only plain decoders can be edited.")
    return found[0]


def _is_block(module: nn.Module) -> bool:
    return _is_mixture(module) or any(_linear_at(module, name) for name in DOWN_PROJECTIONS)


def _down_projection(block: nn.Module, layer: int) -> str:
    if _is_mixture(block):
        raise ModelError(
            f"Layer {layer} is a mixture of experts.", "A fact has no one module there; choose a dense layer."
        )
    names = [name for name in DOWN_PROJECTIONS if _linear_at(block, name)]
    if len(names) != 1:
        raise ModelError(f"Layer {layer} has no MLP of a known kind.", "Choose another layer.")
    return names[0]


def _linear_at(block: nn.Module, name: str) -> bool:
    try:
        return isinstance(block.get_submodule(name), (nn.Linear, Conv1D))
    except AttributeError:
        return False


def _is_mixture(block: nn.Module) -> bool:
    return any(path.rsplit(".", 1)[-1] in ("experts", "block_sparse_moe") for path, _ in block.named_modules())
