"""Requests and recipes: what is allowed, what is refused and why, and that JSON gives the same back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.edits import BATCHED, MAX_PROBES, MAX_TEXT, METHODS, SINGLE, EditRequest, Neighbour, Recipe, with_slot
from workbench.errors import RequestError, UsageError
from workbench.recipes import PUBLISHED, chosen_recipe

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
        {"method": "ft"},
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


OLD_FIELDS = {
    "method", "layer", "steps", "lr", "weight_decay", "kl_factor", "clamp_factor", "loss_stop", "nll_stop",
    "second_moment", "seed", "template_lengths",
}  # fmt: skip


@pytest.mark.parametrize("method", SINGLE)
def test_a_recipe_for_one_request_says_nothing_of_batches(method: Any) -> None:
    """So its JSON, and the ids of the edits it is part of, are what they always were."""
    assert set(Recipe(method).to_json()) == OLD_FIELDS


def test_a_batched_recipe_says_what_its_method_reads_and_no_more() -> None:
    assert set(Recipe("memit").to_json()) == OLD_FIELDS | {"layers", "moment_weight"}
    assert set(Recipe("emmet").to_json()) == OLD_FIELDS | {"moment_weight", "mu"}


@given(
    layers=st.lists(st.integers(0, 200), min_size=1, max_size=6, unique=True).map(sorted),
    weight=st.floats(1e-6, 1e9),
    mu=st.floats(0, 100),
)
def test_a_batched_recipe_survives_json(layers: list[int], weight: float, mu: float) -> None:
    memit = Recipe("memit", layers[-1], layers=tuple(layers), moment_weight=weight)
    emmet = Recipe("emmet", layers[-1], moment_weight=weight, mu=mu)
    for made in (memit, emmet):
        assert Recipe.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert (memit.edited_layers, emmet.edited_layers) == (tuple(layers), (layers[-1],))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "emmet", "layers": (1, 2), "layer": 2}, "layers is no setting of emmet"),
        ({"method": "r-rome", "layers": (0,)}, "layers is no setting of r-rome"),
        ({"method": "rome", "moment_weight": 1.0}, "moment_weight is no setting of rome"),
        ({"method": "memit", "mu": 0.5}, "mu is no setting of memit"),
        ({"method": "memit", "layers": (2, 1), "layer": 1}, "out of order"),
        ({"method": "memit", "layers": (1, 1), "layer": 1}, "out of order"),
        ({"method": "memit", "layers": (-1, 1), "layer": 1}, "out of order"),
        ({"method": "memit", "layers": tuple(range(65)), "layer": 64}, "out of order"),
        ({"method": "memit", "layers": (1, 2), "layer": 1}, "not the last"),
        ({"method": "memit", "moment_weight": 0.0}, "moment_weight = 0.0 is out of range"),
        ({"method": "emmet", "mu": -1.0}, "mu = -1.0 is out of range"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Recipe(**settings)


@pytest.mark.parametrize("layers", [3, "3,4", [True], [1.5], [[1, 2]], None])
def test_layers_that_are_no_whole_numbers_are_refused(layers: object) -> None:
    with pytest.raises(UsageError, match="layers"):
        Recipe.from_json({"method": "memit", "layers": layers})


@pytest.mark.parametrize("method", BATCHED)
def test_another_method_brings_its_own_settings_and_takes_them_along_again(method: Any) -> None:
    profile = Recipe(layer=4, steps=33, clamp_factor=8.0)
    batched = chosen_recipe(profile, {"method": method})
    assert (batched.layer, batched.steps, batched.clamp_factor) == (4, 33, 0.75)
    assert batched.moment_weight == PUBLISHED[method]["moment_weight"]
    assert chosen_recipe(batched, {"method": "r-rome"}) == Recipe(layer=4, steps=33)
    assert chosen_recipe(batched, {}) == batched
    mine = chosen_recipe(profile, {"method": method}, {method: {"moment_weight": 7.0, "layer": 2}})
    assert (mine.moment_weight, mine.layer, mine.clamp_factor) == (7.0, 2, 0.75)
    assert chosen_recipe(profile, {"method": method, "clamp_factor": 2.0}).clamp_factor == 2.0


def test_layer_follows_layers_and_layers_follow_layer() -> None:
    profile = Recipe(layer=4)
    spread = chosen_recipe(profile, {"method": "memit", "layers": [1, 2]})
    assert (spread.layer, spread.layers) == (2, (1, 2))
    assert chosen_recipe(spread, {"layer": 5}).edited_layers == (5,)
    assert chosen_recipe(spread, {"layers": []}).edited_layers == (2,)
    assert Recipe.from_json({"method": "memit", "layers": [1, 3]}).layer == 3


def test_a_batched_recipe_is_the_published_one_where_it_says_nothing() -> None:
    assert Recipe.from_json({"method": "emmet"}) == Recipe("emmet", clamp_factor=0.75, moment_weight=1000.0, mu=0.1)
    assert Recipe.from_json({"method": "memit"}) == Recipe("memit", clamp_factor=0.75, moment_weight=20_000.0)


@pytest.mark.parametrize(("made", "name"), [(request(), "prompt"), (Recipe(), "layer"), (Neighbour("a"), "prompt")])
def test_what_a_person_asked_for_cannot_be_changed_afterwards(made: Any, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, "x")
