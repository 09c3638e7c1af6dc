"""The health of one state, measured on the model as it stands: cheap enough to be asked all along a stack."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence

from workbench.editing.cancel import check
from workbench.engine.core import Core
from workbench.engine.health.cloze import complete
from workbench.engine.health.colliding import collisions
from workbench.engine.health.drifting import moved, recorded
from workbench.engine.health.ground import Ground, entropy_of
from workbench.engine.health.retaining import retained
from workbench.events import Event, HealthReport
from workbench.models.device import within_memory
from workbench.stack.record import Edit


def measure(
    core: Core,
    *,
    sample: int | None = None,
    seed: int = 0,
    edits: Sequence[Edit] | None = None,
    position: int | None = None,
    ground: Ground | None = None,
    keys: bool = True,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, HealthReport]:
    """Measures the state that the model shows; the report is also the last event.

    Args:
        core: the model, and the stack that is open.
        sample: how many earlier facts are asked; None: all.
        seed: which ones, and which facts are asked that no edit is about.
        edits: those that the model shows, oldest first; None: the active ones of the stack.
        position: where that is; None: the stack's own.
        ground: what to ask besides; None: `Ground.of` these edits.
        keys: whether to look for collisions, which compares every edit with every other.
        cancelled: asked between the parts, and every few prompts.

    Raises:
        Cancelled: `cancelled` said so. DeviceError: the device ran out of memory.
    """
    shown = core.stack.active if edits is None else tuple(edits)
    check(cancelled)
    with within_memory():
        on = ground or Ground.of(core, shown, seed)
        weights = moved(core)
        found = collisions(core, shown, core.live.shown) if keys else None
        check(cancelled)
        held = yield from retained(core, shown, sample, seed, cancelled)
        cloze = yield from complete(core, on.items, cancelled)
        report = HealthReport(
            position=core.stack.position if position is None else position,
            applied=len(shown),
            edit=shown[-1].id if shown else "",
            collisions=found.count if found else None,
            collision_worst=found.worst if found else None,
            collision_edits=found.edits if found else (),
            perplexity=core.perplexity_here(),
            perplexity_base=core.perplexity_base(),
            entropy=entropy_of(core, on.prompts, on.seed),
            entropy_base=on.entropy_base,
            cloze=cloze.share,
            cloze_base=cloze.share_base,
            cloze_error=cloze.error,
            cloze_asked=len(cloze.right),
            **dataclasses.asdict(weights),
            **dataclasses.asdict(recorded(shown)),
            **dataclasses.asdict(held),
        )
    yield report
    return report
