"""The words for hyper-parameters say what the recipe takes, no more and no less."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from workbench.errors import UsageError
from workbench.recipe_words import HYPERS, Hyper, hypers_of, plain, settings_table, typed
from workbench.recipes import METHODS, Recipe


def test_every_setting_of_a_recipe_has_its_words() -> None:
    assert {hyper.name for hyper in HYPERS} == {field.name for field in dataclasses.fields(Recipe)}


@pytest.mark.parametrize("hyper", [hyper for hyper in HYPERS if hyper.low is not None], ids=lambda hyper: hyper.name)
def test_the_range_that_is_shown_is_the_range_that_is_taken(hyper: Hyper) -> None:
    assert hyper.low is not None
    assert hyper.high is not None
    for value in (hyper.low, hyper.high):
        made(hyper.name, value)
    for value in (hyper.low - max(abs(hyper.low) * 0.01, 1e-13), hyper.high * 1.01):
        with pytest.raises(UsageError):
            made(hyper.name, value)


def test_choices_are_all_taken() -> None:
    for hyper in HYPERS:
        for choice in hyper.choices:
            made(hyper.name, choice)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_shown_for_a_method_is_what_it_reads(method: str) -> None:
    names = [hyper.name for hyper in hypers_of(method)]
    assert set(names) == set(Recipe.from_json({"method": method}).to_json())
    assert names[0] == "method"


@pytest.mark.parametrize("value", [0.0625, 20, None, True, False, "memit", [[5, 10], [10, 10]], 1e-6, [1, 2]])
def test_a_value_is_typed_as_it_is_shown(value: object) -> None:
    assert typed(plain(value)) == value


def test_the_table_fits_a_terminal_and_has_every_setting() -> None:
    lines = settings_table().split("\n")
    assert len(lines) == len(HYPERS)
    assert max(map(len, lines)) <= 76
    assert "lr" in lines[4]
    assert "0.5" in lines[4]


def made(name: str, value: Any) -> Recipe:
    """A recipe with that setting, of a method that reads it."""
    method = {"layers": "memit", "mu": "emmet", "moment_weight": "memit"}.get(name, "r-rome")
    return Recipe.from_json({"method": method, name: value} if name != "method" else {name: value})


def test_layers_are_written_as_people_write_them() -> None:
    assert typed("3,4, 5") == [3, 4, 5]
    assert Recipe.from_json({"method": "memit", "layers": typed("0,1")}).layers == (0, 1)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("steps", "many", "a whole number"), ("layers", "all", "3,4,5"), ("template_lengths", "3", "a list of pairs")],
)
def test_a_setting_that_cannot_be_is_told_in_plain_words(name: str, text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        Recipe.from_json({"method": "memit", name: typed(text)})
    assert words in refused.value.hint
    assert "tuple" not in refused.value.hint
