"""One edit of one request, from the request to a committed file: templates, keys, optimise, insert, probe, save."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator
from typing import Any

from workbench.editing.cancel import check
from workbench.editing.edit import make_update
from workbench.editing.second_moment import SecondMoment
from workbench.editing.together import Made
from workbench.editing.update import Update
from workbench.edits import EditRequest, Recipe
from workbench.engine.base_answers import settled_here
from workbench.engine.core import Core
from workbench.engine.guarding import Watch
from workbench.engine.measuring import Measuring, as_table, committed, memory_now
from workbench.engine.norms import norm_report
from workbench.events import (
    EditStarted,
    Event,
    KeyReady,
    NormReport,
    OptimStep,
    ProbeResult,
    StageStarted,
)
from workbench.models.families import EditSite
from workbench.probing.probes import Probe, ask
from workbench.stack.record import Edit, Factors


def apply_edit(
    core: Core,
    request: EditRequest,
    recipe: Recipe,
    *,
    index: int,
    of: int,
    cancelled: Callable[[], bool],
    prepared: Prepared | None = None,
    watch: Watch | None = None,
) -> Generator[Event, None, bool]:
    """Makes, measures and commits one edit; returns False if it was cancelled, or a guard's question ended it.

    `prepared`: its update, made before, together with others. `watch`: what is asked before it is committed.

    Raises:
        EditError, RequestError: the edit cannot be made.
        StackError, StorageError: the stack did not take it.
        DeviceError: the device ran out of memory.
    """
    started = time.monotonic()
    site = core.site(recipe.layer)
    yield EditStarted(request=request.to_json(), recipe=recipe.to_json(), module=site.module, index=index, of=of)
    core.live.adopt_site(site)
    making = Making(core, site, request, recipe, cancelled, prepared)
    return (yield from committed(core, making, site.module, watch, started))


@dataclasses.dataclass(frozen=True)
class Ground:
    """What an update is derived with besides its request and recipe."""

    templates: tuple[str, ...]
    moment: SecondMoment | None
    """None: C = I."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An update that was made together with others, and on what."""

    made: Made
    ground: Ground
    together: dict[str, Any]
    """How many requests, and the edit that the model stood at: {"requests": 8, "on": id or None}."""


class Making(Measuring):
    """The edit of one request."""

    def __init__(
        self,
        core: Core,
        site: EditSite,
        request: EditRequest,
        recipe: Recipe,
        cancelled: Callable[[], bool],
        prepared: Prepared | None = None,
    ) -> None:
        super().__init__(core, cancelled)
        self.site, self.request, self.recipe, self.prepared = site, request, recipe, prepared

    def commit(self, watch: Watch | None = None) -> Generator[Event, None, Edit]:
        """All stages; returns the committed edit. Raises Discarded if that is what becomes of it."""
        core = self.core
        edit, factors = yield from self.make(lambda: ground_of(core, self.site, self.recipe))
        edit = yield from self.stand(edit, watch)
        yield StageStarted(stage="save")
        made_by = core.made_by(core.stack.applied)
        if self.prepared:
            made_by["together"] = self.prepared.together
        return core.stack.append(dataclasses.replace(edit, made_by=made_by), factors)

    def make(self, ground: Callable[[], Ground]) -> Generator[Event, None, tuple[Edit, tuple[Factors, ...]]]:
        """All stages but the last; the model shows the edit then, and nothing is saved."""
        core = self.core
        check(self.cancelled)
        probes = settled_here(core, self.request)
        perplexity_before = self.core.perplexity_here()
        check(self.cancelled)
        yield StageStarted(stage="templates")
        on = self.prepared.ground if self.prepared else ground()
        update = yield from self._update(on)
        check(self.cancelled)
        yield StageStarted(stage="insert")
        factors = (Factors(self.site.module, update.u[None, :].numpy(), update.v[:, None].numpy()),)
        hashes, norms = self._insert(factors, update)
        yield norms
        yield StageStarted(stage="probe")
        results = yield from self._probe(probes)
        perplexity = yield from self.read_perplexity(perplexity_before)
        check(self.cancelled)
        edit = Edit(
            requests=(self.request,),
            recipe=self.recipe,
            base=core.base(self.site),
            templates=on.templates,
            second_moment=on.moment.fingerprint if on.moment else "identity",
            ridge=on.moment.ridge if on.moment else 0.0,
            tokenizer=core.loaded.tokenizer_fingerprint,
            weights={self.site.module: hashes},
            metrics=self._metrics(norms, results, perplexity),
            made_by=core.made_by(),
        )
        return edit, factors

    def _update(self, on: Ground) -> Generator[Event, None, Update]:
        loaded = self.core.loaded
        making = (
            _told(self.prepared.made)
            if self.prepared
            else make_update(
                loaded.model,
                loaded.tokenizer,
                self.site,
                self.request,
                self.recipe,
                on.templates,
                on.moment,
                self.cancelled,
            )
        )
        while True:
            try:
                event = next(making)
            except StopIteration as stop:
                update: Update = stop.value
                return update
            if isinstance(event, OptimStep):
                self.steps.append(event)
            yield event
            if isinstance(event, KeyReady):
                self.key = event
                yield from memory_now(self.core)

    def _insert(self, factors: tuple[Factors, ...], update: Update) -> tuple[Any, NormReport]:
        live, module = self.core.live, self.site.module
        before = live.parameter(module).detach().clone()
        sha_before = live.hashes([module])[module]
        live.show((*live.shown, factors))
        after = live.parameter(module).detach()
        norms = norm_report(self.site, update, factors[0], before, after, live.pristine(module))
        return {"before": sha_before, "after": live.hashes([module])[module]}, norms

    def _probe(self, probes: list[Probe]) -> Generator[Event, None, list[ProbeResult]]:
        loaded = self.core.loaded
        results = ask(loaded.model, loaded.tokenizer, probes, side="stack")
        yield from results
        sample = yield from self.sample(self.request)
        return [*results, sample]

    def _metrics(
        self, norms: NormReport, results: list[ProbeResult], perplexity: dict[str, float | None]
    ) -> dict[str, Any]:
        return {
            "trace": [as_table(step, "p_contexts", "seconds", "of") for step in self.steps],
            "norms": as_table(norms, "module"),
            "probes": [as_table(result, "edit", "side", "value") for result in results],
            "perplexity": perplexity,
        }


def ground_of(core: Core, site: EditSite, recipe: Recipe) -> Ground:
    """What `recipe` asks for. Raises EditError where there is no second moment."""
    moment = core.second_moment(site) if recipe.second_moment else None
    return Ground(core.templates(recipe), moment)


def _told(made: Made) -> Generator[Event, None, Update]:
    """What an edit that was made together with others would have said alone. Raises the error that it ended with."""
    yield StageStarted(stage="keys")
    for event in made.told:
        if isinstance(event, OptimStep) and event.step == 1:
            yield StageStarted(stage="optimise")
        yield event
    if not isinstance(made.outcome, Update):
        raise made.outcome
    return made.outcome
