"""One edit of many requests: all modules change at once, come back at once, and every request is accounted for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.batches import CHANGES, EMMET, MEMIT, REQUESTS, SPREAD, THIRD, UNMAKEABLE
from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from tests.engine.test_engine import only
from tests.engine.test_server import Child
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine import batching, edit_probes
from workbench.engine.engine import Engine
from workbench.errors import StorageError, UsageError
from workbench.guards import OFF, Decision
from workbench.stack import files
from workbench.stack.editfile import read_edit


@pytest.fixture
def engine(deep: Path, tmp_path: Path) -> Iterator[Engine]:
    opened = open_on(deep, tmp_path / "stack")
    yield opened
    opened.close()


def of(events: list[ev.Event], kind: type[ev.Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("name", CHANGES)
def test_one_edit_holds_all_requests_and_makes_each_target_likelier(engine: Engine, name: str) -> None:
    events, done = drain(engine.apply_batch(REQUESTS, CHANGES[name]))
    assert done
    (edit,) = engine.stack.line
    assert edit.requests == REQUESTS
    assert len(edit.weights) == len(edit.recipe.edited_layers)
    assert only(events, ev.EditStarted).requests == len(REQUESTS)
    efficacy = [e for e in of(events, ev.ProbeResult) if e.kind == "efficacy"]
    assert [e.prompt for e in efficacy] == [request.text for request in REQUESTS]
    assert all(e.p_expected > 1.2 * e.before for e in efficacy)


def test_its_stages_come_in_order_and_every_module_has_norms(engine: Engine) -> None:
    events, _ = drain(engine.apply_batch(REQUESTS, SPREAD))
    stages = list(dict.fromkeys(e.stage for e in of(events, ev.StageStarted)))
    assert [s for s in stages if s != "solve"] == ["templates", "keys", "optimise", "insert", "probe", "save"]
    norms, (edit,) = of(events, ev.NormReport), engine.stack.line
    assert [one.module for one in norms] == [engine.core.site(layer).module for layer in (0, 1, 2)]
    assert all(one.division_factor is None and one.drift == pytest.approx(one.ratio, rel=1e-4) for one in norms)
    overall = edit.metrics["norms"]
    assert overall["delta_norm"] ** 2 == pytest.approx(sum(one.delta_norm**2 for one in norms))
    assert overall["drift"] == pytest.approx(engine.core.live.drift())
    assert edit.weights.keys() == edit.second_moments.keys() == {one.module for one in norms}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_undo_restores_every_byte_and_redo_brings_every_byte_back(deep: Path, tmp_path: Path, dtype: str) -> None:
    engine = open_on(deep, tmp_path / "stack", dtype)
    pristine = weight_bytes(engine)
    drain(engine.apply(OTHER, {"layer": 1}))
    drain(engine.apply_batch([REQUEST, THIRD], SPREAD))
    edited = weight_bytes(engine)
    drain(engine.undo(2))
    assert weight_bytes(engine) == pristine != edited
    drain(engine.redo(2))
    assert weight_bytes(engine) == edited
    engine.close()
    again = open_on(deep, tmp_path / "stack", dtype)
    assert weight_bytes(again) == edited
    verdicts, agreed = drain(again.verify())
    assert agreed
    assert [v.outcome for v in of(verdicts, ev.Verified)] == ["bit-identical"] * 2
    again.close()


def test_a_single_request_may_be_asked_for_in_the_ordinary_way(engine: Engine) -> None:
    assert drain(engine.apply(REQUEST, EMMET))[1]
    alone = engine.stack.line[0]
    drain(engine.undo())
    assert drain(engine.apply_batch([REQUEST], EMMET))[1]
    assert alone.requests == engine.stack.line[0].requests == (REQUEST,)
    assert alone.weights == engine.stack.line[0].weights


@pytest.mark.parametrize("after", range(0, 40, 3))
def test_a_cancel_at_any_moment_leaves_every_byte(engine: Engine, after: int) -> None:
    drain(engine.apply(OTHER))
    before, asked = weight_bytes(engine), 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    events, done = drain(engine.apply_batch([REQUEST, THIRD], SPREAD, cancelled=cancelled))
    if asked <= after:
        assert done
        return
    assert not done
    assert isinstance(events[-1], ev.EditCancelled)
    assert weight_bytes(engine) == before
    assert len(engine.stack.line) == 1


def test_a_generator_that_is_dropped_with_every_module_edited_leaves_every_byte(engine: Engine) -> None:
    before = weight_bytes(engine)
    steps = engine.apply_batch(REQUESTS, SPREAD)
    for event in steps:
        if isinstance(event, ev.BatchProbed):
            break
    changed = {name for name, data in weight_bytes(engine).items() if data != before[name]}
    assert len(changed) == 3
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
            drain(engine.apply_batch(REQUESTS, SPREAD))
    assert weight_bytes(engine) == before
    assert drain(engine.apply_batch(REQUESTS, SPREAD))[1]


def test_a_killed_engine_leaves_the_stack_as_it_was(deep: Path, tmp_path: Path) -> None:
    child = Child(deep, tmp_path / "stack", tmp_path / "log")
    child.until_done("load")
    documents = [request.to_json() for request in REQUESTS]
    child.send("apply_batch", "one", requests=documents, recipe=EMMET)
    assert of(child.until_done("one"), ev.EditCommitted)
    child.send("apply_batch", "two", requests=documents, recipe=SPREAD)
    for event in child.events():
        if isinstance(event, ev.NormReport):
            child.process.kill()
            break
    child.process.wait()
    again = open_on(deep, tmp_path / "stack")
    assert [edit.recipe.method for edit in again.stack.line] == ["emmet"]
    assert drain(again.verify())[1]
    again.close()


@pytest.mark.parametrize("requests", [[], {}, "x", None, [{"prompt": "no slot"}]])
def test_a_command_of_no_requests_is_refused(requests: object, deep: Path, tmp_path: Path) -> None:
    from workbench.engine.dispatch import dispatch
    from workbench.engine.protocol import Command

    engine = open_on(deep, tmp_path / "stack")
    with pytest.raises(UsageError):
        list(dispatch(engine, Command("apply_batch", "j", {"requests": requests, "recipe": EMMET}), lambda: False))
    engine.close()


def test_a_request_that_cannot_be_made_is_named_and_left_out(engine: Engine) -> None:
    events, done = drain(engine.apply_batch([REQUEST, UNMAKEABLE, THIRD], EMMET))
    assert done
    assert engine.stack.line[0].requests == (REQUEST, THIRD)
    (said,) = [e.message for e in of(events, ev.Warning) if "is left out" in e.message]
    assert "Vienna" in said
    probed = only(events, ev.BatchProbed)
    assert (probed.requests, probed.left_out) == (2, 1)
    assert only(events, ev.EditStarted).requests == 3


def test_of_many_that_cannot_be_made_a_few_are_named_and_the_others_counted(engine: Engine) -> None:
    events, _ = drain(engine.apply_batch([REQUEST, *[UNMAKEABLE] * 6], EMMET))
    said = [e.message for e in of(events, ev.Warning) if "left out" in e.message]
    assert len(said) == batching.MOST_NAMED + 1
    assert said[-1].startswith("3 more")


def test_a_batch_with_nothing_left_fails_and_changes_nothing(engine: Engine) -> None:
    before = weight_bytes(engine)
    events, done = drain(engine.apply_batch([UNMAKEABLE, UNMAKEABLE], EMMET))
    assert not done
    assert "cannot be made" in only(events, ev.EditFailed).message
    assert weight_bytes(engine) == before


def test_a_method_of_one_request_makes_no_edit_of_many(engine: Engine) -> None:
    with pytest.raises(UsageError, match="makes an edit of each request"):
        drain(engine.apply_batch(REQUESTS))
    with pytest.raises(UsageError, match="1 to 10000 requests"):
        drain(engine.apply_batch([REQUEST] * 10_001, EMMET))


def test_what_would_not_fit_into_a_file_is_refused_before_it_is_made(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MAX_HEADER", 1_000)
    events, done = drain(engine.apply_batch(REQUESTS, EMMET))
    assert not done
    assert "would not fit into one file" in only(events, ev.EditFailed).message
    assert not of(events, ev.StageStarted)


def test_a_probe_that_cannot_be_asked_costs_no_more_than_itself(engine: Engine) -> None:
    asked = EditRequest("{} plays the", "Knut Hamsun", "horn", paraphrases=("very " * 400, "Knut Hamsun plays a"))
    events, done = drain(engine.apply_batch([asked, THIRD], EMMET))
    assert done
    assert any("1 probe cannot be asked" in e.message for e in of(events, ev.Warning))
    assert only(events, ev.BatchProbed).paraphrases[1] == 2


def test_of_many_requests_every_efficacy_is_asked_and_the_rest_of_a_stated_sample(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_probes, "EVERY", 2)
    many = [
        EditRequest("{} plays the", name, "horn", paraphrases=(f"{name} plays a",))
        for name in ("Clara", "Vienna", "Maria Callas", "Knut Hamsun", "Antonín Dvořák")
    ]
    events, _ = drain(engine.apply_batch(many, EMMET))
    told, (edit,) = only(events, ev.BatchProbed), engine.stack.line
    assert (told.requests, told.sampled, told.efficacy[1], told.paraphrases[1]) == (5, 2, 5, 2)
    sampled = edit_probes.sample(5, told.seed)
    kept = [row for row in edit.metrics["probes"] if row["kind"] != "generation"]
    assert [row["request"] for row in kept] == [*sampled, *sampled]
    assert edit.metrics["scores"]["counts"] == {"efficacy": list(told.efficacy), "paraphrase": list(told.paraphrases)}
    assert edit.metrics["scores"]["es"] == told.efficacy[0] / 5
    again = [e for e in of(drain(engine.probe())[0], ev.ProbeResult) if e.kind != "perplexity"]
    assert [e.kind for e in again] == ["efficacy"] * 5 + ["paraphrase"] * 2
    assert sum(bool(e.passed) for e in again[:5]) == told.efficacy[0]


def test_the_sample_is_the_same_wherever_it_is_drawn() -> None:
    drawn = edit_probes.sample(1_000, 7)
    assert len(set(drawn)) == edit_probes.EVERY == 64
    assert list(drawn) == sorted(drawn)
    assert drawn == edit_probes.sample(1_000, 7) != edit_probes.sample(1_000, 8)
    assert drawn[:3] == (3, 22, 32)
    assert edit_probes.sample(64, 7) == tuple(range(64))


def test_more_requests_than_the_module_has_sides_are_kept_as_the_update_itself(engine: Engine) -> None:
    many = [EditRequest("{} plays the", f"Player {number}", "horn") for number in range(40)]
    assert drain(engine.apply_batch(many, {**EMMET, "steps": 1}))[1]
    (edit,) = engine.stack.line
    site = engine.core.site(1)
    assert len(edit.requests) == 40 > min(site.d_in, site.d_out)
    assert edit.ranks == {site.module: min(site.d_in, site.d_out)}
    edited = weight_bytes(engine)
    drain(engine.undo())
    drain(engine.redo())
    assert weight_bytes(engine) == edited
    assert drain(engine.verify())[1]


def test_the_row_of_a_stack_says_how_many_requests_there_are_and_hold(engine: Engine) -> None:
    events, _ = drain(engine.apply_batch(REQUESTS, EMMET))
    (row,) = of(events, ev.StackChanged)[-1].edits
    told = only(events, ev.BatchProbed)
    assert (row.requests, row.efficacies, row.paraphrases) == (3, told.efficacy, told.paraphrases)
    assert row.efficacy == (told.efficacy[0] == told.efficacy[1])
    drain(engine.apply(OTHER))
    assert engine.core.changed().edits[1].requests == 1


def test_the_file_holds_every_request_and_reads_back(engine: Engine) -> None:
    drain(engine.apply_batch(REQUESTS, MEMIT))
    (edit,) = engine.stack.line
    read, factors = read_edit(engine.stack.path_of(edit))
    assert read == edit
    assert json.loads(json.dumps(read.to_json()))["version"] == 3
    assert factors[0].a.shape == (3, engine.core.site(1).d_in)


@pytest.mark.parametrize("answer", ["discard", "keep"])
def test_a_guard_asks_before_a_batch_is_committed_too(engine: Engine, answer: Decision) -> None:
    before = weight_bytes(engine)
    guard = OFF.changed({"ratio": 0.001})
    events, made = drain(engine.apply_batch(REQUESTS, SPREAD, guard=guard, decide=lambda _: answer))
    assert [one.measure for one in of(events, ev.GuardTripped)] == ["ratio"]
    assert made == (answer == "keep")
    if made:
        assert engine.stack.line[0].metrics["guard"][0]["measure"] == "ratio"
        return
    assert only(events, ev.EditCancelled).reason
    assert weight_bytes(engine) == before
    assert not engine.stack.line


def test_a_guard_takes_a_batch_for_no_larger_than_its_requests_make_it(engine: Engine) -> None:
    drain(engine.apply_batch(REQUESTS, EMMET))
    ratio = engine.stack.line[0].metrics["norms"]["ratio"]
    drain(engine.undo())
    between = OFF.changed({"ratio": ratio / 1.5})  # below |ΔW|/|W|, above it over √3
    events, made = drain(engine.apply_batch(REQUESTS, EMMET, guard=between))
    assert made
    assert not of(events, ev.GuardTripped)


def test_an_update_that_gives_little_of_what_is_asked_says_so(engine: Engine) -> None:
    events, _ = drain(engine.apply_batch(REQUESTS, {**MEMIT, "moment_weight": 1e6}))
    (said,) = [e for e in of(events, ev.Warning) if "of what its requests ask for" in e.message]
    assert "moment_weight" in said.hint
    assert engine.stack.line[0].metrics["modules"][0]["missed"] > 0.9
    events, _ = drain(engine.apply_batch([OTHER], EMMET))
    assert not [e for e in of(events, ev.Warning) if "of what its requests ask for" in e.message]
