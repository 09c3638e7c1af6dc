"""Adapters for a base with experts, whose shared or dense MLPs are edited: peft must not take them for the experts'."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.comparing import RELATIVE, difference
from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from tests.zoo import save
from workbench.engine.adapters import read_adapter
from workbench.engine.exporting import export_peft

DENSE, SHARED = "model.layers.1.mlp.down_proj", "model.layers.2.mlp.shared_experts.down_proj"


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys did not match:RuntimeWarning")
def test_an_adapter_for_dense_and_shared_mlps_is_used_by_peft_and_comes_back(tmp_path: Path) -> None:
    """peft 0.21 warns that it ignores the patterns of weights, and applies them."""
    folder = save(tmp_path / "model", "deepseek_v3")
    engine = open_on(folder, tmp_path / "stack")
    for request, layer in ((REQUEST, 1), (OTHER, 1), (OTHER, 2)):
        assert drain(engine.apply(request, {"layer": layer}))[1]
    export_peft(engine, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["target_modules"] == []
    assert config["target_parameters"] == [f"{DENSE}.weight", f"{SHARED}.weight"]
    assert config["rank_pattern"] == config["alpha_pattern"] == {f"{SHARED}.weight": 1}
    apart, moved = difference(engine, tmp_path / "adapter", "float32")
    assert apart < RELATIVE["float32"]
    assert moved > 1e-3
    other = open_on(folder, tmp_path / "other")
    edit, factors = read_adapter(tmp_path / "adapter", other.core)
    other.stack.append(edit, factors)
    other.core.rebuild()
    assert {one.module: one.a.shape[0] for one in factors} == {DENSE: 2, SHARED: 1}
    assert weight_bytes(other) == weight_bytes(engine)
    other.close()
    engine.close()
