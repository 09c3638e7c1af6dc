"""What a search for a profile tries, and in which order. No torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.edits import Recipe
from workbench.engine.tuning_plan import COARSE, MOST_STEPS, Candidate, Rank, Told, most_trials, narrowing
from workbench.events import ProbeResult
from workbench.probing.metrics import scores


def run(
    base: Recipe, layers: list[int], rank: Callable[[Recipe], Rank], *, held: bool = True
) -> tuple[list[Candidate], Recipe]:
    """Everything that was tried, and what came out; `held`: clamp and steps were used up."""
    plan, tried = narrowing(base, layers), []
    try:
        candidate = next(plan)
        while True:
            tried.append(candidate)
            candidate = plan.send(Told(rank(candidate.recipe), clamped=held, ran_out=held))
    except StopIteration as stop:
        return tried, stop.value


def peak(layer: int) -> Callable[[Recipe], Rank]:
    return lambda recipe: (1 - abs(recipe.layer - layer) / 100, 0.0)


@pytest.mark.parametrize("layer", [0, 5, 17, 30, 47])
def test_the_best_of_many_layers_is_found_without_trying_them_all(layer: int) -> None:
    tried, best = run(Recipe(layer=15), list(range(48)), peak(layer))
    assert best.layer == layer
    assert len({one.recipe.layer for one in tried}) < 20


def test_coarse_layers_come_first_then_those_between_then_strengths_then_other_layers_again() -> None:
    tried, _ = run(Recipe(layer=3), list(range(24)), lambda one: (peak(13)(one)[0], one.clamp_factor))
    stages = [one.stage for one in tried]
    assert stages == sorted(stages, key=["start", "layers", "strengths", "again"].index)
    layers = [one.recipe.layer for one in tried if one.stage == "layers"]
    assert layers[: COARSE - 1] == [0, 6, 9, 12, 15, 18, 21]
    assert layers[COARSE - 1 :] == [10, 14, 11, 13]
    assert {one.recipe.layer for one in tried if one.stage == "strengths"} == {13}
    assert {one.recipe.layer for one in tried if one.stage == "again"} == {12, 14}


def test_few_layers_are_all_tried() -> None:
    tried, _ = run(Recipe(layer=1), [0, 1, 2, 3], peak(2))
    assert {one.recipe.layer for one in tried if one.stage in ("start", "layers")} == {0, 1, 2, 3}


def test_strengths_are_narrowed_one_after_the_other_from_the_best_so_far() -> None:
    wanted = Recipe(layer=1, clamp_factor=8.0, lr=0.25)

    def rank(recipe: Recipe) -> Rank:
        return float(recipe.clamp_factor == 8) + float(recipe.lr == 0.25) - 0.1 * float(recipe.steps != 20), 0.0

    _, best = run(Recipe(layer=1), [1], rank)
    assert best == wanted


def test_more_of_what_was_not_used_up_is_not_tried() -> None:
    tried, _ = run(Recipe(layer=1), [1], lambda _: (0.0, 0.0), held=False)
    assert max(one.recipe.clamp_factor for one in tried) == 4
    assert max(one.recipe.steps for one in tried) == 20
    assert {one.recipe.lr for one in tried} == {0.25, 0.5, 1.0}


def test_of_equals_the_one_that_moves_the_weight_less_wins_and_of_those_the_first() -> None:
    _, best = run(Recipe(layer=1), [0, 1, 2], lambda recipe: (0.5, -float(recipe.layer != 2)))
    assert best == Recipe(layer=2)


def test_what_is_tried_stays_in_range() -> None:
    tried, _ = run(Recipe(steps=1, weight_decay=0.0, lr=100.0, clamp_factor=1e4), [0], lambda _: (0.0, 0.0))
    values = [one.recipe for one in tried]
    assert max(recipe.lr for recipe in values) <= 100
    assert max(recipe.clamp_factor for recipe in values) <= 1e4
    assert {recipe.weight_decay for recipe in values} > {0.0, 1.5}
    assert all(1 <= recipe.steps <= MOST_STEPS for recipe in values)


@given(
    layers=st.sets(st.integers(0, 90), min_size=1, max_size=90),
    start=st.integers(0, 90),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_tried_twice_the_bound_holds_and_the_best_comes_out(layers: set[int], start: int, seed: int) -> None:
    def rank(recipe: Recipe) -> Rank:
        return (hash((seed, recipe)) % 1000) / 1000, 0.0

    base = Recipe(layer=start)
    tried, best = run(base, sorted(layers), rank)
    recipes = [one.recipe for one in tried]
    assert len(set(recipes)) == len(recipes) <= most_trials(sorted(layers))
    assert recipes[0] == base
    assert rank(best) == max(map(rank, recipes))
    assert {recipe.layer for recipe in recipes} <= layers | {start}
    assert run(base, sorted(layers), rank)[0] == tried


def result(kind: str, passed: bool | None) -> ProbeResult:
    return ProbeResult(kind=kind, prompt="", passed=passed)  # type: ignore[arg-type]  # kinds by name


def test_scores_are_means_over_edits_and_s_their_harmonic_mean() -> None:
    first = [result("efficacy", True), *[result("paraphrase", held) for held in (True, False)]]
    second = [result("efficacy", True), result("paraphrase", True), result("neighbourhood", True)]
    third = [result("efficacy", False), *[result("neighbourhood", held) for held in (True, False, False, None)]]
    found = scores([first, second, third])
    assert (found.es, found.ps, found.ns) == (2 / 3, 3 / 4, 5 / 8)
    assert found.s == pytest.approx(3 / (3 / 2 + 4 / 3 + 8 / 5))


def test_a_score_that_nothing_was_asked_for_is_left_out_and_one_of_0_makes_s_0() -> None:
    assert scores([[result("efficacy", True), result("paraphrase", True)]]).s == 1
    assert scores([[result("efficacy", True), result("paraphrase", True)]]).ns is None
    assert scores([[result("efficacy", True), result("paraphrase", False)]]).s == 0
    assert scores([]).s == 0
