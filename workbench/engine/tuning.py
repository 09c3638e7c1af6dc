"""The search for an editing profile: recipes are tried on facts that the model knows, and the best becomes a profile.

Every trial is kept on disk when it is done, and what is tried next follows from the trials alone: a search that was
stopped, however hard, goes on where it was and ends with the same profile.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.editing.cancel import Cancelled
from workbench.edits import EditRequest, Recipe
from workbench.engine.tuning_bench import Bench, Outcome
from workbench.engine.tuning_facts import FEWEST, FactSet, gather
from workbench.engine.tuning_plan import Candidate, Plan, Rank, Told, most_trials, narrowing
from workbench.errors import ModelError
from workbench.events import (
    Event,
    ModelLoading,
    TrialResult,
    Tuned,
    TuningStarted,
    Warning,  # noqa: A004  the wire's word
)
from workbench.models.families import edit_site, editable_layers, layer_count
from workbench.models.load import LoadedModel
from workbench.models.profile_file import Profile, recipe_digest
from workbench.models.second_moment import find_second_moment

FACTS = 10
"""Facts of a trial, unless another number is asked for."""
FINALISTS = 3
"""Recipes, besides what is in force, that are also tried on other facts: on few facts the best is often chance."""


@dataclass(frozen=True)
class Wanted:
    """What a search is asked for."""

    facts: Sequence[EditRequest] | None = None
    """None: those that ship."""
    count: int = FACTS
    layers: Sequence[int] | None = None
    """None: all."""
    trials: int | None = None
    """The budget; None: until the search is through."""
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Changes to the recipe that the search starts from."""


@dataclass(frozen=True)
class _Tried:
    recipe: Recipe
    outcome: Outcome

    @property
    def rank(self) -> Rank:
        """S first; of equals the one that moves the weight less."""
        return self.outcome.measured.s, -self.outcome.measured.ratio

    @property
    def told(self) -> Told:
        """What the plan goes by."""
        measured = self.outcome.measured
        return Told(self.rank, measured.clamped > 0, measured.ran_out > 0)


def tune(
    loaded: LoadedModel, profile: Profile, wanted: Wanted, cancelled: Callable[[], bool]
) -> Generator[Event, None, Tuned | None]:
    """Searches for a better recipe than that of `profile`; returns what was found, None if it was cancelled.

    Yields TuningStarted, a TrialResult for each trial, and Tuned. After every trial, and however it ends, every byte of
    the model is as it was.

    Raises:
        ModelError: a layer is not there. UsageError: a setting is out of range.
        EditError, RequestError: there are not enough facts that the model knows.
        DeviceError: the device ran out of memory.
        StorageError: the record of the trials cannot be written.
    """
    base = Recipe.from_json({**profile.recipe.to_json(), **wanted.changes})
    layers = _layers(loaded, wanted.layers, base.layer)
    try:
        yield ModelLoading(stage=f"asking {loaded.name} what it knows")
        facts = gather(loaded, wanted.facts, wanted.count, base.seed, cancelled)
        yield from _few(facts, wanted.count)
        yield from _without_second_moment(loaded, base, layers)
        most = min(most_trials(layers), wanted.trials or most_trials(layers))
        search = _Search(Bench(loaded, cancelled), facts, most)
        yield search.started()
        complete = yield from search.run(narrowing(base, layers))
        tuned = yield from search.end(loaded, complete)
    except Cancelled:
        return None
    yield tuned
    return tuned


