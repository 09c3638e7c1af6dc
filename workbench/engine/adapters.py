"""A LoRA adapter from elsewhere as one entry of a stack, held against the model at hand before any weight moves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from workbench.edits import IMPORTED, Recipe, imported_request
from workbench.engine.core import Core
from workbench.engine.norms import norm_of_product
from workbench.errors import BaseMismatch, UsageError
from workbench.models.families import decoder_blocks, layout_of
from workbench.stack.adapter import read_adapter_files
from workbench.stack.lora_config import LoraConfig
from workbench.stack.materialise import DTYPES
from workbench.stack.record import Edit, Factors, ModuleInfo

MAX_NAME = 200
"""Longest name of an adapter, in characters; longer ones are cut."""


def read_adapter(path: Path, core: Core) -> tuple[Edit, tuple[Factors, ...]]:
    """The adapter in the folder `path` as an edit that stands on what the stack applies now, and its factors.

    Its record is of the method "imported"; it names the adapter where a request would be, and has no probes. Nothing
    is written, and the model is left alone.

    Raises:
        UsageError: there is no LoRA adapter that changes only weights of linear modules.
        StackError: one of its files is damaged, hostile or too large.
        BaseMismatch: it is for another model.
        EditError: the edited weight would not be finite in the model's dtype.
        StorageError: it may not be read.
    """
    config, factors = read_adapter_files(path)
    base = core.base()
    base.modules.update({one.module: _module(core, one) for one in factors})
    modules = [one.module for one in factors]
    edit = Edit(
        requests=(imported_request(_name(path), _what(factors)),),
        recipe=Recipe(method=IMPORTED, layer=_lowest_block(core, modules)),
        base=base,
        second_moment="none",
        tokenizer=core.loaded.tokenizer_fingerprint,
        weights={module: {"before": "", "after": ""} for module in modules},
        metrics={"norms": _norms(core, factors)},
        made_by={**core.made_by(core.stack.applied), **_origin(config)},
        parent=core.stack.applied[-1].id if core.stack.position else None,
        number=core.stack.position + 1,
    )
    return _hashed(core, edit, factors), factors


def _hashed(core: Core, edit: Edit, factors: tuple[Factors, ...]) -> Edit:
    """`edit` with the sha256 of each weight before and after it, as the model is now."""
    core.live.adopt(edit)
    for module, hashes in edit.weights.items():
        hashes["before"] = core.live.would_be(module, core.live.shown)
        hashes["after"] = core.live.would_be(module, (*core.live.shown, factors))
    return dataclasses.replace(edit, base=core.live.as_held(edit.base))


def _module(core: Core, factors: Factors) -> ModuleInfo:
    """The module that `factors` change, if they can. Raises BaseMismatch, UsageError."""
    model, name = core.loaded.model, factors.module
    weight = core.live.parameter(name)
    layout = layout_of(model.get_submodule(name))
    if layout is None or weight.dim() != 2 or weight.dtype not in DTYPES:
        raise UsageError(f"The adapter changes '{name}', which is no linear module.", "Only linear modules can be.")
    core.live.check_single(name)
    d_in, d_out = factors.a.shape[1], factors.b.shape[0]
    shape = [d_in, d_out] if layout == "in,out" else [d_out, d_in]
    if list(weight.shape) != shape:
        raise BaseMismatch(f"The adapter does not fit '{name}': it has another shape here.", "It is for another base.")
    return {"shape": shape, "layout": layout}


def _norms(core: Core, factors: Sequence[Factors]) -> dict[str, Any]:
    """|ΔW|, |W| and their ratio over all modules together, Frobenius, in float64."""
    delta = math.hypot(*(norm_of_product(one) for one in factors))
    weight = math.hypot(*(_norm(core.live.parameter(one.module)) for one in factors))
    return {"delta_norm": delta, "weight_norm": weight, "ratio": delta / weight if weight else None}


def _norm(weight: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(weight.detach().cpu(), dtype=torch.float64))


def _name(path: Path) -> str:
    """The folder's own name, as text that can be written anywhere."""
    name = path.resolve().name.encode("utf-8", "replace").decode("utf-8")[:MAX_NAME].strip()
    return name or "adapter"


def _what(factors: Sequence[Factors]) -> str:
    ranks = sorted({one.a.shape[0] for one in factors})
    rank = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
    return f"rank {rank} in {len(factors)} module{'s' * (len(factors) != 1)}"


def _origin(config: LoraConfig) -> dict[str, str]:
    """What the adapter says of where it comes from."""
    return {"imported_as": "peft lora", **({"adapter_base": config.base} if config.base else {})}


def _lowest_block(core: Core, modules: Sequence[str]) -> int:
    """The lowest decoder block that one of `modules` belongs to; the last one if none does, as with the head."""
    blocks = decoder_blocks(core.loaded.model)
    inside = {id(module): number for number, block in enumerate(blocks) for module in block.modules()}
    found = [inside.get(id(core.loaded.model.get_submodule(module))) for module in modules]
    return min((number for number in found if number is not None), default=len(blocks) - 1)
