"""Which module of a decoder holds the facts: the MLP's down-projection, found by structure and not by name.

block ── attention ── mlp: up-projection, activation, [down-projection] ── residual
k, its input at one token, has d_in entries; v, its output, d_out.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from workbench.errors import ModelError
from workbench.models.structure import block_lists, down_projections, has_experts, reads_ahead

Layout = Literal["in,out", "out,in"]

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Weights that can be edited as they are."""

_REFUSED = {
    "xlnet": "reads its text in both directions",
    "recurrent_gemma": "keeps what it has read in its own modules",
}
"""Why a model cannot be edited, where its structure does not tell."""

_KNOWN = "GPT-2, Llama, GPT-NeoX, GPT-J, OPT and models built like them can be edited."
_PLAIN = "Only plain decoders can be edited."


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
        ModelError: no such layer, experts in place of an MLP, a quantised weight, or a structure that is not known.
    """
    path, blocks = _decoder(model)
    if not 0 <= layer < len(blocks):
        raise ModelError(f"The model has no layer {layer}.", f"Choose one of 0 to {len(blocks) - 1}.")
    names = down_projections(blocks[layer], _width(model))
    if len(names) != 1:
        raise _no_site(model, layer, names)
    if "past_key_values" not in inspect.signature(type(model).forward).parameters:
        raise ModelError(f"{type(model).__name__} keeps no keys and values of what it has read.", _PLAIN)
    linear = blocks[layer].get_submodule(names[0])
    weight, layout = _plain_weight(linear), layout_of(linear)
    if layout is None or weight is None:
        others = editable_layers(model)
        raise ModelError(
            f"The weight of layer {layer} is quantised: an edit would be lost in its rounding.",
            f"Load the model in float32, bfloat16 or float16, or keep '{names[0]}' out of the quantisation"
            + (f"; or choose another layer: {_ranges(others)}." if others else "."),
        )
    d_in, d_out = weight.shape if layout == "in,out" else reversed(weight.shape)
    return EditSite(layer, f"{path}.{layer}.{names[0]}", layout, d_in, d_out)


def editable_layers(model: nn.Module) -> tuple[int, ...]:
    """The decoder blocks that `edit_site` finds a down-projection in. Raises ModelError as `decoder_blocks`."""
    width = _width(model)
    found = [(block, down_projections(block, width)) for block in decoder_blocks(model)]
    return tuple(
        layer
        for layer, (block, names) in enumerate(found)
        if len(names) == 1 and _plain_weight(block.get_submodule(*names)) is not None
    )


def _plain_weight(linear: nn.Module) -> nn.Parameter | None:
    """The weight of a linear map, if it can be edited as it is; None for any other module, and for a quantised one."""
    weight = getattr(linear, "weight", None)
    if layout_of(linear) is None or not isinstance(weight, nn.Parameter):
        return None
    return weight if weight.dim() == 2 and weight.dtype in FLOATS else None


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
    """The list of decoder blocks and its path."""
    kind, config = type(model).__name__, getattr(model, "config", None)
    if config is not None and (config.is_encoder_decoder or getattr(type(config), "is_encoder_decoder", False)):
        raise ModelError(f"{kind} is an encoder-decoder, or half of one.", _PLAIN)
    found = block_lists(model, _embedding(model))
    if not found:
        raise ModelError(f"{kind} has no decoder blocks of a known kind.", _KNOWN)
    if len(found) > 1:
        names = " and ".join(path for path, _ in found[:3])
        raise ModelError(f"The model has several stacks of blocks: {names}.", _PLAIN)
    why = _REFUSED.get(getattr(config, "model_type", ""))
    if why or any(reads_ahead(block) for block in found[0][1]):
        raise ModelError(f"{kind} {why or 'reads its text in both directions'}.", _PLAIN)
    return found[0]


def _embedding(model: nn.Module) -> nn.Module | None:
    find = getattr(model, "get_input_embeddings", None)
    found = find() if callable(find) else None
    return found if isinstance(found, nn.Module) else None


def _width(model: nn.Module) -> int:
    """How wide the residual stream is. Raises ModelError if the model's configuration does not say."""
    config = getattr(model, "config", None)
    width = getattr(config.get_text_config(), "hidden_size", None) if config is not None else None
    if not isinstance(width, int):
        raise ModelError(f"{type(model).__name__} does not say how wide its residual stream is.", _KNOWN)
    return width


def _no_site(model: nn.Module, layer: int, names: Sequence[str]) -> ModelError:
    """Why `layer` has no one down-projection, and where there is one."""
    others = editable_layers(model)
    hint = f"Choose another layer: {_ranges(others)}." if others else "No layer of this model can be edited."
    if names:
        return ModelError(f"Layer {layer} has several MLPs: {', '.join(names[:3])}.", hint)
    if has_experts(decoder_blocks(model)[layer]):
        return ModelError(f"Layer {layer} is a mixture of experts: a fact has no one module there.", hint)
    return ModelError(f"Layer {layer} has no MLP of a known kind.", hint)


def _ranges(layers: Sequence[int]) -> str:
    """Whole numbers in words: "0 to 2, 5"."""
    starts = [i for i in layers if i - 1 not in layers]
    ends = [i for i in layers if i + 1 not in layers]
    return ", ".join(f"{a} to {b}" if a < b else str(a) for a, b in zip(starts, ends, strict=True))