class _Search:
    """The trials of one search, in order."""

    def __init__(self, bench: Bench, facts: FactSet, most: int) -> None:
        self.bench, self.facts, self.most = bench, facts, most
        self.tried: list[_Tried] = []

    def started(self) -> TuningStarted:
        """What lies ahead."""
        return TuningStarted(
            facts=len(self.facts.search),
            checks=len(self.facts.check),
            source=self.facts.source,
            trials=self.most,
            record=str(self.bench.record.path),
        )

    def run(self, plan: Plan) -> Generator[Event, None, bool]:
        """Tries what `plan` says, until it ends or the budget does; returns whether it ended."""
        candidate = _following(plan, None)
        while candidate and len(self.tried) < self.most:
            name = f"trial {len(self.tried) + 1} of {self.most}"
            outcome = yield from self.bench.trial(candidate.recipe, self.facts.search, name)
            self.tried.append(_Tried(candidate.recipe, outcome))
            yield self._result(candidate.stage, self.tried[-1], len(self.facts.search))
            candidate = _following(plan, self.tried[-1].told)
        plan.close()
        return candidate is None

    def _result(self, stage: str, tried: _Tried, facts: int, number: int | None = None) -> TrialResult:
        outcome, measured = tried.outcome, dataclasses.asdict(tried.outcome.measured)
        return TrialResult(
            number=number or len(self.tried),
            of=self.most,
            stage=stage,
            recipe=tried.recipe.to_json(),
            second_moment=outcome.second_moment,
            facts=facts,
            kept=outcome.kept,
            **measured,
        )

    def end(self, loaded: LoadedModel, complete: bool) -> Generator[Event, None, Tuned]:
        """Holds the best few against what was in force on other facts; the best on all facts is what was found."""
        start = self.tried[0]
        finalists = self._finalists() if len(self.facts.check) >= FEWEST else []
        checked: dict[Recipe, float] = {}
        for one in finalists:
            outcome = yield from self.bench.trial(one.recipe, self.facts.check, "other facts")
            number = self.tried.index(one) + 1
            yield self._result("check", _Tried(one.recipe, outcome), len(self.facts.check), number)
            checked[one.recipe] = outcome.measured.s
        best = max(finalists or self.tried, key=lambda one: (self._on_all(one, checked), *one.rank))
        return Tuned(
            profile=self._profile(loaded, best, checked.get(best.recipe)).to_json(),
            layer=best.recipe.layer,
            s=best.outcome.measured.s,
            s_start=start.outcome.measured.s,
            s_check=checked.get(best.recipe),
            s_check_start=checked.get(start.recipe),
            complete=complete,
            changed=best is not start,
        )

    def _finalists(self) -> list[_Tried]:
        """What was in force, and the best few; of those that came out the same, the first."""
        distinct = {one.rank: one for one in reversed(self.tried)}
        ranked = sorted(distinct.values(), key=lambda one: one.rank, reverse=True)[:FINALISTS]
        return [self.tried[0], *(one for one in ranked if one.rank != self.tried[0].rank)]

    def _on_all(self, tried: _Tried, checked: dict[Recipe, float]) -> float:
        """S over the facts searched on and the others, each weighing the same."""
        searched, others = len(self.facts.search), len(self.facts.check)
        s = tried.outcome.measured.s
        return (s * searched + checked[tried.recipe] * others) / (searched + others) if checked else s

    def _profile(self, loaded: LoadedModel, best: _Tried, s_check: float | None) -> Profile:
        recipe = dataclasses.replace(best.recipe, second_moment=best.outcome.second_moment)
        words = [f"S {best.outcome.measured.s:.3f} over {len(self.facts.search)} of {self.facts.source}"]
        words += [] if s_check is None else [f"{s_check:.3f} over {len(self.facts.check)} others"]
        words.append("C measured" if best.outcome.second_moment else "C = I")
        return Profile(
            name=f"{loaded.name} tuned",
            recipe=recipe,
            match={"fingerprint": loaded.fingerprint},
            checkpoint=loaded.name,
            source=f"workbench tune: {', '.join(words)}",
            tuned=recipe_digest(recipe),
            origin="user",
        )


def _following(plan: Plan, told: Told | None) -> Candidate | None:
    """What to try next; None at the end of the plan."""
    try:
        return next(plan) if told is None else plan.send(told)
    except StopIteration:
        return None


def _layers(loaded: LoadedModel, wanted: Sequence[int] | None, start: int) -> list[int]:
    """The layers to look at. Raises ModelError for one that is not there or cannot be edited."""
    count = layer_count(loaded.model)
    layers = sorted(set(editable_layers(loaded.model) if wanted is None else wanted))
    for layer in (*layers, start):
        if not 0 <= layer < count:
            raise ModelError(f"The model has no layer {layer}.", f"Choose some of 0 to {count - 1}.")
    return layers


def _few(facts: FactSet, count: int) -> Generator[Warning, None, None]:
    if len(facts.search) < count:
        yield Warning(
            message=f"The model knows {facts.known} of {facts.asked} of {facts.source}; {count} were wanted.",
            hint="The fewer facts, the coarser the scores. Give more with --facts FILE.",
        )
    elif len(facts.check) < FEWEST:
        yield Warning(
            message=f"There are no other facts that the model knows, out of {facts.asked}, to check the outcome on.",
            hint="Search with fewer, --count, or give more with --facts FILE.",
        )


def _without_second_moment(loaded: LoadedModel, base: Recipe, layers: Sequence[int]) -> Generator[Warning, None, None]:
    """Says where C = I."""
    if not base.second_moment:
        yield Warning(
            message="C = I in all trials: the recipe asks for it.",
            hint="A measured C protects other facts: --set second_moment=true, once workbench stats has made it.",
        )
        return
    lacking = [str(layer) for layer in layers if not _has_second_moment(loaded, layer)]
    if lacking:
        where = "any layer" if len(lacking) == len(layers) else f"layer{'s' * (len(lacking) > 1)} {', '.join(lacking)}"
        yield Warning(
            message=f"C = I: there is no second moment for {where}; such layers score lower than they could.",
            hint=f"Make them first: workbench stats {shlex.quote(loaded.name)} --layers {','.join(lacking)}; "
            "or compare on equal terms with --set second_moment=false.",
        )


def _has_second_moment(loaded: LoadedModel, layer: int) -> bool:
    return find_second_moment(loaded.folder, edit_site(loaded.model, layer), loaded.fingerprint) is not None
