"""Doctor tells every kind of mismatch apart, measures what can be measured, and never falls over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.making import OTHER, REQUEST, drain, make_model, open_on
from workbench import events as ev
from workbench.engine import doctor
from workbench.engine.auditing import check_files
from workbench.engine.doctor import examine
from workbench.engine.dtypes import measure_dtypes, pristine_weights
from workbench.engine.machine import machine
from workbench.engine.mismatch import explain, pristine_hashes
from workbench.models.load import LoadedModel, load_model
from workbench.stack.index import NAME
from workbench.stack.record import Edit
from workbench.stack.store import Stack

MODULE = "transformer.h.1.mlp.c_proj"


@pytest.fixture(scope="module")
def made(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of two edits on the small model, with a third on another branch. Read only."""
    folder = tmp_path_factory.mktemp("made") / "stack"
    engine = open_on(small, folder)
    for request in (OTHER, REQUEST):
        drain(engine.apply(request))
    drain(engine.undo())
    drain(engine.apply(replace(REQUEST, subject="Knut Hamsun")))
    engine.close()
    return folder


@pytest.fixture
def stack(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "stack"))


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    """A copy of the small model under its own name, to be changed."""
    return Path(shutil.copytree(small, tmp_path / "models" / small.name))


def findings(model: Path | str, folder: Path | None, dtype: str = "auto") -> dict[str, ev.Finding]:
    """By topic; of several on one topic, the last."""
    events, _ = drain(examine(str(model), "cpu", dtype, folder))
    return {event.topic: event for event in events if isinstance(event, ev.Finding)}


def verdicts(found: dict[str, ev.Finding]) -> set[str]:
    return {one.verdict for one in found.values()}


def change(model: Path, tensor: str) -> None:
    """Changes one number of a checkpoint."""
    weights = load_file(model / "model.safetensors")
    weights[tensor].view(-1)[0] += 1
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def test_where_all_fits_nothing_is_held_against_it(small: Path, stack: Path) -> None:
    found = findings(small, stack)
    assert verdicts(found) <= {"fine", "note"}
    assert {found[topic].verdict for topic in ("checkpoint", "dtype", "tokenizer", "stack", "model")} == {"fine"}
    assert "3 edits" in found["stack"].message
    assert torch.__version__.split("+")[0] in found["libraries"].message


def test_without_a_stack_machine_and_model_are_looked_at(small: Path) -> None:
    found = findings(small, None)
    assert {"python", "libraries", "cpu", "model", "editing", "second moment", "held-out text"} <= found.keys()
    assert not {"stack", "checkpoint"} & found.keys()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_model_whose_weights_are_no_numbers_is_not_well(small: Path, copied: Path, number: float) -> None:
    assert findings(small, None)["weights"].verdict == "fine"
    weights = load_file(copied / "model.safetensors")
    name = next(name for name in weights if name.endswith("h.2.mlp.c_fc.weight"))
    weights[name][0, 0] = number
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    found = findings(copied, None)["weights"]
    assert (found.verdict, "h.2.mlp.c_fc.weight" in found.message) == ("unusable", True)
    assert found.message.startswith("1 of ")


def test_looking_changes_nothing(small: Path, stack: Path) -> None:
    before = {path.name: path.read_bytes() for path in stack.iterdir()}
    findings(small, stack, "bfloat16")
    assert {path.name: path.read_bytes() for path in stack.iterdir()} == before


def test_another_dtype_is_measured_against_the_recorded_one(small: Path, stack: Path) -> None:
    events, _ = drain(examine(str(small), "cpu", "bfloat16", stack))
    found = {event.topic: event for event in events if isinstance(event, ev.Finding)}
    assert (found["dtype"].verdict, found["checkpoint"].verdict) == ("mismatch", "fine")
    assert "--dtype float32" in found["dtype"].hint
    assert (found["recorded dtype"].verdict, MODULE in found["recorded dtype"].message) == ("fine", True)
    (apart,) = [event for event in events if isinstance(event, ev.WeightsDiffer)]
    with Stack.open(stack) as opened:
        assert apart.sha_b == opened.line[-1].weights[MODULE]["after"]
    engine = open_on(small, stack, "bfloat16", write=False)
    narrow = engine.core.live.parameter(MODULE).detach().double()
    assert apart.sha_a == engine.core.live.hashes([MODULE])[MODULE]
    engine.close()
    engine = open_on(small, stack, "float32", write=False)
    wide, base = engine.core.live.parameter(MODULE).detach().double(), engine.core.live.pristine(MODULE).double()
    engine.close()
    assert apart.distance == pytest.approx(float((narrow - wide).norm() / base.norm()))
    assert 0 < apart.distance < 0.01


