"""Requests and recipes: what is allowed, what is refused and why, and that JSON gives the same back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.edits import MAX_PROBES, MAX_TEXT, METHODS, EditRequest, Neighbour, Recipe, with_slot
from workbench.errors import RequestError, UsageError

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(str.strip)


def request(**changes: Any) -> EditRequest:
    values: dict[str, Any] = {"prompt": "The {} is in", "subject": "Eiffel Tower", "target_new": "Rome"}
    return EditRequest(**(values | changes))


def test_the_text_has_the_subject_where_the_slot_is() -> None:
    made = request()
    start, end = made.subject_span
    assert made.text == "The Eiffel Tower is in"
    assert made.text[start:end] == "Eiffel Tower"


@given(before=TEXT, subject=TEXT, after=TEXT, target=TEXT)
def test_the_span_always_holds_the_subject(before: str, subject: str, after: str, target: str) -> None:
    prompt = before.replace("{}", "") + "{}" + after.replace("{}", "")
    if prompt.count("{}") != 1:
        return
    made = EditRequest(prompt, subject, target)
    start, end = made.subject_span
    assert made.text[start:end] == subject


@given(subject=TEXT, target=TEXT, true=st.none() | TEXT, paraphrases=st.lists(TEXT, max_size=3))
def test_a_request_survives_json(subject: str, target: str, true: str | None, paraphrases: list[str]) -> None:
    made = EditRequest("{} is", subject, target, true, tuple(paraphrases), (Neighbour(target, true),))
    assert EditRequest.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "The tower is in"}, "no {}"),
        ({"prompt": "{} {}"}, "2 slots"),
        ({"subject": "  "}, "subject is empty"),
        ({"target_new": "\n"}, "target is empty"),
        ({"target_true": ""}, "true target is empty"),
        ({"paraphrases": ("ok", "")}, "probe is empty"),
        ({"neighbours": (Neighbour("ok", " "),)}, "neighbour's answer is empty"),
        ({"subject": "a" * (MAX_TEXT + 1)}, "characters long"),
        ({"target_new": "\udc00"}, "not valid Unicode"),
        ({"paraphrases": ("p",) * (MAX_PROBES + 1)}, f"More than {MAX_PROBES}"),
    ],
)
def test_a_request_that_makes_no_sense_says_why(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said.replace("{", r"\{").replace("}", r"\}")):
        request(**changes)


def test_a_prompt_with_the_subject_written_out_gets_its_slot() -> None:
    assert with_slot("The Eiffel Tower is in", "Eiffel Tower") == "The {} is in"
    assert with_slot("The {} of Paris", "Paris") == "The {} of Paris"
    assert EditRequest.from_text("A b c", "b", "d", target_true="e") == EditRequest("A {} c", "b", "d", "e")


@pytest.mark.parametrize(("prompt", "said"), [("It is in", "not in the prompt"), ("a Rome b Rome", "2 times")])
def test_a_subject_that_is_nowhere_or_twice_is_refused(prompt: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        EditRequest.from_text(prompt, "Rome", "Paris")


def test_other_braces_are_text() -> None:
    assert request(prompt='{"city": {}, "x": {0} %s}', subject="{a}").text == '{"city": {a}, "x": {0} %s}'


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"prompt": "{}"},
        {"prompt": 1, "subject": "a", "target_new": "b"},
        {"prompt": "{}", "subject": "a", "target_new": "b", "target_true": 1},
        {"prompt": "{}", "subject": "a", "target_new": "b", "paraphrases": "abc"},
        {"prompt": "{}", "subject": "a", "target_new": "b", "neighbours": [{"expected": "c"}]},
    ],
)
def test_json_that_is_no_request_is_refused(document: object) -> None:
    with pytest.raises(RequestError):
        EditRequest.from_json(document)


def test_the_default_recipe_is_r_rome_with_the_papers_numbers() -> None:
    recipe = Recipe()
    assert (recipe.method, recipe.steps, recipe.lr, recipe.nll_stop) == ("r-rome", 20, 0.5, None)


@given(
    method=st.sampled_from(METHODS),
    layer=st.integers(0, 100),
    lr=st.floats(1e-3, 10),
    nll=st.none() | st.floats(0, 1),
    moment=st.booleans(),
    lengths=st.lists(st.tuples(st.integers(1, 100), st.integers(0, 20)), max_size=3),
)
def test_a_recipe_survives_json(
    method: Any, layer: int, lr: float, nll: float | None, moment: bool, lengths: list[tuple[int, int]]
) -> None:
    made = Recipe(method, layer, lr=lr, nll_stop=nll, second_moment=moment, template_lengths=tuple(lengths))
    assert Recipe.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    "document",
    [
        {"method": "memit"},
        {"layer": -1},
        {"layer": 1.5},
        {"layer": True},
        {"steps": 0},
        {"lr": float("nan")},
        {"lr": "fast"},
        {"nll_stop": float("inf")},
        {"second_moment": 1},
        {"seed": 2**63},
        {"template_lengths": [[5, 500]]},
        {"template_lengths": [[0, 1]]},
        {"template_lengths": [5]},
        {"v_lr": 0.5},
        [],
    ],
)
def test_a_recipe_out_of_range_or_of_the_wrong_type_is_refused(document: object) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe.from_json(document)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("made", "name"), [(request(), "prompt"), (Recipe(), "layer"), (Neighbour("a"), "prompt")])
def test_what_a_person_asked_for_cannot_be_changed_afterwards(made: Any, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, "x")
