"""Deriving an edit anew, from the requests, recipe and context templates in its file, on the state the model shows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from workbench.editing.second_moment import SecondMoment
from workbench.engine.applying import Ground, Making
from workbench.engine.batching import BatchGround, BatchMaking
from workbench.engine.core import Core
from workbench.errors import EditError
from workbench.events import EditStarted, Event
from workbench.models.families import EditSite
from workbench.stack.record import Edit, Factors
from workbench.text import visible


def check_derivable(edit: Edit) -> None:
    """Raises EditError if it is not known how the update of `edit` was made."""
    if edit.imported:
        raise EditError(
            f"The adapter {visible(edit.request.subject)} cannot be made anew: how it was made is not known.",
            "Leave out --resolve: then all updates are taken as they are.",
        )


def remake(
    core: Core,
    edit: Edit,
    on: Sequence[tuple[Factors, ...]],
    *,
    index: int,
    of: int,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, tuple[Edit, tuple[Factors, ...]]]:
    """`edit` made anew on the updates `on`, which the model shows then with the new one; nothing is saved.

    Raises:
        EditError: a request cannot be made here, or C or the modules are others than those it was made with.
        Cancelled, DeviceError: as the making of an edit.
    """
    sites = _sites_of(core, edit)
    yield EditStarted(
        request=edit.request.to_json(),
        recipe=edit.recipe.to_json(),
        module=sites[-1].module,
        index=index,
        of=of,
        requests=len(edit.requests),
    )
    core.live.show(on)
    if edit.recipe.batched:
        batch = BatchMaking(core, sites, edit.requests, edit.recipe, cancelled, whole=True)
        return (
            yield from batch.make(
                lambda: BatchGround(edit.templates, tuple(_moment_of(core, edit, site) for site in sites))
            )
        )
    (site,) = sites
    making = Making(core, site, edit.request, edit.recipe, cancelled)
    return (yield from making.make(lambda: Ground(edit.templates, _moment_of(core, edit, site))))


def _sites_of(core: Core, edit: Edit) -> list[EditSite]:
    """Where `edit` was made, by layer. Raises EditError if that is elsewhere than where this model would make it."""
    layers = edit.recipe.edited_layers
    sites = [core.site(layer) for layer in layers]
    if {site.module for site in sites} != edit.weights.keys():
        where = f"layer {layers[0]}" if len(layers) == 1 else f"layers {', '.join(map(str, layers))}"
        raise EditError(
            f"The edit {edit.id[:8]} cannot be made anew: it changes other modules than those of {where}.",
            "Take it as it is stored.",
        )
    return sites


def _moment_of(core: Core, edit: Edit, site: EditSite) -> SecondMoment | None:
    """The C that `edit` was made with at `site`; None: the identity. Raises EditError if the one here is another."""
    made_with = edit.moment_of(site.module)["fingerprint"]
    if made_with == "identity":
        return None
    moment = core.second_moment(site)
    if moment.fingerprint != made_with:
        raise EditError(
            f"The edit {edit.id[:8]} was made with another second moment C than the one at hand.",
            "Get that one, or take the edit as it is stored.",
        )
    return moment