def test_a_recorded_hash_that_the_replay_does_not_give_is_no_agreement(small: Path, stack: Path) -> None:
    with Stack.open(stack) as opened:
        edits = [replace(e, weights={MODULE: {"before": "0" * 64, "after": "0" * 64}}) for e in opened.line]
        opened._found.edits |= {edit.id: edit for edit in edits}
        opened._line = None
        base = opened.base
        assert base is not None
        loaded = loaded_from(small, "bfloat16")
        events, _ = drain(measure_dtypes(opened, base, str(small), pristine_weights(loaded, base)))
    assert [e.verdict for e in events if isinstance(e, ev.Finding) and e.topic == "recorded dtype"] == ["mismatch"]


def test_another_architecture_fits_nothing(stack: Path, tmp_path: Path) -> None:
    found = findings(make_model(tmp_path / "models" / "llama", "llama"), stack)
    assert found["architecture"].verdict == "mismatch"
    assert MODULE in found["architecture"].message
    assert "checkpoint" not in found


def loaded_from(model: Path, dtype: str = "auto") -> LoadedModel:
    return drain(load_model(str(model), "cpu", dtype))[1]


def name_in(stack: Path) -> str:
    with Stack.open(stack) as opened:
        return opened.line[0].base.name


def explained(
    stack: Path, loaded: LoadedModel, edited: Callable[[Edit], Edit] = lambda edit: edit, dtype: str = "auto"
) -> dict[str, ev.Finding]:
    """What is said of a loaded model and a stack whose edits are as `edited` makes them."""
    with Stack.open(stack) as opened:
        opened._found.edits = {ident: edited(edit) for ident, edit in opened._found.edits.items()}
        opened._line = None
        base = edited(opened.line[0]).base
        return {one.topic: one for one in explain(opened, base, loaded, dtype)}


def test_a_module_of_another_size_is_another_model(stack: Path, small: Path) -> None:
    def wider(edit: Edit) -> Edit:
        info = edit.base.modules[MODULE]
        modules = {MODULE: {**info, "shape": [info["shape"][0], 2 * info["shape"][1]]}}
        return replace(edit, base=replace(edit.base, modules=modules))  # type: ignore[arg-type]  # a TypedDict's copy

    found = explained(stack, loaded_from(small), wider)
    assert found["architecture"].verdict == "mismatch"


def test_weights_changed_outside_the_edited_modules_are_told_from_weights_changed_in_them(
    stack: Path, copied: Path
) -> None:
    change(copied, "transformer.h.3.mlp.c_proj.weight")
    elsewhere = findings(copied, stack)
    assert (elsewhere["checkpoint"].verdict, elsewhere["edited modules"].verdict) == ("mismatch", "note")
    assert "another checkpoint than" in elsewhere["checkpoint"].message
    in_place = explained(stack, replace(loaded_from(copied), name=name_in(stack)))
    assert "has other weights now" in in_place["checkpoint"].message
    change(copied, f"{MODULE}.weight")
    within = findings(copied, stack)
    assert (within["checkpoint"].verdict, within["edited modules"].verdict) == ("mismatch", "mismatch")
    assert "requests" in within["checkpoint"].hint
    assert within["tokenizer"].verdict == "fine"
    assert "unusable" not in verdicts(within)


def test_the_same_weights_under_another_name_are_the_same_base(stack: Path, copied: Path) -> None:
    renamed = copied.rename(copied.with_name("renamed"))
    found = findings(renamed, stack)
    assert (found["checkpoint"].verdict, found["name"].verdict) == ("fine", "note")
    assert "mismatch" not in verdicts(found)


def test_another_revision_is_called_so_only_where_weights_differ(stack: Path, small: Path, copied: Path) -> None:
    def revised(edit: Edit) -> Edit:
        return replace(edit, base=replace(edit.base, revision="a" * 40))

    loaded = loaded_from(small)
    here = replace(loaded, revision="b" * 40)
    same = explained(stack, here, revised)
    assert (same["revision"].verdict, same["checkpoint"].verdict) == ("note", "fine")
    change(copied, f"{MODULE}.weight")
    other = explained(stack, replace(loaded_from(copied), name=name_in(stack), revision="b" * 40), revised)
    assert (other["revision"].verdict, "checkpoint" in other) == ("mismatch", False)
    assert "a" * 40 in other["revision"].hint


def test_a_checkpoint_stored_in_another_dtype_is_called_a_converted_copy(stack: Path, copied: Path) -> None:
    weights = {name: tensor.bfloat16() for name, tensor in load_file(copied / "model.safetensors").items()}
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((copied / "config.json").read_text(encoding="utf-8"))
    (copied / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}), encoding="utf-8")
    found = findings(copied, stack)
    assert found["checkpoint"].verdict == "mismatch"
    assert "stored in bfloat16" in found["checkpoint"].message
    assert found["edited modules"].verdict == "mismatch"


