"""Every edit alone on the base: made, scored, and taken back, with no stack and no file of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from workbench.editing.batch import make_batch
from workbench.editing.cancel import check
from workbench.editing.chat import framed
from workbench.editing.edit import make_update
from workbench.editing.objective import forget
from workbench.edits import Recipe
from workbench.engine.applying import ground_of
from workbench.engine.batching import batch_ground, sites_of
from workbench.engine.core import Core
from workbench.engine.evaluating.cases import CaseScore, failure
from workbench.engine.evaluating.dataset import Case
from workbench.engine.evaluating.record import CaseLine
from workbench.engine.evaluating.results import Results
from workbench.engine.evaluating.scorer import Scorer
from workbench.engine.norms import module_norms
from workbench.errors import EditError, RequestError
from workbench.events import Event, ModelLoading, Warning  # noqa: A004  the wire's word
from workbench.models.device import within_memory
from workbench.stack.record import Factors
from workbench.text import shortened

T = TypeVar("T")
Unit = tuple[Case, ...]
"""The cases of one edit."""


def units_of(cases: Sequence[Case], batch: int) -> list[Unit]:
    """The cases of each edit, in order."""
    return [tuple(cases[start : start + batch]) for start in range(0, len(cases), batch)]


def edit_alone(
    core: Core,
    units: Sequence[Unit],
    recipe: Recipe,
    scorer: Scorer,
    results: Results,
    of: int,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, None]:
    """Makes and scores every edit of `units` that is not done yet; the model is at its base before and after each.

    Args:
        core: the model, at its base.
        units: the cases of each edit.
        recipe: how edits are made.
        scorer: how cases are scored.
        results: where their lines go.
        of: cases in all.
        cancelled: asked before every edit, step and scoring.

    Raises:
        Cancelled: `cancelled` said so; the edit in flight is dropped.
        DeviceError: the device ran out of memory. StorageError: a line cannot be written.
    """
    for unit in units:
        if all(case.number in results.cases for case in unit):
            continue
        check(cancelled)
        yield said_of(unit, len(results.cases), of)
        bases = [scorer.base(case) for case in unit]
        try:
            made = yield from _make(core, unit, recipe, cancelled)
            check(cancelled)
            lines = [_line(core, case, base, made, scorer) for case, base in zip(unit, bases, strict=True)]
        finally:
            core.live.show([])
        for line in lines:
            results.add(line)
            yield line.event(len(results.cases), of)


def said_of(unit: Unit, before: int, of: int, what: str = "") -> ModelLoading:
    """What is being done, for the live line; `what` stands in front."""
    first = unit[0].request
    more = f" and {len(unit) - 1} more" if len(unit) > 1 else ""
    words = f"{shortened(first.subject, 40)} → {shortened(first.target_new, 30)}{more}"
    return ModelLoading(stage=f"{what}case {before + 1} of {of}  {words}", fraction=before / of)


@dataclass(frozen=True)
class _Made:
    """An edit that the model shows now, or why there is none."""

    norms: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    """Why a case could not be edited, by its number."""


def _make(core: Core, unit: Unit, recipe: Recipe, cancelled: Callable[[], bool]) -> Generator[Event, None, _Made]:
    """Makes the edit of `unit` on the base and shows it."""
    making = _batch if recipe.batched else _one
    forget(core.loaded.model)
    try:
        with within_memory():
            return (yield from only_warnings(making(core, unit, recipe, cancelled)))
    except (EditError, RequestError) as error:
        return _Made(failed={case.number: error.message for case in unit})


def _one(core: Core, unit: Unit, recipe: Recipe, cancelled: Callable[[], bool]) -> Generator[Event, None, _Made]:
    (case,) = unit
    site, loaded = core.site(recipe.layer), core.loaded
    core.live.adopt_site(site)
    ground = ground_of(core, site, recipe)
    request = framed(loaded.tokenizer, case.request)
    update = yield from make_update(
        loaded.model, loaded.tokenizer, site, request, recipe, ground.templates, ground.moment, cancelled
    )
    norms = _show(core, (Factors(site.module, update.u[None, :].numpy(), update.v[:, None].numpy()),))
    return _Made({**norms, "division_factor": update.division_factor})


def _batch(core: Core, unit: Unit, recipe: Recipe, cancelled: Callable[[], bool]) -> Generator[Event, None, _Made]:
    sites, loaded = sites_of(core, recipe), core.loaded
    ground = batch_ground(core, sites, recipe)
    requests = [framed(loaded.tokenizer, case.request) for case in unit]
    batch = yield from make_batch(
        loaded.model, loaded.tokenizer, sites, requests, recipe, ground.templates, ground.moments, cancelled
    )
    failed = {unit[place].number: error.message for place, error in batch.failed.items()}
    if len(failed) == len(unit):
        return _Made(failed=failed)
    factors = tuple(Factors(part.module, part.a.numpy(), part.b.numpy()) for part in batch.parts)
    return _Made(_show(core, factors), failed)


def _show(core: Core, factors: tuple[Factors, ...]) -> dict[str, float]:
    """Puts an update into the base, and says its norms, over all modules."""
    core.live.show([factors])
    norms = []
    for one in factors:
        pristine = core.live.pristine(one.module)
        norms.append(module_norms(one.module, one, pristine, core.live.parameter(one.module).detach(), pristine))
    weight, delta = (math.hypot(*sizes) for sizes in zip(*((n.weight_norm, n.delta_norm) for n in norms), strict=True))
    return {"ratio": delta / weight, "delta_norm": delta, "drift": core.live.drift()}


def _line(core: Core, case: Case, base: CaseScore, made: _Made, scorer: Scorer) -> CaseLine:
    why = made.failed.get(case.number, "")
    return CaseLine(
        case.number,
        case.request.subject,
        case.request.target_new,
        base,
        failure(case.request, why) if why else scorer.now(case),
        {} if why else made.norms,
        None if why else core.perplexity_here(),
        case.name,
    )


def only_warnings(steps: Generator[Event, None, T]) -> Generator[Event, None, T]:
    """Runs a job to its end; passes on nothing of it but warnings, and gives what it returns."""
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            found: T = stop.value
            return found
        if isinstance(event, Warning):
            yield event
