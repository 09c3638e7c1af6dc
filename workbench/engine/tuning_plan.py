"""What to try next in search of a recipe: coarse layers, the layers between the best ones, then strengths. No torch.

Successive narrowing: every step keeps the best so far and looks around it. The plan depends on nothing but what the
trials gave, so the same results lead to the same trials.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from workbench.edits import Recipe
from workbench.errors import UsageError

COARSE = 8
"""Layers of the first look at most, evenly spaced."""
RUNNERS_UP = 2
"""Other layers that are tried once more with the strengths found."""
STRENGTHS: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("clamp_factor", (0.5, 2.0)),
    ("lr", (0.5, 2.0)),
    ("weight_decay", (1 / 3, 3.0)),
    ("steps", (0.5, 2.0)),
)
"""What is tried of each strength, as a multiple of the best so far; in this order."""
FIRST_WEIGHT_DECAY = 0.5
"""What stands in for a weight decay of 0, which has no multiples."""
MOST_STEPS = 100

Rank = tuple[float, float]
"""How well a recipe did, larger is better: S, then the negated size of the update."""


@dataclass(frozen=True)
class Told:
    """What a trial told the plan."""

    rank: Rank
    clamped: bool = True
    """Whether the clamp held any offset back."""
    ran_out: bool = True
    """Whether any edit took all its steps."""

    def moot(self, name: str, factor: float) -> bool:
        """Whether more of a strength is known to change nothing."""
        return factor > 1 and ((name == "clamp_factor" and not self.clamped) or (name == "steps" and not self.ran_out))


@dataclass(frozen=True)
class Candidate:
    """A recipe to try, and why."""

    stage: str
    """"start": what is in force; "layers", "strengths"; "again": another layer with the strengths found."""
    recipe: Recipe


Plan = Generator[Candidate, Told, Recipe]
"""Yields what to try, is sent what it gave, and returns the best."""


def narrowing(base: Recipe, layers: Sequence[int]) -> Plan:
    """The search from `base` over `layers`, in ascending order; nothing is tried twice."""
    search = _Search()
    yield from search.attempt("start", base)
    yield from _layers(search, base, sorted(layers))
    yield from _strengths(search)
    for recipe in search.other_layers()[:RUNNERS_UP]:
        yield from search.attempt("again", dataclasses.replace(search.best, layer=recipe.layer))
    return search.best


def most_trials(layers: Sequence[int]) -> int:
    """How many trials `narrowing` takes at most."""
    spacing = _spacing(len(layers))
    coarse = len(range(0, len(layers), spacing))
    between = 2 * math.ceil(math.log2(spacing)) if spacing > 1 else 0
    strengths = sum(len(factors) for _, factors in STRENGTHS)
    return 1 + coarse + between + strengths + min(RUNNERS_UP, len(layers))


def _layers(search: _Search, base: Recipe, layers: Sequence[int]) -> Generator[Candidate, Told, None]:
    spacing = _spacing(len(layers))
    for layer in layers[::spacing]:
        yield from search.attempt("layers", dataclasses.replace(base, layer=layer))
    while spacing > 1:
        spacing = math.ceil(spacing / 2)
        middle = min(range(len(layers)), key=lambda i: abs(layers[i] - search.best.layer))
        for place in (middle - spacing, middle + spacing):
            if 0 <= place < len(layers):
                yield from search.attempt("layers", dataclasses.replace(base, layer=layers[place]))


def _strengths(search: _Search) -> Generator[Candidate, Told, None]:
    for name, factors in STRENGTHS:
        tried = search.best
        for factor in factors:
            scaled = _scaled(tried, name, factor)
            if scaled and not search.told[tried].moot(name, factor):
                yield from search.attempt("strengths", scaled)


def _scaled(recipe: Recipe, name: str, factor: float) -> Recipe | None:
    """`recipe` with one strength multiplied; None where that is out of its range."""
    value = getattr(recipe, name) * factor
    if name == "steps":
        value = min(max(round(value), 2), MOST_STEPS)
    if name == "weight_decay" and value == 0:
        value = FIRST_WEIGHT_DECAY * factor
    try:
        return Recipe.from_json({**recipe.to_json(), name: float(f"{value:.6g}")})
    except UsageError:
        return None


def _spacing(count: int) -> int:
    return max(1, math.ceil(count / COARSE))


class _Search:
    """What was tried, and what it gave."""

    def __init__(self) -> None:
        self.told: dict[Recipe, Told] = {}

    @property
    def best(self) -> Recipe:
        """The best so far; of equals the one that was tried first."""
        return max(self.told, key=lambda recipe: self.told[recipe].rank)

    def other_layers(self) -> list[Recipe]:
        """The best of every layer but that of the best, best first."""
        ranked = sorted(self.told, key=lambda recipe: self.told[recipe].rank, reverse=True)
        firsts = {recipe.layer: recipe for recipe in reversed(ranked)}
        return [recipe for recipe in ranked if firsts[recipe.layer] is recipe and recipe.layer != self.best.layer]

    def attempt(self, stage: str, recipe: Recipe) -> Generator[Candidate, Told, None]:
        """Tries `recipe` unless it was tried."""
        if recipe not in self.told:
            self.told[recipe] = yield Candidate(stage, recipe)
