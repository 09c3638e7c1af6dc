"""Batch-then-apply: updates made side by side on the present state, then applied and measured one after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from workbench.editing.cancel import Cancelled
from workbench.editing.together import make_updates
from workbench.edits import EditRequest, Recipe
from workbench.engine.applying import Prepared, apply_edit, ground_of
from workbench.engine.core import Core
from workbench.engine.guarding import Watch
from workbench.errors import EditError, RequestError
from workbench.events import EditCancelled, EditFailed, Event, StageStarted
from workbench.models.device import within_memory


def apply_together(
    core: Core,
    requests: Sequence[EditRequest],
    recipe: Recipe,
    *,
    index: int,
    of: int,
    cancelled: Callable[[], bool],
    watch: Watch | None = None,
) -> Generator[Event, None, int]:
    """Makes the updates of `requests` together, then commits each in turn; returns how many were committed.

    The steps that each took are told again in its own turn. One that cannot be made does not stop the others.

    Raises:
        StackError, StorageError: the stack did not take an edit; those before it stay.
        EditError: there is no second moment. ModelError, DeviceError: of the model and the device.
    """
    site = core.site(recipe.layer)
    core.live.adopt_site(site)
    yield StageStarted(stage="templates")
    ground = ground_of(core, site, recipe)
    loaded, applied = core.loaded, core.stack.applied
    try:
        with within_memory():
            made = yield from make_updates(
                loaded.model, loaded.tokenizer, site, requests, recipe, ground.templates, ground.moment, cancelled
            )
    except Cancelled:
        yield EditCancelled(position=core.stack.position, step=0)
        return 0
    together = {"requests": len(requests), "on": applied[-1].id if applied else None}
    committed = 0
    for number, (request, one) in enumerate(zip(requests, made, strict=True)):
        prepared = Prepared(one, ground, together)
        making = apply_edit(
            core, request, recipe, index=index + number, of=of, cancelled=cancelled, prepared=prepared, watch=watch
        )
        try:
            if (yield from making):
                committed += 1
            elif cancelled():
                break
        except (EditError, RequestError) as error:
            yield EditFailed(message=error.message, hint=error.hint, exit_code=error.exit_code)
    return committed
