"""One look at a stack: its state, or a curve along it, and the phase that it is in."""

from __future__ import annotations

from collections.abc import Callable, Generator

from workbench.engine.at_state import PRESENT, at_state
from workbench.engine.core import Core
from workbench.engine.health.along import along
from workbench.engine.health.measure import measure
from workbench.engine.health.phases import diagnose
from workbench.events import Diagnosed, Event


def examine_stack(
    core: Core,
    at: str = PRESENT,
    *,
    sample: int | None = None,
    seed: int = 0,
    every: int | None = None,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, Diagnosed | None]:
    """Yields a HealthReport of the state `at`, or of every `every`-th position up to it, and what it was found to be.

    The stack is only read, and the model left as it was. Returns the Diagnosed; None if it was cancelled in between.

    Raises:
        UsageError: `at` names no state. Cancelled: `cancelled` said so.
        StackError, VerificationError, BaseMismatch: an edit is damaged, or does not fit the model.
    """
    with at_state(core, at) as line:
        if every:
            reports = yield from along(core, line, every, sample=sample, seed=seed, cancelled=cancelled)
        else:
            here = measure(
                core, sample=sample, seed=seed, edits=line.active, position=len(line.edits), cancelled=cancelled
            )
            reports = ((yield from here),)
        return (yield from diagnose(core, line, reports, seed=seed, cancelled=cancelled)) if reports else None
