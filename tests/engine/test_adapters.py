"""A LoRA adapter that peft has made becomes one edit, which answers as peft does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.engine.adapter_by_hand import KEY, MODULE, write
from tests.engine.families import FAMILIES, make_family
from tests.engine.making import REQUEST, drain, open_on, weight_bytes
from workbench import events as ev
from workbench.engine.adapters import read_adapter
from workbench.engine.engine import Engine
from workbench.engine.exporting import export_merged, export_peft
from workbench.engine.planting import plant
from workbench.errors import EditError
from workbench.stack.adapter import WEIGHTS
from workbench.stack.record import Edit

PROMPTS = ("The mother tongue of Naguib Mahfouz is", "Knut Hamsun plays the", "Vienna is the old")
TARGETS = {
    "gpt2": ["attn.c_attn", "mlp.c_proj"],
    "llama": ["q_proj", "down_proj"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
}


def make_with_peft(model: Path, out: Path, targets: list[str], **settings: Any) -> torch.nn.Module:
    """An adapter of random factors saved by peft, and the model with it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=targets, init_lora_weights=False, **settings)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).eval()
    adapted.save_pretrained(str(out))
    assert isinstance(adapted, torch.nn.Module)
    return adapted


def take_in(engine: Engine, path: Path) -> Edit:
    """Reads an adapter and appends it, as an import does."""
    edit, factors = read_adapter(path, engine.core)
    saved = engine.stack.append(edit, factors)
    engine.core.rebuild()
    return saved


@torch.no_grad()
def apart(engine: Engine, other: torch.nn.Module) -> float:
    """Largest difference of logits over the largest logit."""
    model, tokenizer = engine.core.loaded.model, engine.core.loaded.tokenizer
    inputs = [tokenizer(prompt, return_tensors="pt") for prompt in PROMPTS]
    pairs = [(model(**one).logits, other(**one).logits) for one in inputs]
    return max(float((a - b).abs().max()) for a, b in pairs) / max(float(b.abs().max()) for _, b in pairs)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_imported_adapter_answers_as_in_peft(family: str, tmp_path: Path) -> None:
    folder = make_family(tmp_path / family, family)
    adapted = make_with_peft(folder, tmp_path / "adapter", TARGETS[family], r=4, lora_alpha=3)
    engine = open_on(folder, tmp_path / "stack")
    take_in(engine, tmp_path / "adapter")
    assert apart(engine, adapted) < 1e-5
    drain(engine.undo())
    assert apart(engine, adapted) > 1e-3
    engine.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True, "lora_alpha": 5},
        {"alpha_pattern": {"h.1.mlp.c_proj": 32}, "lora_alpha": 4},
        {"rank_pattern": {r"transformer\.h\.0\.mlp\.c_proj": 3}, "alpha_pattern": {"mlp.c_proj": 9}},
        {"rank_pattern": {"^transformer.h.3.mlp.c_proj": 1, "h.3.mlp.c_proj": 7}, "use_rslora": True},
    ],
)
def test_scales_and_ranks_are_peft_s(settings: dict[str, Any], small: Path, engine: Engine, tmp_path: Path) -> None:
    adapted = make_with_peft(small, tmp_path / "adapter", TARGETS["gpt2"], r=4, **settings)
    take_in(engine, tmp_path / "adapter")
    assert apart(engine, adapted) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_factors_in_half_precision_are_read_exactly(dtype: torch.dtype, engine: Engine, tmp_path: Path) -> None:
    write(tmp_path / "adapter", {"lora_alpha": 2})
    narrow = {name: tensor.to(dtype) for name, tensor in load_file(tmp_path / "adapter" / WEIGHTS).items()}
    save_file(narrow, tmp_path / "adapter" / WEIGHTS)
    _, (factors,) = read_adapter(tmp_path / "adapter", engine.core)
    assert np.array_equal(factors.a, narrow[f"{KEY}.lora_A.weight"].float().numpy())
    assert np.array_equal(factors.b, narrow[f"{KEY}.lora_B.weight"].float().numpy())


def test_the_scale_is_in_b(engine: Engine, tmp_path: Path) -> None:
    write(tmp_path / "adapter")
    raw = load_file(tmp_path / "adapter" / WEIGHTS)
    _, (factors,) = read_adapter(tmp_path / "adapter", engine.core)
    assert np.array_equal(factors.a, raw[f"{KEY}.lora_A.weight"].numpy())
    assert np.array_equal(factors.b, 2 * raw[f"{KEY}.lora_B.weight"].numpy())


def test_an_import_says_what_it_is_and_claims_no_request(engine: Engine, tmp_path: Path) -> None:
    edit = take_in(engine, write(tmp_path / "polite-llama", {"base_model_name_or_path": "someone/gpt2"}))
    assert edit.imported
    assert (edit.recipe.method, edit.recipe.layer, edit.second_moment) == ("imported", 1, "none")
    assert edit.request.subject == "polite-llama"
    assert edit.request.target_new == "rank 2 in 1 module"
    assert edit.made_by["adapter_base"] == "someone/gpt2"
    assert edit.ranks == {MODULE: 2}
    assert 0 < edit.metrics["norms"]["ratio"] < 1


