"""A stranger's edit that names a weight by another name than its module's own: it would have two pristine copies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.engine.making import REQUEST, drain, weight_bytes
from workbench.engine.engine import Engine
from workbench.engine.importing import import_sources
from workbench.errors import BaseMismatch
from workbench.stack.editfile import encode_edit
from workbench.stack.record import Edit, Factors, Layout
from workbench.stack.sources import open_source


def naming(like: Edit, module: str, shape: list[int], layout: Layout, path: Path) -> Path:
    """An edit file that changes `module`, otherwise like `like`."""
    d_in, d_out = shape if layout == "in,out" else reversed(shape)
    factors = (Factors(module, np.ones((1, d_in), np.float32), np.ones((d_out, 1), np.float32)),)
    base = dataclasses.replace(like.base, modules={module: {"shape": shape, "layout": layout}})
    weights = {module: like.weights[next(iter(like.weights))]}
    _, data = encode_edit(dataclasses.replace(like, id="", base=base, weights=weights), factors)
    path.write_bytes(data)
    return path


def test_a_property_that_leads_to_the_edited_module_is_no_module(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(REQUEST))
    (edit,), before = engine.stack.line, weight_bytes(engine)
    (module, info), *_ = edit.base.modules.items()
    alias = module.replace("transformer.", "base_model.", 1)
    path = naming(edit, alias, info["shape"], info["layout"], tmp_path / "alias.safetensors")
    with pytest.raises(BaseMismatch, match="another module or name"):
        drain(import_sources(engine.core, [open_source(path)], cancelled=lambda: False))
    assert (engine.stack.line, weight_bytes(engine)) == ((edit,), before)


def test_a_head_that_is_the_embedding_cannot_be_changed_by_an_edit(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(REQUEST))
    shape = [*engine.core.live.parameter("lm_head").shape]
    path = naming(engine.stack.line[0], "lm_head", shape, "out,in", tmp_path / "head.safetensors")
    with pytest.raises(BaseMismatch, match="another module or name"):
        drain(import_sources(engine.core, [open_source(path)], cancelled=lambda: False))
