"""Health along a stack: position after position, shown in memory only; afterwards the model is as it was."""

from __future__ import annotations

from collections.abc import Callable, Generator

from workbench.engine.core import Core
from workbench.engine.health.ground import Ground
from workbench.engine.health.measure import measure
from workbench.engine.states import State
from workbench.events import Event, HealthReport


def along(
    core: Core, line: State, every: int, *, sample: int | None = None, seed: int = 0, cancelled: Callable[[], bool]
) -> Generator[Event, None, tuple[HealthReport, ...]]:
    """Measures every `every`-th position of `line`, from the base on, and its end; the same facts are asked at each.

    Keys are held against each other at the end only. Returns the reports, in order, those before it was cancelled.

    Raises:
        StackError, VerificationError, BaseMismatch: an edit is damaged, or does not fit the model.
    """
    ground = Ground.of(core, line.edits, seed)
    end = len(line.edits)
    before = core.live.shown
    reports: list[HealthReport] = []
    updates = dict(zip((edit.id for edit in line.active), core.updates(line.active), strict=True))
    try:
        for position in (*range(0, end, every), end):
            if cancelled():
                break
            edits = [edit for edit in line.edits[:position] if edit.id in updates]
            core.live.show([updates[edit.id] for edit in edits])
            state = measure(
                core,
                sample=sample,
                seed=seed,
                edits=edits,
                position=position,
                ground=ground,
                keys=position == end,
                cancelled=cancelled,
            )
            reports.append((yield from state))
    finally:
        core.live.show(before)
    return tuple(reports)
