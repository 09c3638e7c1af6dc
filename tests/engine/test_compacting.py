"""Compaction: the new stack holds what the old one said last, is whole or not there, and both are scored alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.engine.evaluations import QUICK, REQUESTS
from tests.engine.making import drain, open_on, weight_bytes
from workbench.edits import EditRequest
from workbench.engine.compacting import Wish, _even, compact
from workbench.engine.engine import Engine
from workbench.engine.evaluating.cases import score_cases, summary
from workbench.errors import EditError, Interrupted, StackBusy, StorageError, UsageError
from workbench.events import Compacted, EditCommitted, HealthReport
from workbench.stack.store import Stack

CHANGES: dict[str, Any] = {**QUICK, "method": "emmet"}


def sequential(model: Path, folder: Path, requests: list[EditRequest]) -> Engine:
    """An engine that only reads a stack with an edit for each request."""
    engine = open_on(model, folder)
    for request in requests:
        assert drain(engine.apply(request, QUICK))[1]
    engine.close()
    return open_on(model, folder, write=False)


def compacted(engine: Engine, wish: Wish) -> Compacted:
    events, found = drain(compact(engine, wish, lambda: False))
    assert events[-1] == found
    return found


def test_the_new_stack_is_one_edit_of_all_requests_made_on_the_base(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS)
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    found = compacted(engine, Wish(tmp_path / "new", CHANGES))
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    by_hand = open_on(small, tmp_path / "hand")
    assert drain(by_hand.apply_batch(REQUESTS, CHANGES))[1]
    again = open_on(small, tmp_path / "new")
    (edit,) = again.stack.applied
    assert list(edit.requests) == REQUESTS
    assert edit.weights == by_hand.stack.applied[0].weights
    assert weight_bytes(again) == weight_bytes(by_hand)
    assert (found.requests, found.superseded, found.left_out) == (5, 0, 0)
    again.close()
    by_hand.close()


def test_both_stacks_are_scored_on_the_same_requests(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS)
    old = drain(score_cases(engine.core, REQUESTS, cancelled=lambda: False))[1]
    drift = engine.core.live.drift()
    found = compacted(engine, Wish(tmp_path / "new", CHANGES))
    again = open_on(small, tmp_path / "new", write=False)
    new = drain(score_cases(again.core, REQUESTS, cancelled=lambda: False))[1]
    for name in ("es", "ps", "ns", "s"):
        assert found.rows[name] == {"before": getattr(summary(old), name), "after": getattr(summary(new), name)}
    assert found.rows["drift"] == {"before": drift, "after": again.core.live.drift()}
    perplexity = found.rows["perplexity"]
    assert perplexity["after"] == again.core.perplexity()
    assert perplexity["base"] == again.core.perplexity_base()
    assert found.rows["edits"] == {"before": 5.0, "after": 1.0}
    again.close()


def test_of_two_requests_about_one_fact_the_later_is_kept(small: Path, tmp_path: Path) -> None:
    later = dataclasses.replace(REQUESTS[0], target_new="Norwegian")
    engine = sequential(small, tmp_path / "old", [REQUESTS[0], REQUESTS[1], later])
    found = compacted(engine, Wish(tmp_path / "new", CHANGES))
    assert (found.requests, found.superseded) == (2, 1)
    with Stack.open(tmp_path / "new", write=False) as stack:
        assert [request.target_new for request in stack.applied[0].requests] == [
            REQUESTS[1].target_new,
            "Norwegian",
        ]


def test_undone_and_left_out_edits_are_not_rebuilt(small: Path, tmp_path: Path) -> None:
    engine = open_on(small, tmp_path / "old")
    for request in REQUESTS[:4]:
        drain(engine.apply(request, QUICK))
    drain(engine.undo())
    drain(engine.toggle(engine.stack.applied[0].id, off=True))
    engine.close()
    engine = open_on(small, tmp_path / "old", write=False)
    compacted(engine, Wish(tmp_path / "new", CHANGES))
    with Stack.open(tmp_path / "new", write=False) as stack:
        assert list(stack.applied[0].requests) == REQUESTS[1:3]


def test_batches_of_a_size_are_edits_of_one_stack(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS)
    compacted(engine, Wish(tmp_path / "new", {**CHANGES, "method": "memit"}, batch=2))
    with Stack.open(tmp_path / "new", write=False) as stack:
        assert [len(edit.requests) for edit in stack.applied] == [2, 2, 1]


def test_as_few_edits_as_have_room_are_made_all_about_as_large(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS)
    room = engine.core.site(engine.core.recipe(CHANGES).layer).d_in
    assert [_even(count, room) for count in (1, room // 4, room // 4 + 1, room)] == [
        1,
        room // 4,
        -(-(room // 4 + 1) // 2),
        room // 4,
    ]
    found = compacted(engine, Wish(None, CHANGES))
    assert (found.batch, found.room) == (5, room)
    given = compacted(open_on(small, tmp_path / "old", write=False), Wish(None, CHANGES, batch=3))
    assert (given.batch, given.room, given.rows["edits"]["after"]) == (3, 0, 2.0)


def test_two_compactions_do_not_make_one_folder_at_once(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS[:2])
    there = sorted(path.name for path in tmp_path.iterdir())
    first = compact(engine, Wish(tmp_path / "new", CHANGES), lambda: False)
    next(first)
    other = open_on(small, tmp_path / "old", write=False)
    with pytest.raises(StackBusy, match="Another compaction is making") as refused:
        drain(compact(other, Wish(tmp_path / "new", CHANGES), lambda: False))
    assert "--out" in refused.value.hint
    first.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == there
    assert compacted(other, Wish(tmp_path / "new", CHANGES)).folder


def test_a_folder_that_was_filled_meanwhile_is_left_as_it_is(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS[:2])
    steps = compact(engine, Wish(tmp_path / "new", CHANGES), lambda: False)
    for event in steps:
        if isinstance(event, EditCommitted):
            break
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").write_text("mine", encoding="utf-8")
    with pytest.raises(StorageError, match="there already"):
        drain(steps)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]


def test_a_trial_leaves_nothing_behind(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS[:2])
    there = sorted(path.name for path in tmp_path.iterdir())
    found = compacted(engine, Wish(None, CHANGES))
    assert found.folder == ""
    assert found.rows["edits"]["after"] == 1.0
    assert sorted(path.name for path in tmp_path.iterdir()) == there


def test_a_batch_that_cannot_be_made_says_why_and_leaves_nothing_behind(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS[:2])
    there = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(EditError, match=r"nothing was written\. There is no second moment C for"):
        compacted(engine, Wish(tmp_path / "new", {**CHANGES, "layer": 2}))
    assert sorted(path.name for path in tmp_path.iterdir()) == there


@pytest.mark.parametrize("after", [1, 5, 9, 14])
def test_stopped_at_any_moment_it_leaves_no_new_stack(small: Path, tmp_path: Path, after: int) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS)
    there = sorted(path.name for path in tmp_path.iterdir())
    asked = iter([False] * after)
    with pytest.raises(Interrupted):
        drain(compact(engine, Wish(tmp_path / "new", CHANGES), lambda: next(asked, True)))
    engine.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == there


def test_a_sample_is_scored_on_both_and_is_the_same_every_time(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS)
    found = compacted(engine, Wish(tmp_path / "one", CHANGES, sample=2))
    again = compacted(open_on(small, tmp_path / "old", write=False), Wish(tmp_path / "two", CHANGES, sample=2))
    assert found.asked == 2
    for name in ("es", "ps", "ns", "s", "drift"):
        assert found.rows[name] == again.rows[name]


def test_no_report_of_a_single_request_is_told(small: Path, tmp_path: Path) -> None:
    engine = sequential(small, tmp_path / "old", REQUESTS[:2])
    events = drain(compact(engine, Wish(None, CHANGES), lambda: False))[0]
    assert not [event for event in events if isinstance(event, HealthReport)]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(Path("taken"), CHANGES), "is there already"),
        (Wish(None, {**CHANGES, "method": "r-rome"}), "makes an edit of each request"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: Wish, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    engine = sequential(small, tmp_path / "old", REQUESTS[:1])
    with pytest.raises(UsageError, match=said):
        drain(compact(engine, wish, lambda: False))
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"


def test_a_stack_without_applied_edits_has_nothing_to_rebuild(small: Path, tmp_path: Path) -> None:
    engine = open_on(small, tmp_path / "old")
    with pytest.raises(UsageError, match="nothing to rebuild"):
        drain(compact(engine, Wish(tmp_path / "new", CHANGES), lambda: False))
    engine.close()
