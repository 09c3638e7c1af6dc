"""An edit on every family of the zoo is what a slow derivation, row by row and without padding, says it should be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.editing.slow import RECIPE, apart
from tests.zoo import FAMILIES, HYBRIDS
from workbench.edits import SINGLE, Method


@pytest.mark.parametrize("family", [*FAMILIES, *HYBRIDS])
def test_an_edit_agrees_with_the_slow_derivation(family: str) -> None:
    errors = apart(family)
    assert errors.u < 1e-5
    assert errors.v < 1e-5
    assert errors.offset < 3e-5


@pytest.mark.parametrize("method", SINGLE)
def test_every_method_agrees_with_the_slow_derivation(method: Method) -> None:
    errors = apart("gpt_neox", replace(RECIPE, method=method))
    assert errors.u < 1e-5
    assert errors.v < 1e-5


@pytest.mark.parametrize("family", ["gptj", "opt"])
def test_as_many_steps_as_a_whole_edit_takes_agree_too(family: str) -> None:
    errors = apart(family, replace(RECIPE, steps=20))
    assert errors.u < 1e-5
    assert errors.v < 1e-4
