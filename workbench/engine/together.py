"""Batch-then-apply: updates made side by side on the present state, then applied and measured one after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from workbench.editing.cancel import Cancelled
from workbench.editing.together import make_updates
from workbench.edits import EditRequest, Recipe
from workbench.engine.applying import Prepared, apply_edit, ground_of
from workbench.engine.core import Core
from workbench.engine.guarding import Patience, Watch
from workbench.errors import EditError, RequestError
from workbench.events import EditCancelled, EditFailed, Event, StageStarted, TogetherStarted
from workbench.models.device import within_memory


@dataclass(frozen=True)
class Stops:
    """When the work ends before it is done."""

    cancelled: Callable[[], bool]
    """At once."""
    enough: Callable[[], bool]
    """After the edit in flight."""


def apply_together(
    core: Core,
    requests: Sequence[EditRequest],
    recipe: Recipe,
    *,
    index: int,
    of: int,
    stops: Stops,
    watch: Watch | None = None,
) -> Generator[Event, None, int]:
    """Makes the updates of `requests` together, then commits each in turn; returns how many were committed.

    The steps that each took are told again in its own turn. One that cannot be made does not stop the others.

    Raises:
        StackError, StorageError: the stack did not take an edit; those before it stay.
        EditError: there is no second moment. ModelError, DeviceError: of the model and the device.
    """
    if not requests:
        return 0
    site, cancelled, patience = core.site(recipe.layer), stops.cancelled, Patience(watch)
    first, how = requests[0].to_json(), recipe.to_json()
    yield TogetherStarted(request=first, recipe=how, module=site.module, requests=len(requests), index=index, of=of)
    core.live.adopt_site(site)
    yield StageStarted(stage="templates")
    ground = ground_of(core, site, recipe)
    loaded, applied = core.loaded, core.stack.applied
    try:
        with within_memory():
            updates = yield from make_updates(
                loaded.model, loaded.tokenizer, site, requests, recipe, ground.templates, ground.moment, cancelled
            )
    except Cancelled:
        yield EditCancelled(position=core.stack.position, step=0)
        return 0
    together = {"requests": len(requests), "on": applied[-1].id if applied else None}
    committed = 0
    for number, (request, one) in enumerate(zip(requests, updates, strict=True)):
        making = apply_edit(
            core,
            request,
            recipe,
            index=index + number,
            of=of,
            cancelled=cancelled,
            prepared=Prepared(one, ground, together),
            watch=patience.watch,
        )
        made = False
        try:
            made = yield from making
        except (EditError, RequestError) as error:
            yield EditFailed(message=error.message, hint=error.hint, exit_code=error.exit_code)
        committed += made
        if stops.enough() or (cancelled() and not made):
            break
    return committed
