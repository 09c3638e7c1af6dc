"""The health of one state, measured on the model as it stands: cheap enough to be asked all along a stack."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence

from workbench.editing.cancel import check
from workbench.engine.core import Core
from workbench.engine.health.cloze import Item, complete, items_for
from workbench.engine.health.colliding import collisions
from workbench.engine.health.drifting import moved, recorded
from workbench.engine.health.retaining import retained
from workbench.events import Event, HealthReport
from workbench.models.device import within_memory
from workbench.stack.record import Edit

Cancelled = Callable[[], bool]


def measure(
    core: Core,
    *,
    sample: int | None = None,
    seed: int = 0,
    edits: Sequence[Edit] | None = None,
    items: Sequence[Item] | None = None,
    keys: bool = True,
    cancelled: Cancelled,
) -> Generator[Event, None, HealthReport]:
    """Measures the state that the model shows; the report is also the last event.

    Args:
        core: the model, and the stack that is open.
        sample: how many earlier facts are asked; None: all.
        seed: which ones, and which facts are asked that no edit is about.
        edits: those that the model shows, oldest first; None: the active ones of the stack.
        items: facts that no edit is about; None: ones that ship, see `cloze`.
        keys: whether to look for collisions, which compares every edit with every other.
        cancelled: asked between the parts, and every few prompts.

    Raises:
        Cancelled: `cancelled` said so. DeviceError: the device ran out of memory.
    """
    shown = core.stack.active if edits is None else tuple(edits)
    asked = items_for(core, [one for edit in shown for one in edit.requests], seed) if items is None else items
    check(cancelled)
    with within_memory():
        weights = moved(core)
        found = collisions(core, shown, core.live.shown) if keys else None
        check(cancelled)
        held = yield from retained(core, shown, sample, seed, cancelled)
        cloze = yield from complete(core, asked, cancelled)
        report = HealthReport(
            position=_position(core, shown, edits),
            applied=len(shown),
            edit=shown[-1].id if shown else "",
            collisions=found.count if found else None,
            collision_worst=found.worst if found else None,
            perplexity=core.perplexity_here(),
            perplexity_base=core.perplexity_base(),
            **dataclasses.asdict(weights),
            **dataclasses.asdict(recorded(shown)),
            **dataclasses.asdict(held),
            cloze=cloze.share,
            cloze_base=cloze.share_base,
            cloze_asked=len(cloze.right),
        )
    yield report
    return report


def _position(core: Core, shown: Sequence[Edit], given: Sequence[Edit] | None) -> int:
    """The stack's position or, of a state that was `given`, where on the line its newest edit stands; 0: the base."""
    if given is None:
        return core.stack.position
    numbers = {edit.id: number for number, edit in enumerate(core.stack.line, 1)}
    return numbers.get(shown[-1].id, len(shown)) if shown else 0
