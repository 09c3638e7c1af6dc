"""Whatever goes wrong on the way, the disk and the model stay at one and the same position."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from workbench import events as ev
from workbench.edits import Neighbour
from workbench.engine import applying
from workbench.engine.engine import Engine
from workbench.errors import BaseMismatch, DeviceError, EditError, StackError, VerificationError
from workbench.stack.editfile import encode_edit, file_name
from workbench.stack.record import Edit, Factors, ModuleInfo

ELSEWHERE = {"layer": 2, "second_moment": False}
FIRST, SECOND = "transformer.h.1.mlp.c_proj", "transformer.h.2.mlp.c_proj"


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def drift(engine: Engine) -> float:
    (event,), _ = drain(engine.refresh())
    assert isinstance(event, ev.StackChanged)
    return event.drift


def test_a_redo_onto_a_damaged_edit_moves_neither_disk_nor_model(engine: Engine) -> None:
    drain(engine.apply(OTHER))
    before = weight_bytes(engine)
    drain(engine.apply(REQUEST))
    drain(engine.undo())
    damage(engine.stack.path_of(engine.stack.line[1]))
    with pytest.raises(VerificationError):
        drain(engine.redo())
    assert engine.stack.position == 1
    assert engine.stack.journal[-1].what == "undo"
    assert weight_bytes(engine) == before
    assert drain(engine.apply(REQUEST))[1]
    assert drain(engine.verify())[1]


def test_where_the_model_cannot_follow_the_disk_goes_back(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    drain(engine.apply(OTHER))
    before = weight_bytes(engine)

    def too_narrow(*_: object) -> None:
        raise EditError("The edited weight would not be finite.")

    with monkeypatch.context() as patch:
        patch.setattr(engine.core, "rebuild", too_narrow)
        with pytest.raises(EditError):
            drain(engine.undo())
    assert engine.stack.position == 1
    assert engine.stack.journal[-1].what == "failed"
    assert weight_bytes(engine) == before
    assert drain(engine.verify())[1]


def test_weights_that_cannot_all_be_shown_are_not_shown_at_all(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    drain(engine.apply(OTHER))
    drain(engine.apply(REQUEST, ELSEWHERE))
    live, before, shown = engine.core.live, weight_bytes(engine), engine.core.live.shown
    real = live._materialise

    def failing(module: str, edits: tuple[tuple[Factors, ...], ...]) -> torch.Tensor:
        if module == SECOND and not edits:
            raise EditError("The edited weight would not be finite.")
        return real(module, edits)

    monkeypatch.setattr(live, "_materialise", failing)
    with pytest.raises(EditError):
        live.show([])
    assert live.shown == shown
    assert weight_bytes(engine) == before


def test_the_drift_is_that_of_the_stack_whatever_was_tried_in_between(engine: Engine) -> None:
    drain(engine.apply(OTHER))
    before = drift(engine)
    asked = iter([False] * 4)
    events, _ = drain(engine.apply(REQUEST, ELSEWHERE, cancelled=lambda: next(asked, True)))
    assert isinstance(events[-1], ev.EditCancelled)
    assert drift(engine) == before


def test_running_out_of_memory_while_probing_is_said_and_leaves_every_byte(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weight_bytes(engine)

    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(applying, "ask", out_of_memory)
    with pytest.raises(DeviceError, match="ran out of memory"):
        drain(engine.apply(REQUEST))
    assert weight_bytes(engine) == before


def test_a_model_that_predicts_nothing_any_more_is_said(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.engine.core.perplexity", lambda *_: float("inf"))
    events, done = drain(engine.apply(REQUEST))
    assert done
    assert any("perplexity is infinite" in e.message for e in events if isinstance(e, ev.Warning))
    assert engine.stack.line[0].metrics["perplexity"]["after"] is None


def test_an_unstated_neighbour_keeps_what_the_base_says_and_not_what_an_edit_made_of_it(engine: Engine) -> None:
    drain(engine.apply(OTHER))
    (first,) = engine.stack.line
    (made,) = engine.stack.factors(first)
    engine.stack.append(first, (dataclasses.replace(made, b=made.b * 50),))
    engine.core.rebuild()
    (base, now) = (e for e in drain(engine.answer(OTHER.text, states=("base", "stack")))[0])
    assert isinstance(base, ev.Answered)
    assert isinstance(now, ev.Answered)
    assert base.top[0][0] != now.top[0][0]
    second = dataclasses.replace(REQUEST, neighbours=(Neighbour(OTHER.text),))
    events, _ = drain(engine.apply(second))
    (neighbour,) = (e for e in events if isinstance(e, ev.ProbeResult) and e.kind == "neighbourhood")
    assert neighbour.expected == base.top[0][0]


def rewritten(engine: Engine, **changes: object) -> Edit:
    """The first edit's file with another record, well formed and with an id of its own; the engine is closed."""
    (edit,), folder = engine.stack.line, engine.stack.folder
    factors = engine.stack.factors(edit)
    engine.stack.path_of(edit).unlink()
    engine.close()
    for name in ("stack.json", "journal.jsonl"):
        (folder / name).unlink()
    saved, data = encode_edit(dataclasses.replace(edit, id="", **changes), factors)  # type: ignore[arg-type]
    (folder / file_name(saved)).write_bytes(data)
    return saved


