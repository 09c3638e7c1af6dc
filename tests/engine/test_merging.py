"""Merging: the union of two stacks in a stated order, every conflict said first, all of it written or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from workbench.edits import IMPORTED, EditRequest, imported_request
from workbench.engine.conflicts import key_conflicts, same_words, target_conflicts
from workbench.engine.engine import Engine
from workbench.engine.merging import Side, merge, side_of
from workbench.errors import BaseMismatch, Interrupted
from workbench.events import Conflict, Event, Merged, MergePlanned, ProbeResult
from workbench.stack.bundle import Bundle, write_bundle
from workbench.stack.record import Edit, Factors
from workbench.stack.store import Stack

THIRD = EditRequest("The capital of {} is", "Peru", "Oslo", "Lima", ("In Peru the capital is",))
TRUMPET = dataclasses.replace(OTHER, target_true="oboe")
CONTRARY = dataclasses.replace(OTHER, target_new="harp")


@pytest.fixture(scope="module")
def stacks(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stacks that begin with one edit: `ours` goes on with TRUMPET, `theirs` with THIRD and CONTRARY. Read only."""
    folder = tmp_path_factory.mktemp("stacks")
    _apply(small, folder / "ours", REQUEST)
    shutil.copytree(folder / "ours", folder / "theirs")
    _apply(small, folder / "ours", TRUMPET)
    _apply(small, folder / "theirs", THIRD, CONTRARY)
    return folder


def _apply(model: Path, folder: Path, *requests: EditRequest) -> None:
    opened = open_on(model, folder)
    for request in requests:
        assert drain(opened.apply(request))[1]
    opened.close()


