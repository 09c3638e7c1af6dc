"""One edit of many requests, from the requests to a committed file: templates, keys, optimise, insert, probe, save.

MEMIT and EMMET make one update of all requests, in one module or several; all modules change at once, or none does.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from workbench.editing.batch import Batch, make_batch
from workbench.editing.cancel import check
from workbench.editing.second_moment import SecondMoment
from workbench.edits import BATCHED, EditRequest, Recipe
from workbench.engine.batch_probing import BatchProbing
from workbench.engine.batch_record import missed, norms_record, probes_record, steps_record
from workbench.engine.core import Core
from workbench.engine.guarding import Watch
from workbench.engine.measuring import Measuring, committed
from workbench.engine.norms import module_norms
from workbench.errors import EditError, RequestError, UsageError
from workbench.events import (
    EditStarted,
    Event,
    NormReport,
    StageStarted,
    StepTogether,
    Warning,  # noqa: A004  the wire's word
)
from workbench.models.families import EditSite
from workbench.stack.limits import MAX_FILE, MAX_HEADER, MAX_REQUESTS
from workbench.stack.record import Base, Edit, Factors, MomentUsed, WeightHashes, moment_fields
from workbench.stack.strictjson import canonical
from workbench.text import shortened

MOST_NAMED = 3
"""Requests that cannot be made which are named; the others are counted."""


def apply_batch(
    core: Core,
    requests: Sequence[EditRequest],
    recipe: Recipe,
    *,
    index: int,
    of: int,
    cancelled: Callable[[], bool],
    watch: Watch | None = None,
) -> Generator[Event, None, bool]:
    """Makes, measures and commits one edit of all `requests`; returns False if it was cancelled, or a guard ended it.

    A request that cannot be made is named, and is not in the edit. `watch`: what is asked before the edit is committed.

    Raises:
        UsageError: the method makes an edit of each request, or the requests are too many or none.
        EditError: none of them can be made, or the edit's file would be too large.
        StackError, StorageError: the stack did not take it.
        DeviceError: the device ran out of memory.
    """
    started = time.monotonic()
    check_batch(requests, recipe)
    sites = sites_of(core, recipe)
    yield EditStarted(
        request=requests[0].to_json(),
        recipe=recipe.to_json(),
        module=sites[-1].module,
        index=index,
        of=of,
        requests=len(requests),
    )
    check_size(requests, sites)
    making = BatchMaking(core, sites, requests, recipe, cancelled)
    return (yield from committed(core, making, sites[-1].module, watch, started))


def check_batch(requests: Sequence[EditRequest], recipe: Recipe) -> None:
    """Raises UsageError unless `recipe` makes one edit of so many requests."""
    if not recipe.batched:
        raise UsageError(
            f"{recipe.method} makes an edit of each request.", f"One edit of many: --method {' or '.join(BATCHED)}."
        )
    if not 0 < len(requests) <= MAX_REQUESTS:
        raise UsageError(f"One edit holds 1 to {MAX_REQUESTS} requests, not {len(requests)}.", "Make several edits.")


def check_size(requests: Sequence[EditRequest], sites: Sequence[EditSite]) -> None:
    """Raises EditError, before hours are spent, if the file of such an edit could not be read again."""
    count = len(requests)
    factors = sum(4 * min(count, site.d_in, site.d_out) * (site.d_in + site.d_out) for site in sites)
    text = len(canonical(canonical([request.to_json() for request in requests])).encode())  # as text within a text
    if factors > MAX_FILE - MAX_HEADER or text > MAX_HEADER // 2:
        raise EditError(
            f"An edit of these {count} requests would not fit into one file.",
            "Make several edits: fewer requests in each, or fewer layers.",
        )


def sites_of(core: Core, recipe: Recipe) -> tuple[EditSite, ...]:
    """The modules that `recipe` changes, by layer, all of them adopted. Raises ModelError, BaseMismatch."""
    sites = tuple(core.site(layer) for layer in recipe.edited_layers)
    for site in sites:
        core.live.adopt_site(site)
    return sites


@dataclasses.dataclass(frozen=True)
class BatchGround:
    """What a batch is derived with besides its requests and recipe."""

    templates: tuple[str, ...]
    moments: tuple[SecondMoment | None, ...]
    """C of each module, by layer; None: C = I."""


def batch_ground(core: Core, sites: Sequence[EditSite], recipe: Recipe) -> BatchGround:
    """What `recipe` asks for. Raises EditError where there is no second moment."""
    moments = tuple(core.second_moment(site) if recipe.second_moment else None for site in sites)
    return BatchGround(core.templates(recipe), moments)


class BatchMaking(Measuring):
    """The edit of many requests.

    With `whole` a request that cannot be made is an error, and not left out.
    """

    def __init__(
        self,
        core: Core,
        sites: Sequence[EditSite],
        requests: Sequence[EditRequest],
        recipe: Recipe,
        cancelled: Callable[[], bool],
        *,
        whole: bool = False,
    ) -> None:
        super().__init__(core, cancelled)
        self.sites, self.requests, self.recipe, self.whole = sites, requests, recipe, whole

    def commit(self, watch: Watch | None = None) -> Generator[Event, None, Edit]:
        """All stages; returns the committed edit. Raises Discarded if that is what becomes of it."""
        core = self.core
        edit, factors = yield from self.make(lambda: batch_ground(core, self.sites, self.recipe))
        edit = yield from self.stand(edit, watch)
        yield StageStarted(stage="save")
        return core.stack.append(dataclasses.replace(edit, made_by=core.made_by(core.stack.applied)), factors)

    def make(self, ground: Callable[[], BatchGround]) -> Generator[Event, None, tuple[Edit, tuple[Factors, ...]]]:
        """All stages but the last; the model shows the edit then, and nothing is saved."""
        core = self.core
        check(self.cancelled)
        before = core.perplexity_here()
        yield StageStarted(stage="templates")
        on = ground()
        batch = yield from self._update(on)
        made = yield from self._made(batch)
        yield from missed(batch.parts)
        probing = BatchProbing(core, made, self.recipe.seed, len(self.requests) - len(made))
        yield from probing.settle(self.cancelled)
        check(self.cancelled)
        yield StageStarted(stage="insert")
        factors = tuple(Factors(part.module, part.a.numpy(), part.b.numpy()) for part in batch.parts)
        hashes, norms = self._insert(factors)
        yield from norms
        yield StageStarted(stage="probe")
        probed = yield from probing.ask(self.cancelled)
        sample = yield from self.sample(made[0])
        perplexity = yield from self.read_perplexity(before)
        check(self.cancelled)
        edit = Edit(
            requests=made,
            recipe=self.recipe,
            base=self._base(),
            templates=on.templates,
            **self._moments(on),
            tokenizer=core.loaded.tokenizer_fingerprint,
            weights=hashes,
            metrics={
                "trace": steps_record(self.steps),
                **norms_record(norms, batch.parts, core.live.drift()),
                **probes_record(probed, sample),
                "perplexity": perplexity,
            },
            made_by=core.made_by(),
        )
        return edit, factors

    def _update(self, on: BatchGround) -> Generator[Event, None, Batch]:
        loaded = self.core.loaded
        making = make_batch(
            loaded.model,
            loaded.tokenizer,
            self.sites,
            self.requests,
            self.recipe,
            on.templates,
            on.moments,
            self.cancelled,
        )
        while True:
            try:
                event = next(making)
            except StopIteration as stop:
                batch: Batch = stop.value
                return batch
            if isinstance(event, StepTogether):
                self.steps.append(event)
            yield event

    def _made(self, batch: Batch) -> Generator[Event, None, tuple[EditRequest, ...]]:
        """The requests that are in the update; says which are not. Raises EditError if none is, or not the whole."""
        made = tuple(request for place, request in enumerate(self.requests) if place not in batch.failed)
        failed = [(self.requests[place], batch.failed[place]) for place in sorted(batch.failed)]
        if failed and (self.whole or not made):
            request, error = failed[0]
            raise EditError(f"{_named(request)} cannot be made. {error.message}", error.hint)
        yield from _left_out(failed)
        return made

    def _insert(self, factors: tuple[Factors, ...]) -> tuple[dict[str, WeightHashes], list[NormReport]]:
        live, modules = self.core.live, [one.module for one in factors]
        held = {module: live.parameter(module).detach().clone() for module in modules}
        before = live.hashes(modules)
        live.show((*live.shown, factors))
        after = live.hashes(modules)
        norms = [
            module_norms(
                one.module, one, held[one.module], live.parameter(one.module).detach(), live.pristine(one.module)
            )
            for one in factors
        ]
        return {module: WeightHashes(before=before[module], after=after[module]) for module in modules}, norms

    def _base(self) -> Base:
        base = self.core.base()
        for site in self.sites:
            base.modules.update(self.core.base(site).modules)
        return base

    def _moments(self, on: BatchGround) -> dict[str, Any]:
        return moment_fields(
            {
                site.module: MomentUsed(fingerprint=moment.fingerprint, ridge=moment.ridge)
                if moment
                else MomentUsed(fingerprint="identity", ridge=0.0)
                for site, moment in zip(self.sites, on.moments, strict=True)
            }
        )


def _left_out(failed: Sequence[tuple[EditRequest, EditError | RequestError]]) -> Iterator[Warning]:
    for request, error in failed[:MOST_NAMED]:
        yield Warning(message=f"{_named(request)} is left out. {error.message}", hint=error.hint)
    if len(failed) > MOST_NAMED:
        yield Warning(message=f"{len(failed) - MOST_NAMED} more cannot be made either, and are left out.")


def _named(request: EditRequest) -> str:
    return f"{shortened(request.text, 60)} → {shortened(request.target_new, 30)}"
