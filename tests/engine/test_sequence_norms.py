"""The norms that a sequence writes down of an edit are those in its file."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.edits import EditRequest, Recipe
from workbench.engine.evaluating.sequential import norms_of
from workbench.stack.record import Base, Edit


def edit(norms: dict[str, Any]) -> Edit:
    return Edit(
        requests=(EditRequest("{} is in", "Paris", "Peru"),),
        recipe=Recipe(),
        base=Base("b", "", "f", "float32"),
        metrics={"norms": norms},
    )


def test_an_edit_that_had_nothing_to_change_has_a_norm_of_nought() -> None:
    assert norms_of(edit({"ratio": 0, "delta_norm": 0.0, "drift": 3.1})) == {"ratio": 0, "delta_norm": 0, "drift": 3.1}


@pytest.mark.parametrize("value", [None, "7", float("nan"), float("inf")])
def test_what_is_no_number_is_left_out(value: object) -> None:
    assert norms_of(edit({"delta_norm": value, "drift": 1})) == {"drift": 1}