@pytest.fixture(scope="module")
def loaded(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    opened = open_on(small, tmp_path_factory.mktemp("empty") / "stack")
    yield opened
    opened.close()


@pytest.fixture
def mine(loaded: Engine, stacks: Path, tmp_path: Path) -> Engine:
    """An engine on a copy of `ours`."""
    shutil.copytree(stacks / "ours", tmp_path / "ours")
    drain(loaded.open_stack(tmp_path / "ours"))
    return loaded


@pytest.fixture
def theirs(stacks: Path, tmp_path: Path) -> Path:
    """A copy of `theirs`."""
    return shutil.copytree(stacks / "theirs", tmp_path / "theirs")


def other(folder: Path) -> Side:
    return side_of(Stack.open(folder), "theirs")


def run(
    mine: Engine, side: Side, cancelled: Callable[[], bool] = lambda: False, **how: Any
) -> tuple[list[Event], Merged]:
    events, _ = drain(merge(mine.core, side, cancelled=cancelled, **how))
    end = events[-1]
    assert isinstance(end, Merged)
    return events, end


def conflicts(events: list[Event], kind: str) -> list[Conflict]:
    return [event for event in events if isinstance(event, Conflict) and event.kind == kind]


def requests(stack: Stack) -> list[EditRequest]:
    return [edit.request for edit in stack.line]


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def all_identical(engine: Engine) -> bool:
    return bool(drain(engine.verify())[1])


def test_ours_keep_their_ids_and_theirs_follow_bit_for_bit(mine: Engine, theirs: Path) -> None:
    before = [edit.id for edit in mine.stack.line]
    _, end = run(mine, other(theirs), choice="both")
    assert [edit.id for edit in mine.stack.line][:2] == before
    assert requests(mine.stack) == [REQUEST, TRUMPET, THIRD, CONTRARY]
    assert (end.written, end.position, len(end.added)) == (True, 4, 2)
    assert all_identical(mine)
    with Stack.open(theirs) as stack:
        stored = [stack.factors(edit)[0] for edit in stack.line[1:]]
    placed = [mine.stack.factors(edit)[0] for edit in mine.stack.line[2:]]
    assert [one.b.tobytes() for one in placed] == [one.b.tobytes() for one in stored]


def test_theirs_may_come_first_and_what_the_line_was_stays_a_branch(mine: Engine, theirs: Path) -> None:
    before = [edit.id for edit in mine.stack.line]
    side = other(theirs)
    run(mine, side, order="theirs-first", choice="both")
    line = mine.stack.line
    assert requests(mine.stack) == [REQUEST, THIRD, CONTRARY, TRUMPET]
    assert [edit.id for edit in line[:3]] == [edit.id for edit in side.line]
    assert line[3].made_by["copied_from"] == before[1]
    assert [edit.id for edit in mine.stack.line_at("main")] == before
    assert all_identical(mine)


def test_both_orders_hold_the_same_updates(mine: Engine, theirs: Path) -> None:
    def content() -> set[bytes]:
        return {mine.stack.factors(edit)[0].b.tobytes() for edit in mine.stack.line}

    run(mine, other(theirs), order="theirs-first", choice="both")
    first = content()
    mine.stack.switch("main")
    mine.core.rebuild()
    run(mine, other(theirs), choice="both")
    assert content() == first


def test_a_second_merge_finds_nothing_to_do(mine: Engine, theirs: Path) -> None:
    run(mine, other(theirs), order="theirs-first", choice="both")
    before = on_disk(mine.stack.folder)
    events, end = run(mine, other(theirs))
    assert (end.needed, end.written, conflicts(events, "target")) == (False, False, [])
    assert on_disk(mine.stack.folder) == before


def test_an_update_that_stands_at_another_place_is_taken_once(mine: Engine, theirs: Path) -> None:
    with Stack.open(theirs, write=True) as stack:
        copied = mine.stack.line[1]
        stack.append(copied, mine.stack.factors(copied))
    events, _ = run(mine, other(theirs), choice="both")
    assert next(event for event in events if isinstance(event, MergePlanned)).repeated == 1
    assert requests(mine.stack) == [REQUEST, TRUMPET, THIRD, CONTRARY]


def test_an_edit_and_its_copy_made_anew_are_one_fact(mine: Engine) -> None:
    ids = [edit.id for edit in mine.stack.line]
    drain(mine.arrange([ids[1]], resolve=True, branch="anew"))
    assert mine.stack.line[0].weights != mine.stack.find("main").weights
    events, _ = drain(merge(mine.core, side_of(mine.stack, "main", "main"), cancelled=lambda: False))
    planned = next(event for event in events if isinstance(event, MergePlanned))
    assert (planned.count_theirs, planned.repeated) == (1, 1)
    assert requests(mine.stack) == [TRUMPET, REQUEST]


def test_two_targets_stop_a_merge_before_anything_is_written(mine: Engine, theirs: Path) -> None:
    before, weights = on_disk(mine.stack.folder), weight_bytes(mine)
    events, end = run(mine, other(theirs))
    (conflict,) = conflicts(events, "target")
    assert (conflict.target_ours, conflict.target_theirs) == ("silver trumpet", "harp")
    assert (end.undecided, end.written, end.added) == (True, False, ())
    assert on_disk(mine.stack.folder) == before
    assert weight_bytes(mine) == weights


@pytest.mark.parametrize(
    ("choice", "left"),
    [
        ("ours", [REQUEST, TRUMPET, THIRD]),
        ("theirs", [REQUEST, THIRD, CONTRARY]),
        ("both", [REQUEST, TRUMPET, THIRD, CONTRARY]),
    ],
)
def test_a_choice_settles_it(mine: Engine, theirs: Path, choice: str, left: list[EditRequest]) -> None:
    _, end = run(mine, other(theirs), choice=choice)
    assert end.written
    assert requests(mine.stack) == left
    assert all_identical(mine)


def test_a_dry_run_reports_the_same_and_writes_nothing(mine: Engine, theirs: Path) -> None:
    before, weights = on_disk(mine.stack.folder), weight_bytes(mine)
    events, end = run(mine, other(theirs), choice="both", write=False)
    assert not end.written
    assert len(conflicts(events, "target")) == 1
    assert on_disk(mine.stack.folder) == before
    assert weight_bytes(mine) == weights


def test_a_stop_leaves_stack_and_model_as_they_were(mine: Engine, theirs: Path) -> None:
    before, weights = on_disk(mine.stack.folder), weight_bytes(mine)
    for stop_at in range(1, 7):
        asked = iter(range(1, 100))

        def stopped(at: int = stop_at, asked: Iterator[int] = asked) -> bool:
            return next(asked) >= at

        with pytest.raises(Interrupted):
            run(mine, other(theirs), stopped, choice="both")
        assert on_disk(mine.stack.folder) == before
        assert weight_bytes(mine) == weights


def overpowering(mine: Engine, theirs: Path, at: int) -> Side:
    """Theirs up to `at`, and then an edit that is a hundred times REQUEST's update."""
    first = mine.stack.line[0]
    strong = [Factors(one.module, one.a, 100 * one.b) for one in mine.stack.factors(first)]
    with Stack.open(theirs, write=True) as stack:
        stack.travel(at)
        stack.append(dataclasses.replace(first, requests=(dataclasses.replace(THIRD, paraphrases=()),)), strong)
    return other(theirs)


def test_probes_that_hold_alone_and_fail_together_are_said(mine: Engine, theirs: Path) -> None:
    events, end = run(mine, overpowering(mine, theirs, 0))
    failing = conflicts(events, "probe")
    (efficacy,) = [one for one in failing if one.ours == mine.stack.line[0].id and one.prompt == REQUEST.text]
    assert efficacy.p_alone is not None
    assert efficacy.p_union is not None
    assert efficacy.p_union < efficacy.p_alone
    assert efficacy.target_ours == "Irish"
    assert (end.undecided, end.written, end.probes) == (True, False, len(failing))
    perplexity = [event for event in events if isinstance(event, ProbeResult)]
    assert [event.kind for event in perplexity] == ["perplexity"]


def test_a_probe_of_a_common_edit_that_fails_on_one_side_already_is_no_conflict(mine: Engine, theirs: Path) -> None:
    events, _ = run(mine, overpowering(mine, theirs, 1))
    assert mine.stack.line[0].id not in {one.ours for one in conflicts(events, "probe")}


def test_what_is_off_or_undone_there_stays_there(mine: Engine, theirs: Path) -> None:
    with Stack.open(theirs, write=True) as stack:
        stack.toggle(stack.line[1].id, off=True)
        stack.undo()
    events, end = run(mine, other(theirs), choice="both")
    planned = next(event for event in events if isinstance(event, MergePlanned))
    assert (planned.off, planned.undone, planned.count_theirs, end.needed) == (1, 1, 0, False)


def test_what_is_off_here_stays_off(mine: Engine, theirs: Path) -> None:
    drain(mine.toggle(mine.stack.line[1].id, off=True))
    events, end = run(mine, other(theirs), order="theirs-first")
    assert (end.written, conflicts(events, "target")) == (True, [])
    assert requests(mine.stack) == [REQUEST, THIRD, CONTRARY, TRUMPET]
    assert mine.stack.line[3].id in mine.stack.off
    assert len(mine.stack.active) == 3


def test_a_bundle_and_a_branch_can_be_merged(mine: Engine, theirs: Path, tmp_path: Path) -> None:
    with Stack.open(theirs) as stack:
        write_bundle(stack, tmp_path / "theirs.zip")
    run(mine, side_of(Bundle.open(tmp_path / "theirs.zip"), "theirs.zip"), choice="theirs")
    merged = requests(mine.stack)
    assert merged == [REQUEST, THIRD, CONTRARY]
    events, end = run(mine, side_of(mine.stack, "main", branch="main"), choice="both")
    assert (end.written, requests(mine.stack)) == (True, [*merged, TRUMPET])
    assert len(conflicts(events, "target")) == 1


def test_updates_can_be_made_anew_for_where_they_stand(mine: Engine, theirs: Path) -> None:
    side = other(theirs)
    run(mine, side, choice="both", resolve=True)
    assert requests(mine.stack) == [REQUEST, TRUMPET, THIRD, CONTRARY]
    assert mine.stack.factors(mine.stack.line[2])[0].b.tobytes() != side.view.factors(side.line[1])[0].b.tobytes()
    assert all_identical(mine)


def test_an_imported_update_is_merged_but_has_no_key_and_no_probes(mine: Engine, theirs: Path) -> None:
    first = mine.stack.line[0]
    doubled = [Factors(one.module, np.tile(one.a, (2, 1)), np.tile(one.b, (1, 2))) for one in mine.stack.factors(first)]
    with Stack.open(theirs, write=True) as stack:
        stack.travel(1)
        request, recipe = imported_request("style", "rank 2"), dataclasses.replace(first.recipe, method=IMPORTED)
        stack.append(dataclasses.replace(first, requests=(request,), recipe=recipe, second_moment="none"), doubled)
    events, end = run(mine, other(theirs), choice="both")
    assert end.written
    assert next(event for event in events if isinstance(event, MergePlanned)).incomparable == 1
    assert all_identical(mine)


def test_another_base_is_refused(mine: Engine, theirs: Path) -> None:
    side = other(theirs)
    strange = dataclasses.replace(side.line[1], base=dataclasses.replace(side.line[1].base, fingerprint="0" * 64))
    before = on_disk(mine.stack.folder)
    with pytest.raises(BaseMismatch):
        run(mine, dataclasses.replace(side, line=(side.line[0], strange)))
    assert on_disk(mine.stack.folder) == before


def made(like: Edit, prompt: str, subject: str, target: str, *paraphrases: str) -> Edit:
    request = EditRequest(prompt, subject, target, None, paraphrases)
    return dataclasses.replace(like, requests=(request,), id=f"{abs(hash(request)):064x}")


def test_the_same_question_in_other_words_is_the_same_question(mine: Engine) -> None:
    like = mine.stack.line[0]
    ours = made(like, "The capital of {} is", "Peru", "Oslo")
    assert same_words("  The  CAPITAL\u00a0of Peru is. ") == same_words("the capital of peru is")
    for prompt, subject, target, paraphrases, count in (
        ("The capital of {} is", "Peru", "Lima", (), 1),
        ("the capital of  {} is", "PERU", "Lima", (), 1),
        ("{}'s capital is", "Peru", "Lima", ("The capital of Peru is",), 1),
        ("The capital of {} is", "Peru", " oslo", (), 0),
        ("The capital of {} is", "Chile", "Lima", (), 0),
        ("The river of {} is", "Peru", "Lima", (), 0),
    ):
        theirs = made(like, prompt, subject, target, *paraphrases)
        assert len(target_conflicts([ours], [theirs])) == count, (prompt, subject, target)


def test_the_last_word_of_each_side_counts(mine: Engine) -> None:
    like = mine.stack.line[0]
    first, second = made(like, "{} is in", "Rome", "Asia"), made(like, "{} is in", "Rome", "Europe")
    assert target_conflicts([first, second], [second]) == []
    (conflict,) = target_conflicts([first, second], [second, first])
    assert (conflict.target_ours, conflict.target_theirs) == ("Europe", "Asia")


def test_cosines_are_those_of_the_keys_under_the_inverse_of_c(mine: Engine, theirs: Path) -> None:
    side = other(theirs)
    ours, others = mine.stack.line, side.line[1:]
    updates = {edit.id: mine.stack.factors(edit) for edit in ours}
    updates |= {edit.id: side.view.factors(edit) for edit in others}
    report = key_conflicts(mine.core, ours, others, updates, threshold=0.0)
    moment = mine.core.second_moment(mine.core.site(ours[0].recipe.layer))
    c = (moment.C.double() + moment.ridge * torch.eye(moment.dimension)).numpy()
    assert report.count == len(report.pairs) == 4
    for pair in report.pairs:
        k_i, k_j = (c @ updates[ident][0].a[0].astype(np.float64) for ident in (pair.ours, pair.theirs))
        inner = [a @ np.linalg.solve(c, b) for a, b in ((k_i, k_j), (k_i, k_i), (k_j, k_j))]
        assert pair.cosine == pytest.approx(inner[0] / np.sqrt(inner[1] * inner[2]), abs=2e-4)
    assert report.pairs[0].cosine == pytest.approx(1.0, abs=0.01)  # TRUMPET and CONTRARY have one subject and prompt
    assert [abs(pair.cosine or 0) for pair in report.pairs] == sorted(
        (abs(pair.cosine or 0) for pair in report.pairs), reverse=True
    )


def test_keys_made_with_the_identity_and_with_c_are_held_against_each_other(mine: Engine) -> None:
    with_c = mine.stack.line[0]
    ((u,),) = (one.a for one in mine.stack.factors(with_c))
    moment = mine.core.second_moment(mine.core.site(with_c.recipe.layer))
    key = (moment.factorisation.lower @ moment.factorisation.lower.T @ torch.from_numpy(u).double()).float()
    without = dataclasses.replace(with_c, id="1" * 64, second_moment="identity")
    foreign = dataclasses.replace(with_c, id="2" * 64, second_moment="9" * 64)
    imported = dataclasses.replace(with_c, id="3" * 64, ranks=dict.fromkeys(with_c.ranks, 2))
    b = mine.stack.factors(with_c)[0].b
    module = next(iter(with_c.weights))
    updates = {
        with_c.id: mine.stack.factors(with_c),
        without.id: (Factors(module, (key / key.norm())[None].numpy(), b),),
        foreign.id: mine.stack.factors(with_c),
        imported.id: mine.stack.factors(with_c),
    }
    report = key_conflicts(mine.core, [with_c], [without, foreign, imported], updates)
    assert [pair.theirs for pair in report.pairs] == [without.id]
    assert report.pairs[0].cosine == pytest.approx(1.0, abs=1e-4)
    assert report.incomparable == {foreign.id, imported.id}


def test_ten_thousand_keys_against_ten_thousand_are_few_products(mine: Engine) -> None:
    like = dataclasses.replace(mine.stack.line[0], second_moment="identity")
    module, width = next(iter(like.weights)), mine.stack.factors(like)[0].a.shape[1]
    draw = np.random.default_rng(0)
    keys = draw.standard_normal((10_000, 1, width)).astype(np.float32)
    sides = [[dataclasses.replace(like, id=f"{side}{number:063x}") for number in range(10_000)] for side in (1, 2)]
    b = mine.stack.factors(mine.stack.line[0])[0].b
    rows = [keys, np.concatenate([keys[:70], draw.standard_normal((9_930, 1, width)).astype(np.float32)])]
    updates = {
        edit.id: (Factors(module, row, b),)
        for edits, row_of in zip(sides, rows, strict=True)
        for edit, row in zip(edits, row_of, strict=True)
    }
    report = key_conflicts(mine.core, sides[0], sides[1], updates, threshold=0.999)
    assert (report.count, len(report.pairs)) == (70, 50)
    assert all(pair.ours[1:] == pair.theirs[1:] for pair in report.pairs)


def test_an_edit_that_only_theirs_has_on_may_be_the_only_one_of_its_module(small: Path, tmp_path: Path) -> None:
    with contextlib.closing(open_on(small, tmp_path / "ours")) as opened:
        drain(opened.apply(REQUEST, {"layer": 0, "second_moment": False}))
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    _apply(small, tmp_path / "theirs", OTHER)
    with Stack.open(tmp_path / "ours", write=True) as stack:
        stack.toggle(stack.line[0].id, off=True)
    with contextlib.closing(open_on(small, tmp_path / "ours")) as engine:
        side = side_of(Stack.open(tmp_path / "theirs"), "theirs")
        events, _ = drain(merge(engine.core, side, choice="both", cancelled=lambda: False))
        assert isinstance(events[-1], Merged)
        assert events[-1].written
        assert [edit.number for edit in engine.stack.active] == [2]
