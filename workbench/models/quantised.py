"""Quantised bases: refused before they are read, unless a module that can be edited is kept in 16 bits or more.

A rank-one update of a matrix in 8 or 4 bits would be rounded away, and no float64 sum of such weights is exact. What is
edited in such a base leaves it as an adapter: its packed weights cannot be promised to be written again bit for bit.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workbench.errors import ModelError
from workbench.models.families import edit_site, editable_layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_REPACKS = "support_avx512bf16_for_cpu"
_KEPT = ("modules_to_not_convert", "llm_int8_skip_modules", "ignored_layers", "ignore")
"""Where the ways of quantising list the modules that they leave alone."""


def check_editable(config: PretrainedConfig, name: str) -> None:
    """Raises ModelError if the model `name` is quantised and leaves no down-projection as it was."""
    quantisation = _table(getattr(config, "quantization_config", None))
    if not quantisation:
        return
    listed = [quantisation.get(key) for key in _KEPT]
    kept = [str(entry) for entries in listed if isinstance(entries, (list, tuple, set)) for entry in entries]
    if not any(_matches(module, entry) for module in _editable(config) for entry in kept):
        raise ModelError(
            f"'{name}' is quantised ({_described(quantisation)}): an edit of its weights would be lost in rounding.",
            "Load the original in 16 bits, or quantise it with the edited module in "
            f"{next((key for key in _KEPT if key in quantisation), _KEPT[0])}.",
        )


def check_mergeable(config: PretrainedConfig, name: str) -> None:
    """Raises ModelError if the model `name` is quantised: then no merged checkpoint can be written of it."""
    quantisation = _table(getattr(config, "quantization_config", None))
    if quantisation:
        raise ModelError(
            f"No merged checkpoint can be written of '{name}': it is quantised ({_described(quantisation)}).",
            "Export the edits with --format peft: the adapter goes on the same quantised base.",
        )


def keep_differentiable(model: nn.Module) -> None:
    """Has the quantised maps of a model calculate in a way that gradients pass, and without a warning a map.

    On CPUs with AVX512-BF16 bitsandbytes repacks a 4-bit weight for inference at the first pass without gradients: from
    then on none goes through it, a weight whose sides are no multiples of 32 is an assertion that fails, and the scales
    are rounded. It does so by a flag of each module (Linear4bit.forward, bitsandbytes 0.50).
    """
    for module in model.modules():
        if getattr(module, _REPACKS, False):
            setattr(module, _REPACKS, False)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # 8 bits: that inputs are cast, at every map and pass


def _table(value: object) -> Mapping[str, Any]:
    """A quantisation's settings, which a configuration holds as a table or as an object."""
    if value is None or isinstance(value, Mapping):
        return value or {}
    to_dict = getattr(value, "to_dict", dict)
    table: Mapping[str, Any] = to_dict()
    return table


def _described(quantisation: Mapping[str, Any]) -> str:
    method = quantisation.get("quant_method") or "unknown method"
    method = str(method.value if isinstance(method, Enum) else method)
    bits = (
        4 if quantisation.get("load_in_4bit") else 8 if quantisation.get("load_in_8bit") else quantisation.get("bits")
    )
    return f"{method}, {bits} bits" if bits else method


def _editable(config: PretrainedConfig) -> list[str]:
    """The modules that could be edited in the same model unquantised, from its structure alone: no weight is made."""
    from transformers import AutoModelForCausalLM

    plain = type(config).from_dict({k: v for k, v in config.to_dict().items() if k != "quantization_config"})
    auto: Any = AutoModelForCausalLM  # which transformers leaves untyped
    try:
        with torch.device("meta"):
            model = auto.from_config(plain, trust_remote_code=False)
    except (ValueError, TypeError, AttributeError, ImportError):
        return []  # not one that transformers builds itself: which modules could be kept is not known
    return [edit_site(model, layer).module for layer in editable_layers(model)]


def _matches(module: str, entry: str) -> bool:
    """Whether `module` is the one that `entry` names: itself, a part of its path, or a pattern of it."""
    if entry == module or f".{entry}." in f".{module}.":
        return True
    try:
        return re.match(entry.removeprefix("re:"), module) is not None
    except re.error:
        return False
