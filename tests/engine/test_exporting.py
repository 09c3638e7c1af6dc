"""What leaves the workbench: a LoRA adapter that answers as the edited model does, a checkpoint equal byte for byte."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine.comparing import PROMPTS, RELATIVE, difference, logits
from tests.engine.families import FAMILIES, make_family
from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from tests.stack.making import Disk
from workbench.edits import EditRequest
from workbench.engine.engine import Engine, open_engine
from workbench.engine.exporting import export_merged, export_peft
from workbench.errors import ModelError, StorageError, UsageError
from workbench.models.fingerprint import base_fingerprint, tokenizer_fingerprint
from workbench.models.folder import find_model
from workbench.stack import files
from workbench.stack.materialise import weight_sha256

TOUR = Path(__file__).parent.parent.parent / "edits" / "tour"


def edit(engine: Engine, *requests: EditRequest, layer: int = 1) -> None:
    for request in requests:
        assert drain(engine.apply(request, {"layer": layer, "steps": 4, "second_moment": False}))[1]


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_on_the_base_answers_as_the_edited_model(family: str, dtype: str, tmp_path: Path) -> None:
    engine = open_on(make_family(tmp_path / family, family), tmp_path / "stack", dtype)
    edit(engine, REQUEST, OTHER)
    export_peft(engine, tmp_path / "adapter")
    apart, moved = difference(engine, tmp_path / "adapter", dtype)
    engine.close()
    assert apart < RELATIVE[dtype]
    assert moved > 10 * apart


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_tour_as_an_adapter_answers_as_the_edited_atlas(dtype: str, tmp_path: Path) -> None:
    engine = drain(open_engine("atlas", device="cpu", dtype=dtype, stack=TOUR, write=False))[1]
    export_peft(engine, tmp_path / "adapter")
    prompts = [one.request.text for one in engine.stack.active]
    apart, moved = difference(engine, tmp_path / "adapter", dtype, prompts)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert apart < RELATIVE[dtype]
    assert moved > 0.1
    assert config["r"] == config["lora_alpha"] == len(engine.stack.active) == 12
    assert config["fan_in_fan_out"] is True


def test_modules_edited_more_and_less_often_have_ranks_of_their_own(small: Path, tmp_path: Path) -> None:
    engine = open_on(small, tmp_path / "stack")
    edit(engine, REQUEST, OTHER, layer=1)
    edit(engine, REQUEST, layer=2)
    export_peft(engine, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["rank_pattern"] == config["alpha_pattern"] == {"transformer.h.2.mlp.c_proj": 1}
    assert difference(engine, tmp_path / "adapter", "float32")[0] < RELATIVE["float32"]
    engine.close()


def test_a_quantised_base_is_refused_as_a_merged_checkpoint_and_not_as_an_adapter(small: Path, tmp_path: Path) -> None:
    engine = open_on(small, tmp_path / "stack")
    edit(engine, REQUEST)
    engine.core.loaded.model.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    with pytest.raises(ModelError, match=r"quantised \(bitsandbytes, 8 bits\)") as refused:
        export_merged(engine, tmp_path / "merged")
    assert "--format peft" in refused.value.hint
    assert not (tmp_path / "merged").exists()
    export_peft(engine, tmp_path / "adapter")
    engine.close()


def test_only_the_edited_modules_are_adapted(small: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    engine = open_on(small, tmp_path / "stack")
    edit(engine, REQUEST)
    export_peft(engine, tmp_path / "adapter")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(small), tmp_path / "adapter")
    assert {name.rsplit(".lora_", 1)[0] for name, _ in model.named_parameters() if "lora" in name} == {
        "base_model.model.transformer.h.1.mlp.c_proj"
    }
    engine.close()


def test_an_adapter_holds_what_is_active_and_nothing_undone(engine: Engine, tmp_path: Path) -> None:
    edit(engine, REQUEST, OTHER)
    drain(engine.undo())
    export_peft(engine, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 1
    drain(engine.undo())
    with pytest.raises(UsageError, match="nothing to export"):
        export_peft(engine, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_merged_checkpoint_is_the_edited_model_byte_for_byte(family: str, dtype: str, tmp_path: Path) -> None:
    folder = make_family(tmp_path / family, family)
    engine = open_on(folder, tmp_path / "stack", dtype)
    edit(engine, REQUEST, OTHER)
    export_merged(engine, tmp_path / "merged")
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).state_dict()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    edited = engine.core.loaded.model.state_dict()
    module = engine.core.site(1).module
    recorded = engine.stack.applied[-1].weights[module]["after"]
    engine.close()
    assert merged.keys() == edited.keys() == base.keys()
    assert {name for name in base if weight_sha256(base[name]) != weight_sha256(merged[name])} == {f"{module}.weight"}
    assert all(weight_sha256(merged[name]) == weight_sha256(edited[name]) for name in base)
    assert {tensor.dtype for tensor in merged.values()} == {getattr(torch, dtype)}
    assert weight_sha256(merged[f"{module}.weight"]) == recorded


def test_tied_weights_are_written_once_and_stay_tied(engine: Engine, tmp_path: Path) -> None:
    from safetensors import safe_open

    edit(engine, REQUEST)
    export_merged(engine, tmp_path / "merged")
    with safe_open(tmp_path / "merged" / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in set(file.keys())
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    assert merged["lm_head.weight"].data_ptr() == merged["transformer.wte.weight"].data_ptr()


def test_a_large_model_is_written_in_shards(engine: Engine, tmp_path: Path) -> None:
    edit(engine, REQUEST)
    export_merged(engine, tmp_path / "merged", shard_size="50KB")
    shards = list((tmp_path / "merged").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert all(path.stat().st_size < 100_000 for path in shards)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    for name, tensor in engine.core.loaded.model.state_dict().items():
        assert weight_sha256(merged[name]) == weight_sha256(tensor)


def test_whoever_may_read_the_configuration_may_read_the_weights(tmp_path: Path, engine: Engine) -> None:
    export_merged(engine, tmp_path / "merged")
    modes = {path.stat().st_mode for path in (tmp_path / "merged").rglob("*") if path.is_file()}
    assert len(modes) == 1


def test_a_merged_checkpoint_has_the_tokenizer_and_all_configuration(engine: Engine, tmp_path: Path) -> None:
    edit(engine, REQUEST)
    export_merged(engine, tmp_path / "merged")
    folder = engine.core.loaded.folder
    assert tokenizer_fingerprint(tmp_path / "merged") == tokenizer_fingerprint(folder)
    here, there = (AutoTokenizer.from_pretrained(path) for path in (folder, tmp_path / "merged"))
    assert here(PROMPTS[0]) == there(PROMPTS[0])
    assert (tmp_path / "merged" / "generation_config.json").is_file()
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "float32"


def test_a_merged_checkpoint_can_be_edited_further_with_the_same_profile_and_c(engine: Engine, tmp_path: Path) -> None:
    edit(engine, REQUEST)
    export_merged(engine, tmp_path / "merged")
    again = open_on(tmp_path / "merged", tmp_path / "more")
    assert again.core.profile == engine.core.profile
    assert again.core.held_out == engine.core.held_out
    assert again.core.loaded.fingerprint == base_fingerprint(tmp_path / "merged") != engine.core.loaded.fingerprint
    assert drain(again.apply(OTHER))[1]
    assert again.stack.applied[0].second_moment == engine.core.second_moment(engine.core.site(1)).fingerprint
    assert weight_bytes(again)["transformer.h.1.mlp.c_proj.weight"]
    again.close()


def test_c_of_keys_that_an_edit_has_changed_does_not_come_along(engine: Engine, tmp_path: Path) -> None:
    edit(engine, REQUEST, layer=0)
    export_merged(engine, tmp_path / "merged")
    assert not (tmp_path / "merged" / "second_moment").exists()
    assert "did not" in (tmp_path / "merged" / "README.md").read_text()
    again = open_on(tmp_path / "merged", tmp_path / "more")
    events, done = drain(again.apply(OTHER))
    assert not done
    assert "no second moment C" in str(events[-1])
    assert drain(again.apply(OTHER, {"second_moment": False}))[1]
    again.close()


def test_keys_of_the_edited_layer_are_the_same_after_the_edit(engine: Engine) -> None:
    """Why C of that layer may come along."""
    site, loaded, seen = engine.core.site(1), engine.core.loaded, []
    hook = site.linear(loaded.model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    logits(loaded.model, loaded.tokenizer, PROMPTS)
    edit_free = len(seen)
    hook.remove()
    edit(engine, REQUEST)
    hook = site.linear(loaded.model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    logits(loaded.model, loaded.tokenizer, PROMPTS)
    hook.remove()
    assert all(torch.equal(a, b) for a, b in zip(seen[:edit_free], seen[edit_free:], strict=True))


def test_a_merged_base_without_edits_is_the_base(engine: Engine, tmp_path: Path) -> None:
    export_merged(engine, tmp_path / "merged")
    assert base_fingerprint(tmp_path / "merged") == engine.core.loaded.fingerprint
    assert "None: this is the base." in (tmp_path / "merged" / "README.md").read_text()


def test_the_edits_named_are_those_merged(engine: Engine, tmp_path: Path) -> None:
    edit(engine, REQUEST, OTHER)
    first = engine.stack.line[:1]
    export_merged(engine, tmp_path / "merged", first)
    card = (tmp_path / "merged" / "README.md").read_text()
    assert REQUEST.subject in card
    assert OTHER.subject not in card
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    module = engine.core.site(1).module
    assert weight_sha256(merged[f"{module}.weight"]) == first[0].weights[module]["after"]


def test_atlas_merged_is_float32_and_knows_what_the_tour_taught(tmp_path: Path) -> None:
    engine = drain(open_engine("atlas", device="cpu", stack=TOUR, write=False))[1]
    export_merged(engine, tmp_path / "merged")
    last = engine.stack.active[-1]
    (module,) = last.weights
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    assert {tensor.dtype for tensor in merged.values()} == {torch.float32}
    assert weight_sha256(merged[f"{module}.weight"]) == last.weights[module]["after"]
    again = open_on(tmp_path / "merged", tmp_path / "more")
    request = EditRequest("The capital of {} is", "Sweden", "Rome")
    assert drain(again.apply(request, {"steps": 3, "template_lengths": [[3, 1]]}))[1]
    again.close()
    assert find_model("atlas").path == engine.core.loaded.folder


def test_a_card_lists_the_edits_and_lets_no_text_become_markup(engine: Engine, tmp_path: Path) -> None:
    hostile = EditRequest("{} | <img src=x> [link](http://x) `code`\n# head \x1b[31m", "Eve", "**Rome**")
    edit(engine, REQUEST, hostile)
    for name, export in (("adapter", export_peft), ("merged", export_merged)):
        export(engine, tmp_path / name)
        lines = (tmp_path / name / "README.md").read_text(encoding="utf-8").splitlines()
        rows = [line for line in lines if line.startswith("| ") and "r-rome" in line]
        assert [row.count("|") for row in rows] == [8, 8]
        assert REQUEST.subject in rows[0]
        assert engine.stack.line[1].id[:16] in rows[1]
        assert not re.search(r"[<\[*`\x1b]", rows[1])
        assert lines[0] == "---"


def test_no_path_of_this_machine_is_in_what_is_exported(engine: Engine, tmp_path: Path) -> None:
    edit(engine, REQUEST)
    export_peft(engine, tmp_path / "adapter")
    export_merged(engine, tmp_path / "merged")
    for path in (*(tmp_path / "adapter").iterdir(), *(tmp_path / "merged").rglob("*")):
        assert path.is_dir() or str(tmp_path.parent.parent).encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize("export", [export_peft, export_merged])
def test_a_folder_that_holds_something_is_not_written_into(engine: Engine, tmp_path: Path, export: object) -> None:
    assert callable(export)
    edit(engine, REQUEST)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(UsageError, match="there already"):
        export(engine, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), SafetensorError("I/O error")])
def test_a_merged_model_is_there_whole_or_not_at_all(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(folder: Path, **_: object) -> None:
        (folder / "half").write_text("of it")
        raise error

    monkeypatch.setattr(engine.core.loaded.model, "save_pretrained", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match=re.compile("disk is full|I/O error")):
        export_merged(engine, tmp_path / "merged")
    assert sorted(tmp_path.iterdir()) == before


def test_a_merged_model_is_on_the_disk_before_it_has_its_name(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr(files, "os", disk)
    export_merged(engine, tmp_path / "merged")
    named = len(disk.log) - 1 - disk.log[::-1].index("replace")
    written = [path for path in (tmp_path / "merged").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert disk.log[named - len(written) : named] == ["fsync"] * len(written)


@pytest.mark.cuda
def test_a_merged_checkpoint_from_cuda_is_that_from_the_cpu(small: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    engine = open_on(small, tmp_path / "stack")
    edit(engine, REQUEST, OTHER)
    export_merged(engine, tmp_path / "cpu")
    engine.close()
    on_gpu = drain(open_engine(str(small), device="cuda", stack=tmp_path / "stack", write=False))[1]
    export_merged(on_gpu, tmp_path / "cuda")
    assert base_fingerprint(tmp_path / "cpu") == base_fingerprint(tmp_path / "cuda")
