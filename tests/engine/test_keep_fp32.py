"""Half precision: edits of 16-bit models without NaN, and float32 masters that lose nothing of a small one."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import zoo
from tests.engine.making import drain, weight_bytes
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine.doctor import examine
from workbench.engine.engine import Engine, open_engine
from workbench.engine.exporting import export_merged, export_peft
from workbench.models.options import LoadOptions
from workbench.models.profiles import PROFILE

REQUEST = EditRequest("The mother tongue of {} is", "Naguib Mahfouz", "Irish")
OTHER = EditRequest("{} plays the", "Knut Hamsun", "trumpet")
SMALL: dict[str, Any] = {"clamp_factor": 1e-4, "template_lengths": []}
"""An update so small that little of it is left in bfloat16."""
KEEP = LoadOptions(keep_fp32=True)


@pytest.fixture(scope="module", params=["gpt2", "llama", "phi"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conv1D with a bias, Linear without one, Linear with one. Read only."""
    return zoo.save(tmp_path_factory.mktemp("half") / "model", request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.save(tmp_path_factory.mktemp("half") / "llama", "llama")


def opened(model: Path, stack: Path, dtype: str, options: LoadOptions = LoadOptions()) -> Engine:  # noqa: B008  frozen
    return drain(open_engine(str(model), device="cpu", dtype=dtype, stack=stack, options=options))[1]


def edited(engine: Engine, request: EditRequest = REQUEST, **changes: Any) -> ev.NormReport:
    events = drain(engine.apply(request, changes))[0]
    assert any(isinstance(event, ev.EditCommitted) for event in events), events[-1]
    return next(event for event in events if isinstance(event, ev.NormReport))


def outcomes(engine: Engine) -> list[str]:
    return [event.outcome for event in drain(engine.verify())[0] if isinstance(event, ev.Verified)]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_16_bit_model_is_edited_without_nan_and_undone_exactly(model: Path, tmp_path: Path, dtype: str) -> None:
    engine = opened(model, tmp_path / "stack", dtype)
    before = weight_bytes(engine)
    norms = edited(engine)
    assert all(math.isfinite(value) for value in dataclasses.asdict(norms).values() if isinstance(value, float))
    assert outcomes(engine) == ["bit-identical"]
    drain(engine.undo())
    assert weight_bytes(engine) == before
    engine.close()


def test_a_small_edit_is_lost_in_bfloat16_and_kept_in_a_float32_master(model: Path, tmp_path: Path) -> None:
    plain, kept = (opened(model, tmp_path / name, "bfloat16", o) for name, o in (("a", LoadOptions()), ("b", KEEP)))
    lost, whole = edited(plain, **SMALL).realised, edited(kept, **SMALL).realised
    assert abs(whole - 1) < 1e-3
    assert lost < 0.3
    plain.close()
    kept.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_master_among_16_bit_layers_is_edited_the_fast_way(model: Path, tmp_path: Path, seed: int) -> None:
    """Both ways round to bfloat16 between the layers: they may differ by that, not by a float32's rounding alone."""
    engine = opened(model, tmp_path / "stack", "bfloat16", KEEP)
    events = drain(engine.apply(REQUEST, {"seed": seed, "steps": 2}))[0]
    assert not [event for event in events if isinstance(event, ev.Warning) and "fast way" in event.message]
    engine.close()


def test_the_rest_of_the_model_sees_its_own_dtype(model: Path, tmp_path: Path) -> None:
    engine = opened(model, tmp_path / "stack", "bfloat16", KEEP)
    edited(engine)
    module = next(iter(engine.stack.line[0].weights))
    linear = engine.core.loaded.model.get_submodule(module)
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    hook = linear.register_forward_hook(lambda _, given, out: seen.append((given[0].dtype, out.dtype)))
    drain(engine.answer("The mother tongue of"))
    hook.remove()
    assert linear.weight.dtype == torch.float32
    assert set(seen) == {(torch.bfloat16, torch.bfloat16)}
    others = {p.dtype for name, p in engine.core.loaded.model.named_parameters() if name != f"{module}.weight"}
    assert others == {torch.bfloat16}
    engine.close()


@pytest.fixture
def kept(llama: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a stack whose one edit was made with a float32 master."""
    engine = opened(llama, tmp_path / "stack", "bfloat16", KEEP)
    edited(engine, **SMALL)
    yield engine
    engine.close()


def test_the_edit_records_what_its_module_was_held_in_and_the_stack_reopens_without_the_flag(
    llama: Path, kept: Engine
) -> None:
    after = weight_bytes(kept)
    folder, edit = kept.stack.folder, kept.stack.line[0]
    (module,) = edit.weights
    assert (edit.base.dtype, edit.base.dtype_of(module)) == ("bfloat16", "float32")
    assert edit.to_json()["version"] == 2
    kept.close()
    again = opened(llama, folder, "bfloat16")
    assert weight_bytes(again) == after
    assert outcomes(again) == ["bit-identical"]
    drain(again.undo())
    pristine = again.core.live.pristine(module)
    assert torch.equal(again.core.live.parameter(module), pristine.float())
    again.close()


def test_a_record_that_needs_nothing_new_stays_of_version_1(llama: Path, tmp_path: Path) -> None:
    engine = opened(llama, tmp_path / "plain", "bfloat16")
    edited(engine)
    assert engine.stack.line[0].to_json()["version"] == 1
    engine.close()


def test_edits_with_and_without_a_master_in_one_stack_are_each_verified_in_their_own_dtype(
    llama: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    engine = opened(llama, folder, "bfloat16")
    edited(engine)
    engine.close()
    engine = opened(llama, folder, "bfloat16", KEEP)
    edited(engine, OTHER)
    assert outcomes(engine) == ["bit-identical"] * 2
    engine.close()
    engine = opened(llama, folder, "bfloat16")
    assert outcomes(engine) == ["bit-identical"] * 2
    drain(engine.arrange([edit.id for edit in reversed(engine.stack.line)]))
    assert outcomes(engine) == ["bit-identical"] * 2
    engine.close()


def test_looking_at_an_undone_edit_does_not_change_what_the_model_is_held_in(llama: Path, kept: Engine) -> None:
    folder = kept.stack.folder
    drain(kept.undo())
    kept.close()
    again = opened(llama, folder, "bfloat16")
    before = weight_bytes(again)
    assert outcomes(again) == ["bit-identical"]
    assert weight_bytes(again) == before
    assert {p.dtype for p in again.core.loaded.model.parameters()} == {torch.bfloat16}
    again.close()


def test_a_merged_export_holds_the_master_and_says_so(kept: Engine, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    (module,) = kept.stack.line[0].weights
    export_merged(kept, tmp_path / "merged")
    stored = load_file(tmp_path / "merged" / "model.safetensors")
    assert torch.equal(stored[f"{module}.weight"], kept.core.live.parameter(module))
    assert "float32" in (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    export_peft(kept, tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_doctor_finds_a_stack_of_masters_as_it_should_be_and_replays_it_in_another_dtype(
    llama: Path, kept: Engine
) -> None:
    folder = kept.stack.folder
    kept.close()
    same = drain(examine(str(llama), "cpu", "bfloat16", folder))[0]
    assert not [event for event in same if isinstance(event, ev.Finding) and event.verdict == "mismatch"]
    other = drain(examine(str(llama), "cpu", "float32", folder))[0]
    recorded = [event for event in other if isinstance(event, ev.Finding) and event.topic == "recorded dtype"]
    assert [event.verdict for event in recorded] == ["fine"]


def test_doctor_knows_the_edited_module_of_a_converted_copy(llama: Path, kept: Engine, tmp_path: Path) -> None:
    folder = kept.stack.folder
    drain(kept.undo())
    kept.core.loaded.model.save_pretrained(tmp_path / "copy")
    kept.close()
    for file in (*llama.glob("tokenizer*"), llama / PROFILE):
        shutil.copy(file, tmp_path / "copy")
    found = drain(examine(str(tmp_path / "copy"), "cpu", "auto", folder))[0]
    modules = [event.message for event in found if isinstance(event, ev.Finding) and event.topic == "edited modules"]
    assert modules
    assert "the very bytes" in modules[0]
