"""An edit on every family of the zoo is what a slow derivation, row by row and without padding, says it should be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.editing.helpers import TEMPLATES, error, update_of
from tests.editing.slow import matrix_of, slow
from tests.zoo import FAMILIES, HYBRIDS, tiny, tokenizer
from workbench.editing import SecondMoment
from workbench.edits import METHODS, EditRequest, Method, Recipe
from workbench.models.families import edit_site

REQUEST = EditRequest("The mother tongue of {} is", "Antonín Dvořák", "silver trumpet")
RECIPE = Recipe(layer=1, steps=4, lr=0.3, weight_decay=0.2, clamp_factor=0.8, loss_stop=0.0)


def apart(family: str, recipe: Recipe = RECIPE) -> tuple[float, float, float]:
    """Relative errors of u, v and δ."""
    model, words = tiny(family), tokenizer(family)
    matrix = matrix_of(edit_site(model, recipe.layer).d_in)
    update = update_of(model, words, REQUEST, recipe, TEMPLATES, SecondMoment(matrix, 40 * len(matrix), "x"))
    u, v, offset = slow(model, words, REQUEST, TEMPLATES, recipe).factors(recipe.method, matrix.double())
    return error(update.u.double(), u), error(update.v.double(), v), error(update.offset.double(), offset)


@pytest.mark.parametrize("family", [*FAMILIES, *HYBRIDS])
def test_an_edit_agrees_with_the_slow_derivation(family: str) -> None:
    u, v, offset = apart(family)
    assert u < 1e-5
    assert v < 1e-5
    assert offset < 3e-5


@pytest.mark.parametrize("method", METHODS)
def test_every_method_agrees_with_the_slow_derivation(method: Method) -> None:
    u, v, _ = apart("gpt_neox", replace(RECIPE, method=method))
    assert u < 1e-5
    assert v < 1e-5


@pytest.mark.parametrize("family", ["gptj", "opt"])
def test_as_many_steps_as_a_whole_edit_takes_agree_too(family: str) -> None:
    u, v, _ = apart(family, replace(RECIPE, steps=20))
    assert u < 1e-5
    assert v < 1e-4
