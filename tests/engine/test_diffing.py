"""Two states side by side: which edits differ and how, how far the weights lie apart, and what both answer."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from tests.stack import making
from workbench import events as ev
from workbench.edits import EditRequest, Recipe
from workbench.engine.diffing import asked_for, compare_states, probes_of_edits
from workbench.engine.engine import Engine
from workbench.engine.states import differences, state_of
from workbench.errors import BaseMismatch, UsageError
from workbench.probing.divergence import kl_divergence
from workbench.stack.record import Edit
from workbench.stack.store import Stack


def stack_of(folder: Path, *seeds: int) -> Stack:
    """A stack with one made-up edit a seed; the seed decides subject and update."""
    with Stack.open(folder, write=True, base=making.base()) as stack:
        for seed in seeds:
            stack.append(making.edit(f"Tower {seed}", created="2026-01-01T00:00:00+00:00"), making.factors(seed))
    return Stack.open(folder)


def hows(found: tuple[ev.EditDiffers, ...]) -> list[tuple[str, str]]:
    return [(one.how, one.subject.removeprefix("Tower ")) for one in found]


def test_states_are_named_by_position_id_branch_tag_base_and_now(tmp_path: Path) -> None:
    stack_of(tmp_path, 1, 2, 3)
    with Stack.open(tmp_path, write=True) as stack:
        _, second, third = stack.line
        stack.tag("good", second.id)
        stack.undo(2)
        stack.start_branch("else")
        stack.append(making.edit("Tower 9"), making.factors(9))
        stack.undo()
        lengths = {
            word: len(state_of(stack, word).edits)
            for word in ("base", "0", "1", "2", "now", "good", "main", "else", third.id[:8])
        }
    assert lengths == {"base": 0, "0": 0, "1": 1, "2": 2, "now": 1, "good": 2, "main": 3, "else": 2, third.id[:8]: 3}
    for word in ("3", "nowhere", "ffff"):
        with pytest.raises(UsageError):
            state_of(stack, word)


def test_what_one_state_has_and_the_other_has_not(tmp_path: Path) -> None:
    stack = stack_of(tmp_path, 1, 2, 3)
    assert not differences(state_of(stack, "now"), state_of(stack, "3"))
    assert hows(differences(state_of(stack, "1"), state_of(stack, "3"))) == [("only in B", "2"), ("only in B", "3")]
    (only,) = differences(state_of(stack, "now"), state_of(stack, "2"))
    assert (only.how, only.number_a, only.edit_a, only.edit_b) == ("only in A", 3, stack.line[2].id, "")


def test_one_update_at_two_places_is_told_from_one_request_with_two_updates(tmp_path: Path) -> None:
    a, b = stack_of(tmp_path / "a", 1, 2, 3), stack_of(tmp_path / "b", 3, 1)
    with Stack.open(tmp_path / "b", write=True) as writer:
        writer.append(making.edit("Tower 2"), making.factors(99))
    b = Stack.open(tmp_path / "b")
    found = differences(state_of(a, "now"), state_of(b, "now"))
    assert hows(found) == [("moved", "1"), ("remade", "2"), ("moved", "3")]
    assert [(one.number_a, one.number_b) for one in found] == [(1, 2), (2, 3), (3, 1)]


def test_a_copy_is_known_by_where_it_came_from_even_if_its_request_changed(tmp_path: Path) -> None:
    a = stack_of(tmp_path / "a", 1, 2)
    with Stack.open(tmp_path / "b", write=True, base=making.base()) as writer:
        source = a.line[1]
        request = EditRequest("{} stands in", "Tower 2", "Milan")
        copied = making.edit(requests=(request,), made_by={"copied_from": source.id})
        first = writer.append(copied, a.factors(source))
        again = making.edit(requests=(request,), made_by={"copied_from": first.id})
        writer.undo()
        writer.append(making.edit("Tower 7"), making.factors(7))
        writer.append(again, a.factors(source))
    found = differences(state_of(a, "now"), state_of(Stack.open(tmp_path / "b"), "now"))
    assert hows(found) == [("only in A", "1"), ("moved", "2"), ("only in B", "7")]
    assert found[1].detail == "B asks for Milan"


def test_copies_that_name_each_other_in_a_circle_do_no_harm(tmp_path: Path) -> None:
    stack = stack_of(tmp_path, 1, 2)
    one, two = stack.line
    circle = [dataclasses.replace(e, made_by={"copied_from": o.id}) for e, o in ((one, two), (two, one))]
    state = dataclasses.replace(state_of(stack, "now"), edits=tuple(circle))
    assert hows(differences(state, state_of(stack, "base"))) == [("only in A", "1"), ("only in A", "2")]


def test_an_edit_that_is_off_on_one_side_is_said_to_be(tmp_path: Path) -> None:
    a, _ = stack_of(tmp_path / "a", 1, 2), stack_of(tmp_path / "b", 1, 2)
    with Stack.open(tmp_path / "b", write=True) as writer:
        writer.toggle(writer.line[0].id, off=True)
    b = Stack.open(tmp_path / "b")
    (only,) = differences(state_of(a, "now"), state_of(b, "now"))
    assert (only.how, only.subject, only.detail) == ("only in A", "Tower 1", "toggled off in B")


def test_imported_updates_are_never_paired_by_what_stands_for_their_request(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        with Stack.open(tmp_path / name, write=True, base=making.base()) as writer:
            writer.append(making.edit("adapter", recipe=Recipe(method="imported")), making.factors(seed))
    a, b = (state_of(Stack.open(tmp_path / name), "now") for name in ("a", "b"))
    found = differences(a, b)
    assert [one.how for one in found] == ["only in A", "only in B"]


@pytest.fixture
def two(engine: Engine) -> Engine:
    """An engine with two edits."""
    for request in (OTHER, REQUEST):
        drain(engine.apply(request))
    return engine


def compared(engine: Engine, a: str, b: str, *asked: str) -> tuple[list[ev.WeightsDiffer], list[ev.AnswersDiffer]]:
    first, second = (state_of(engine.stack, word) for word in (a, b))
    watched = [asked_for(text) for text in asked]
    events, _ = drain(compare_states(engine.core, first, second, watched, cancelled=lambda: False))
    answers = [event for event in events if isinstance(event, ev.AnswersDiffer)]
    return [event for event in events if isinstance(event, ev.WeightsDiffer)], answers


def test_weights_lie_as_far_apart_as_the_edits_put_them(two: Engine) -> None:
    module = two.core.site(1).module
    base = two.core.live.pristine(module).double()
    weights = []
    for position in (1, 2):
        drain(two.travel(position))
        weights.append(two.core.live.parameter(module).detach().double().clone())
    before = weight_bytes(two)
    ((found,), _) = compared(two, "1", "2")
    assert found.distance == pytest.approx(float((weights[0] - weights[1]).norm() / base.norm()))
    assert (found.sha_a, found.sha_b) == tuple(e.weights[module]["after"] for e in two.stack.line)
    assert weight_bytes(two) == before


def test_a_state_and_itself_are_bit_identical_and_answer_alike(two: Engine) -> None:
    ((weight,), (answer,)) = compared(two, "2", "now", REQUEST.text)
    assert (weight.distance, weight.sha_a) == (0.0, weight.sha_b)
    assert (answer.kl, answer.answer_a, answer.p_answer_a) == (0.0, answer.answer_b, answer.p_answer_b)


def test_answers_are_those_of_each_state(two: Engine) -> None:
    _, (plain, stated) = compared(two, "base", "now", OTHER.text, f"{REQUEST.text} => Irish")
    assert (plain.kind, plain.expected, plain.p_expected_a) == ("prompt", "", None)
    (base, now), _ = drain(two.answer(OTHER.text, states=("base", "stack")))
    assert isinstance(base, ev.Answered)
    assert isinstance(now, ev.Answered)
    for (token, p), answer, p_answer in (
        (base.top[0], plain.answer_a, plain.p_answer_a),
        (now.top[0], plain.answer_b, plain.p_answer_b),
    ):
        assert answer == token
        assert p_answer == pytest.approx(p, rel=1e-4)
    assert plain.kl > 0
    assert stated.expected == "Irish"
    assert stated.p_expected_a is not None
    assert stated.p_expected_b is not None
    assert stated.p_rival_a is None


def test_the_probes_of_edits_are_asked_once_each_and_no_more_than_wanted(two: Engine) -> None:
    edits = [*two.stack.line, *two.stack.line]
    watched, left_out = probes_of_edits(two.core, edits, 100)
    assert [one.kind for one in watched] == ["efficacy", "efficacy", "paraphrase", "neighbourhood"]
    assert left_out == 0
    assert all(one.probe and one.probe.expected for one in watched)
    few, rest = probes_of_edits(two.core, edits, 3)
    assert ([one.prompt for one in few], rest) == ([one.prompt for one in watched[:3]], 1)


def test_a_comparison_that_is_stopped_or_dropped_leaves_the_model_as_it_was(two: Engine) -> None:
    before = weight_bytes(two)
    base, first = (state_of(two.stack, word) for word in ("base", "1"))
    events, _ = drain(compare_states(two.core, base, first, [asked_for("Rome is")], cancelled=lambda: True))
    assert [type(event) for event in events] == [ev.WeightsDiffer]
    assert weight_bytes(two) == before
    dropped = compare_states(two.core, base, first, [], cancelled=lambda: False)
    next(dropped)
    dropped.close()
    assert weight_bytes(two) == before


def test_an_edit_of_another_model_is_refused_before_a_weight_moves(two: Engine, tmp_path: Path) -> None:
    before = weight_bytes(two)
    other = state_of(stack_of(tmp_path / "other", 1), "now")
    with pytest.raises(BaseMismatch):
        drain(compare_states(two.core, state_of(two.stack, "now"), other, [], cancelled=lambda: False))
    assert weight_bytes(two) == before


def test_two_stacks_on_one_base_are_compared_each_from_its_own_files(two: Engine, small: Path, tmp_path: Path) -> None:
    other = open_on(small, tmp_path / "other")
    drain(other.apply(REQUEST))
    other.close()
    theirs = state_of(Stack.open(tmp_path / "other"), "now")
    events, _ = drain(compare_states(two.core, state_of(two.stack, "now"), theirs, [], cancelled=lambda: False))
    (found,) = events
    assert isinstance(found, ev.WeightsDiffer)
    edit: Edit = theirs.edits[0]
    assert found.sha_b == edit.weights[found.module]["after"]


@pytest.mark.parametrize("text", ["", " ", "=> Rome", "Rome is =>"])
def test_a_probe_without_a_prompt_or_an_answer_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        asked_for(text)


@given(rows=st.lists(st.lists(st.floats(-8, 8), min_size=5, max_size=5), min_size=2, max_size=2))
def test_kl_is_never_negative_and_agrees_with_torch(rows: list[list[float]]) -> None:
    p, q = (torch.tensor([row], dtype=torch.float64).log_softmax(-1) for row in rows)
    (found,) = kl_divergence(p, q)
    expected = torch.nn.functional.kl_div(q, p, log_target=True, reduction="batchmean").item()
    assert found >= 0
    assert found == pytest.approx(max(expected, 0.0), abs=1e-12)


def test_kl_of_what_cannot_happen_and_of_what_is_no_number() -> None:
    never = torch.tensor([[0.0, -math.inf]])
    sure = torch.tensor([[-math.inf, 0.0]])
    assert kl_divergence(never, never) == [0.0]
    assert kl_divergence(never, sure) == [math.inf]
    assert math.isnan(kl_divergence(torch.tensor([[math.nan, 0.0]]), never)[0])