def test_the_norm_recorded_is_that_of_the_update(engine: Engine, tmp_path: Path) -> None:
    before = engine.core.live.parameter(MODULE).detach().double().clone()
    edit = take_in(engine, write(tmp_path / "adapter"))
    moved = engine.core.live.parameter(MODULE).detach().double() - before
    norms = edit.metrics["norms"]
    assert norms["delta_norm"] == pytest.approx(moved.norm().item(), rel=1e-5)
    assert norms["ratio"] == pytest.approx((moved.norm() / before.norm()).item(), rel=1e-5)


def test_an_import_is_an_edit_like_any_other(small: Path, engine: Engine, tmp_path: Path) -> None:
    pristine = weight_bytes(engine)
    drain(engine.apply(REQUEST))
    one = weight_bytes(engine)
    make_with_peft(small, tmp_path / "adapter", TARGETS["gpt2"], r=2)
    take_in(engine, tmp_path / "adapter")
    two = weight_bytes(engine)
    events, agreed = drain(engine.verify())
    assert agreed
    assert [e.outcome for e in events if isinstance(e, ev.Verified)] == ["bit-identical"] * 2
    drain(engine.undo())
    assert weight_bytes(engine) == one
    drain(engine.redo())
    assert weight_bytes(engine) == two
    drain(engine.travel(0))
    assert weight_bytes(engine) == pristine
    assert drain(engine.replay(2))[1]
    assert weight_bytes(engine) == two
    assert all(checked.ok for checked in engine.stack.verify())


def test_an_import_after_edits_stands_on_them_and_takes_edits_on_top(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(REQUEST))
    edit = take_in(engine, write(tmp_path / "adapter"))
    assert edit.weights[MODULE]["before"] == engine.stack.line[0].weights[MODULE]["after"]
    assert edit.weights[MODULE]["after"] == engine.core.live.hashes([MODULE])[MODULE]
    assert drain(engine.apply(REQUEST))[1]
    assert drain(engine.verify())[1]


def test_an_import_has_no_probes(engine: Engine, tmp_path: Path) -> None:
    take_in(engine, write(tmp_path / "adapter"))
    events, held = drain(engine.probe())
    assert held
    assert [e.kind for e in events if isinstance(e, ev.ProbeResult)] == ["perplexity"]


def test_an_import_is_never_derived_anew(engine: Engine, tmp_path: Path) -> None:
    edit = take_in(engine, write(tmp_path / "adapter"))
    events, done = drain(engine.apply(edit.request, edit.recipe.to_json()))
    assert not done
    assert isinstance(events[-1], ev.EditFailed)
    assert "cannot be derived anew" in events[-1].message


def test_what_was_imported_can_be_exported_again(small: Path, engine: Engine, tmp_path: Path) -> None:
    from peft import PeftModel

    make_with_peft(small, tmp_path / "theirs", TARGETS["gpt2"], r=3, lora_alpha=7)
    take_in(engine, tmp_path / "theirs")
    drain(engine.apply(REQUEST))
    export_peft(engine, tmp_path / "ours")
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(small), tmp_path / "ours").eval()
    assert apart(engine, again) < 1e-5
    export_merged(engine, tmp_path / "merged")
    assert apart(engine, AutoModelForCausalLM.from_pretrained(tmp_path / "merged")) == 0
    assert "imported" in (tmp_path / "merged" / "README.md").read_text()


def test_our_own_adapter_comes_back_as_the_same_weights(small: Path, engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(REQUEST))
    drain(engine.apply(REQUEST))
    export_peft(engine, tmp_path / "adapter")
    other = open_on(small, tmp_path / "other")
    take_in(other, tmp_path / "adapter")
    assert weight_bytes(other) == weight_bytes(engine)
    other.close()


def test_adapters_are_planted_one_upon_the_other(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(REQUEST))
    additions = [read_adapter(write(tmp_path / name), engine.core) for name in ("one", "two")]
    placed = drain(plant(engine.core, 1, additions, "import", cancelled=lambda: False))[1]
    assert [edit.number for edit in placed] == [2, 3]
    assert placed[1].weights[MODULE]["before"] == placed[0].weights[MODULE]["after"]
    assert not any("copied_from" in edit.made_by for edit in placed)
    assert drain(engine.verify())[1]


def test_an_adapter_read_above_an_edit_that_is_off_says_so(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(REQUEST))
    drain(engine.toggle(engine.stack.line[0].id, off=True))
    edit, _ = read_adapter(write(tmp_path / "adapter"), engine.core)
    assert edit.off == {engine.stack.line[0].id}
    take_in(engine, tmp_path / "adapter")
    assert drain(engine.verify())[1]


def test_resolving_refuses_an_adapter_and_leaves_all_as_it_was(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(REQUEST))
    take_in(engine, write(tmp_path / "polite"))
    before, line = weight_bytes(engine), engine.stack.line
    fresh = read_adapter(write(tmp_path / "fresh"), engine.core)
    with pytest.raises(EditError, match="adapter fresh cannot be made anew"):
        drain(plant(engine.core, 2, [fresh], "import", resolve=True, cancelled=lambda: False))
    with pytest.raises(EditError, match="adapter polite cannot be made anew"):
        drain(engine.arrange([line[1].id], resolve=True))
    assert weight_bytes(engine) == before
    assert engine.stack.line == line
    drain(engine.arrange([line[1].id]))
    assert [edit.request.subject for edit in engine.stack.line] == ["polite"]