def test_another_tokenizer_is_told_from_another_model(stack: Path, copied: Path) -> None:
    path = copied / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    found = findings(copied, stack)
    assert (found["checkpoint"].verdict, found["tokenizer"].verdict) == ("fine", "mismatch")
    assert "3 of 3" in found["tokenizer"].message


def test_a_model_that_cannot_be_loaded_does_not_hide_what_the_stack_is(stack: Path, tmp_path: Path) -> None:
    found = findings(tmp_path / "nowhere", stack)
    assert (found["model"].verdict, found["stack"].verdict) == ("unusable", "fine")
    (tmp_path / "models").mkdir()
    broken = make_model(tmp_path / "models" / "broken", moment=False)
    (broken / "model.safetensors").write_bytes(b"\0" * 99)
    assert findings(broken, stack)["model"].verdict == "unusable"
    events, _ = drain(examine(str(broken), "tpu", "auto", stack))
    assert "is no device" in next(e for e in events if isinstance(e, ev.Finding) and e.topic == "model").message


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "index", "text"])
def test_damage_is_found_in_the_file_where_it_is(small: Path, stack: Path, damage: str) -> None:
    victim = stack / NAME if damage == "index" else sorted(stack.glob("0002-*.safetensors"))[0]
    data = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
        victim.write_bytes({"flip": flipped, "cut": data[: len(data) // 2]}.get(damage, b"not what it was"))
    with Stack.open(stack) as opened:
        wrong = {event.file for event in check_files(opened) if event.problem}
    assert victim.name in wrong or damage == "gone"
    assert wrong
    found = findings(small, stack)
    assert found["damaged"].verdict == "damaged"


def test_an_index_that_orders_edits_otherwise_than_they_do_is_damaged(stack: Path) -> None:
    document = json.loads((stack / NAME).read_text(encoding="utf-8"))
    document["order"] = document["order"][::-1]
    (stack / NAME).write_text(json.dumps(document), encoding="utf-8")
    with Stack.open(stack) as opened:
        (index, *_) = check_files(opened)
    assert index.file == NAME
    assert "the edit itself does not" in index.problem


def test_an_intact_stack_has_no_file_with_a_problem_and_an_empty_one_no_file(stack: Path, tmp_path: Path) -> None:
    with Stack.open(stack) as opened:
        checked = list(check_files(opened))
    assert [event.problem for event in checked] == [""] * 4
    assert [len(event.edit) for event in checked] == [0, 64, 64, 64]
    (tmp_path / "empty").mkdir()
    with Stack.open(tmp_path / "empty") as opened:
        assert list(check_files(opened)) == []


def test_a_stack_of_a_newer_workbench_is_said_to_be_one(small: Path, stack: Path) -> None:
    document = json.loads((stack / NAME).read_text(encoding="utf-8"))
    (stack / NAME).write_text(json.dumps({**document, "version": 99}), encoding="utf-8")
    found = findings(small, stack)
    assert found["stack"].verdict == "damaged"
    assert "newer" in found["stack"].message


def test_the_pristine_hash_of_a_module_is_what_its_first_edit_recorded(made: Path) -> None:
    with Stack.open(made) as opened:
        edits = (*opened.line, *opened.others)
        assert pristine_hashes(edits) == {MODULE: opened.line[0].weights[MODULE]["before"]}
        assert pristine_hashes(edits[1:]) == {}


def test_what_a_model_lacks_for_editing_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    bare = make_model(tmp_path / "models" / "bare", moment=False)
    for name in ("held_out.txt", "editing_profile.json"):
        (bare / name).unlink()
    found = findings(bare, None)
    assert {found[topic].verdict for topic in ("editing", "second moment", "held-out text")} == {"note"}
    assert all(found[topic].hint for topic in ("editing", "second moment", "held-out text"))


def test_accelerators_are_named_with_their_memory_and_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(name="Some GPU", total_memory=16 * 2**30, major=7)
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "get_device_properties": about,
        "mem_get_info": (2**30, 16 * 2**30),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    found = {event.topic: event.message for event in machine()}
    assert found["cuda:0"] == "Some GPU, 1.0 of 16.0 GiB free, float16, no bfloat16"
    assert "devices" not in found


@pytest.mark.parametrize(
    ("kind", "fill", "verdict"),
    [(torch.float8_e4m3fn, 1.0, "fine"), (torch.float8_e5m2, float("inf"), "unusable"), (torch.complex64, 1.0, "fine")],
)
def test_weights_that_torch_cannot_put_in_order_are_looked_at_or_passed_over(
    small: Path, kind: torch.dtype, fill: float, verdict: str
) -> None:
    _, loaded = drain(load_model(str(small), device="cpu"))
    linear = loaded.model.get_submodule(MODULE)
    linear.weight = torch.nn.Parameter(torch.full((4, 4), fill).to(kind), requires_grad=False)
    finding = doctor._numbers(loaded)
    assert finding.verdict == verdict
    assert (MODULE in finding.message) == (verdict == "unusable")
