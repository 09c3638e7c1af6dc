"""One model, one stack: edits go in, come out, and every byte is accounted for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.making import OTHER, REQUEST, drain, make_model, open_on, weight_bytes
from workbench import events as ev
from workbench.engine.engine import Engine
from workbench.errors import BaseMismatch, StorageError, UsageError, VerificationError
from workbench.stack import files
from workbench.stack.store import Stack


def only(events: list[ev.Event], kind: type[ev.Event]) -> Any:
    """The one event of `kind`."""
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == 1, found
    return found[0]


def p_target(engine: Engine) -> float:
    results = [e for e in drain(engine.probe())[0] if isinstance(e, ev.ProbeResult) and e.kind == "efficacy"]
    assert results[0].p_expected is not None
    return results[0].p_expected


def test_an_edit_is_committed_and_makes_the_target_likelier(engine: Engine) -> None:
    events, done = drain(engine.apply(REQUEST))
    committed = only(events, ev.EditCommitted)
    efficacy = next(e for e in events if isinstance(e, ev.ProbeResult) and e.kind == "efficacy")
    assert done
    assert committed.position == 1
    assert Path(committed.file).is_file()
    assert efficacy.p_expected is not None
    assert efficacy.before is not None
    assert efficacy.p_expected > 2 * efficacy.before
    assert efficacy.p_expected == pytest.approx(p_target(engine))


def test_the_stages_come_in_order_and_the_numbers_add_up(engine: Engine) -> None:
    events, _ = drain(engine.apply(REQUEST))
    stages = [e.stage for e in events if isinstance(e, ev.StageStarted)]
    assert stages == ["templates", "keys", "optimise", "insert", "probe", "save"]
    for step in (e for e in events if isinstance(e, ev.OptimStep)):
        assert step.loss == pytest.approx(step.nll + step.kl + step.wd, rel=1e-5)
        assert len(step.p_contexts) == 5
    norms = only(events, ev.NormReport)
    assert norms.ratio == pytest.approx(norms.delta_norm / norms.weight_norm)
    assert norms.drift == pytest.approx(norms.ratio, rel=1e-4)
    assert norms.realised == pytest.approx(1.0, abs=1e-4)


def test_the_file_holds_what_was_measured(engine: Engine) -> None:
    events, _ = drain(engine.apply(REQUEST))
    (edit,) = engine.stack.line
    norms = only(events, ev.NormReport)
    assert edit.metrics["norms"]["ratio"] == norms.ratio
    assert len(edit.metrics["trace"]) == sum(isinstance(e, ev.OptimStep) for e in events)
    assert edit.weights[norms.module]["after"] == only(events, ev.EditCommitted).weight_sha256
    assert edit.templates[0] == "{}"
    assert len(edit.templates) == 5
    assert edit.second_moment != "identity"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_undoing_everything_gives_back_every_byte(small: Path, tmp_path: Path, dtype: str) -> None:
    engine = open_on(small, tmp_path / "stack", dtype)
    pristine = weight_bytes(engine)
    drain(engine.apply(REQUEST))
    drain(engine.apply(OTHER))
    edited = weight_bytes(engine)
    assert edited != pristine
    drain(engine.undo(2))
    assert weight_bytes(engine) == pristine
    drain(engine.redo(2))
    assert weight_bytes(engine) == edited
    engine.close()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_another_engine_gets_the_same_bytes_from_the_files(small: Path, tmp_path: Path, dtype: str) -> None:
    first = open_on(small, tmp_path / "stack", dtype)
    drain(first.apply(REQUEST))
    drain(first.apply(OTHER))
    bytes_then = weight_bytes(first)
    first.close()
    second = open_on(small, tmp_path / "stack", dtype)
    assert weight_bytes(second) == bytes_then
    verdicts, agreed = drain(second.verify())
    assert agreed
    assert [v.outcome for v in verdicts if isinstance(v, ev.Verified)] == ["bit-identical"] * 2
    second.close()


def test_a_llama_is_edited_and_undone_as_well(tmp_path: Path) -> None:
    engine = open_on(make_model(tmp_path / "llama", "llama"), tmp_path / "stack")
    pristine = weight_bytes(engine)
    events, done = drain(engine.apply(REQUEST))
    assert done, events[-1]
    assert drain(engine.verify())[1]
    drain(engine.undo())
    assert weight_bytes(engine) == pristine
    engine.close()


@pytest.mark.parametrize("after", range(12))
def test_a_cancel_at_any_moment_leaves_every_byte(engine: Engine, after: int) -> None:
    drain(engine.apply(OTHER))
    before, asked = weight_bytes(engine), 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    events, done = drain(engine.apply(REQUEST, cancelled=cancelled))
    if asked <= after:
        assert done
        return
    assert not done
    assert isinstance(events[-1], ev.EditCancelled)
    assert weight_bytes(engine) == before
    assert len(engine.stack.line) == 1


def test_a_generator_that_is_dropped_half_way_leaves_every_byte(engine: Engine) -> None:
    before = weight_bytes(engine)
    steps = engine.apply(REQUEST)
    for event in steps:
        if isinstance(event, ev.NormReport):
            break
    assert weight_bytes(engine) != before
    steps.close()
    assert weight_bytes(engine) == before
    assert not engine.stack.line


def test_a_full_disk_loses_only_the_edit_in_flight(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    drain(engine.apply(OTHER))
    before = weight_bytes(engine)

    def full(path: Path, data: bytes) -> None:
        raise StorageError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomic", full)
        with pytest.raises(StorageError):
            drain(engine.apply(REQUEST))
    assert weight_bytes(engine) == before
    assert drain(engine.apply(REQUEST))[1]


def test_no_second_moment_is_an_error_until_the_identity_is_chosen(tmp_path: Path) -> None:
    engine = open_on(make_model(tmp_path / "bare", moment=False), tmp_path / "stack")
    events, done = drain(engine.apply(REQUEST))
    assert not done
    assert "second moment" in only(events, ev.EditFailed).message
    events, done = drain(engine.apply(REQUEST, {"second_moment": False}))
    assert done
    assert any("C = I" in e.message for e in events if isinstance(e, ev.Warning))
    assert engine.stack.line[0].second_moment == "identity"
    engine.close()


def test_a_stack_of_another_base_is_refused_by_name(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(OTHER))
    engine.close()
    with pytest.raises(BaseMismatch, match="belongs to"):
        open_on(make_model(tmp_path / "llama", "llama"), tmp_path / "stack")


def test_a_changed_bit_in_an_edit_file_stops_the_replay(engine: Engine, small: Path, tmp_path: Path) -> None:
    drain(engine.apply(OTHER))
    path = engine.stack.path_of(engine.stack.line[0])
    engine.close()
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError, match=path.name):
        open_on(small, tmp_path / "stack")


def test_another_dtype_is_said_to_be_not_comparable(engine: Engine, small: Path, tmp_path: Path) -> None:
    drain(engine.apply(OTHER))
    engine.close()
    other = open_on(small, tmp_path / "stack", "bfloat16", write=False)
    events, agreed = drain(other.verify())
    assert not agreed
    assert only(events, ev.Verified).outcome == "not comparable"


def test_replay_goes_to_a_position_without_moving_the_stack(engine: Engine) -> None:
    pristine = weight_bytes(engine)
    drain(engine.apply(OTHER))
    one = weight_bytes(engine)
    drain(engine.apply(REQUEST))
    assert drain(engine.replay(1))[1]
    assert weight_bytes(engine) == one
    drain(engine.replay(0))
    assert weight_bytes(engine) == pristine
    assert engine.stack.position == 2
    with pytest.raises(UsageError):
        drain(engine.replay(3))


def test_an_edit_after_an_undo_keeps_the_old_one_reachable(engine: Engine) -> None:
    drain(engine.apply(OTHER))
    old, bytes_then = engine.stack.line[0].id, weight_bytes(engine)
    drain(engine.undo())
    drain(engine.apply(REQUEST))
    drain(engine.travel(old[:8]))
    assert weight_bytes(engine) == bytes_then
    assert [edit.id for edit in engine.stack.applied] == [old]


def test_going_to_another_stack_and_back(engine: Engine, tmp_path: Path) -> None:
    pristine = weight_bytes(engine)
    drain(engine.apply(OTHER))
    edited, first = weight_bytes(engine), engine.stack.folder
    drain(engine.open_stack(tmp_path / "second"))
    assert weight_bytes(engine) == pristine
    drain(engine.open_stack(first))
    assert weight_bytes(engine) == edited


def test_a_stack_that_cannot_be_opened_leaves_the_present_one(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(OTHER))
    edited, first = weight_bytes(engine), engine.stack.folder
    shutil.copytree(first, tmp_path / "damaged", ignore=shutil.ignore_patterns("lock"))
    path = next((tmp_path / "damaged").glob("0001-*"))
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(VerificationError):
        drain(engine.open_stack(tmp_path / "damaged"))
    assert engine.stack.folder == first
    assert weight_bytes(engine) == edited
    assert drain(engine.apply(REQUEST))[1]


def test_base_answers_are_the_base_model_s(engine: Engine) -> None:
    before = only(drain(engine.answer(REQUEST.text))[0], ev.Answered)
    drain(engine.apply(REQUEST))
    events, _ = drain(engine.answer(REQUEST.text, states=("base", "stack")))
    base, now = (e for e in events if isinstance(e, ev.Answered))
    assert base.top == before.top
    assert now.top != before.top


def test_the_stack_on_disk_never_needs_the_model_to_be_read(engine: Engine) -> None:
    drain(engine.apply(REQUEST))
    rows = only(drain(engine.refresh())[0], ev.StackChanged).edits
    with Stack.open(engine.stack.folder) as reader:
        assert [edit.id for edit in reader.line] == [row.id for row in rows]
    assert rows[0].state == "applied"
    assert rows[0].paraphrases is not None
    assert rows[0].neighbours is not None


@pytest.mark.cuda
def test_cuda_and_cpu_agree_to_the_bit(small: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from workbench.engine.engine import open_engine

    for dtype in ("float32", "bfloat16", "float16"):
        folder = tmp_path / dtype
        on_gpu = drain(open_engine(str(small), device="cuda", dtype=dtype, stack=folder))[1]
        drain(on_gpu.apply(REQUEST))
        drain(on_gpu.apply(OTHER))
        there = weight_bytes(on_gpu)
        on_gpu.close()
        here = open_on(small, folder, dtype)
        assert weight_bytes(here) == there
        assert drain(here.verify())[1]
        here.close()