def test_verify_compares_the_base_with_what_the_first_edit_started_from(
    engine: Engine, small: Path, tmp_path: Path
) -> None:
    drain(engine.apply(OTHER))
    after = engine.stack.line[0].weights[FIRST]["after"]
    rewritten(engine, weights={FIRST: {"before": "0" * 64, "after": after}})
    again = open_on(small, tmp_path / "stack")
    (verdict,), agreed = drain(again.verify())
    assert isinstance(verdict, ev.Verified)
    assert not agreed
    assert (verdict.outcome, verdict.expected) == ("different", "0" * 64)
    assert "before it" in verdict.detail
    again.close()


def test_a_file_that_names_the_whole_model_makes_no_copies_of_it(engine: Engine, small: Path, tmp_path: Path) -> None:
    drain(engine.apply(OTHER))
    base = engine.stack.line[0].base
    shape = list(engine.core.live.parameter("transformer.wte").shape)
    modules = {**base.modules, "transformer.wte": ModuleInfo(shape=shape, layout="out,in")}
    rewritten(engine, base=dataclasses.replace(base, modules=modules))
    again = open_on(small, tmp_path / "stack")
    assert again.core.live._materialiser.modules == (FIRST,)
    again.close()


@pytest.mark.parametrize("module", [FIRST, "transformer.wte", "transformer.h.9.mlp.c_proj", "lm_head.weight"])
def test_a_file_that_is_wrong_about_a_module_is_refused(engine: Engine, module: str) -> None:
    drain(engine.apply(OTHER))
    (edit,) = engine.stack.line
    shape = edit.base.modules[FIRST]["shape"]
    if module == "transformer.wte":
        shape = list(engine.core.live.parameter(module).shape)
    wrong = dataclasses.replace(edit.base, modules={module: {"shape": shape, "layout": "out,in"}})
    with pytest.raises(BaseMismatch):
        engine.core.live.adopt(dataclasses.replace(edit, base=wrong, weights={module: edit.weights[FIRST]}))


def test_a_missing_file_is_no_agreement(engine: Engine, small: Path, tmp_path: Path) -> None:
    drain(engine.apply(OTHER))
    drain(engine.apply(REQUEST))
    engine.stack.path_of(engine.stack.line[1]).unlink()
    engine.close()
    again = open_on(small, tmp_path / "stack", write=False)
    verdicts = again.verify()
    verdict = next(verdicts)
    assert isinstance(verdict, ev.Verified)
    assert verdict.outcome == "bit-identical"
    with pytest.raises(StackError, match="of 2 edits, those from number 2 on"):
        next(verdicts)
    with pytest.raises(StackError, match="damaged"):
        drain(again.replay())
    assert drain(again.replay(1))[1]
    again.close()
