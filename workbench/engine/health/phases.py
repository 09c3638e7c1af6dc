"""Which phase a stack is in: stable, gradual forgetting or catastrophic; and where it broke.

The phases are those of *Model Editing at Scale leads to Gradual and Catastrophic Forgetting* (arXiv 2401.07453):

- **broken** is a state whose perplexity on held-out text is more than BROKEN_PERPLEXITY times the base's, or that still
  holds fewer than BROKEN_RETENTION of the earlier edits that took (FEWEST_ASKED of them at least); along a curve also
  one that holds less than half of what the state before it on the curve held.
- **catastrophic**: some state is broken, and one single edit did it. That edit is found by bisecting the positions
  between the last state that is not broken and the first that is; it takes perplexity to JUMP times what it was right
  before, or halves retention.
- **gradual**: no single edit did it, but edits are being forgotten (the slope of *lost* on the number of later edits is
  above 0 with its whole 95 % interval), or held-out text became harder (perplexity above WORSE_PERPLEXITY times the
  base's), or facts that nobody edited are answered worse (by more than 1.96 standard errors), or a state is broken.
- **stable**: none of these.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from workbench.engine.bisecting import bisect
from workbench.engine.core import Core
from workbench.engine.health.retaining import retained
from workbench.engine.health.vitals import BROKEN_RETENTION, Vitals
from workbench.engine.health.wearing import worn
from workbench.engine.returning import returned
from workbench.engine.states import State
from workbench.events import Bisected, Diagnosed, Event, HealthReport, ProbeResult

JUMP = 1.5
"""What one edit multiplies perplexity by, at least, if it is to have broken the model alone."""
SAMPLE = 100
"""Earlier facts that are asked, at most, at each position of the search."""

Cancelled = Callable[[], bool]
T = TypeVar("T")


def diagnose(
    core: Core, line: State, reports: Sequence[HealthReport], *, seed: int = 0, cancelled: Cancelled
) -> Generator[Event, None, Diagnosed | None]:
    """Names the phase of `line`, whose end the last of `reports` is about; the Diagnosed is also the last event.

    Where a state is broken, positions are asked in memory; afterwards the model is as it was. None: it was cancelled.

    Args:
        core: the model.
        line: the edits, from the base to the state that is judged.
        reports: of positions of the line, in order; one is enough.
        seed: which earlier facts are asked.
        cancelled: asked before every position.
    """
    span = _first_break(reports)
    found = worn(core, reports, broken=span is not None)
    if span:
        search = _Searched(line, seed, span.floor)
        end = yield from bisect(core, line, span.low, span.high, search, cancelled=cancelled)
        if end is None:
            return None
        found = _culprit(core, line, end, search.seen) or found
    yield found
    return found


@dataclass(frozen=True)
class _Span:
    """Where something broke: after `low`, and at `high` or before it."""

    low: int
    high: int
    floor: float
    """A state that holds less than this share of the edits is broken."""


def _first_break(reports: Sequence[HealthReport]) -> _Span | None:
    before, low = Vitals(None, None, 0, None), 0
    for report in reports:
        now, floor = Vitals.of(report), max(BROKEN_RETENTION, before.remembered / 2)
        if report.position and now.broken(floor):
            return _Span(low, report.position, floor)
        before, low = now, report.position
    return None


@dataclass
class _Searched:
    """Asks one position of the search; remembers what it found by the number of edits applied there."""

    line: State
    seed: int
    floor: float
    seen: dict[int, Vitals] = field(default_factory=dict)

    def __call__(self, core: Core) -> ProbeResult:
        edits = self.line.active[: len(core.live.shown)]
        held = returned(retained(core, edits, SAMPLE, self.seed, lambda: False))
        vitals = Vitals(core.perplexity_here(), core.perplexity_base(), held.took, held.retention)
        self.seen[len(edits)] = vitals
        return ProbeResult(
            kind="perplexity",
            prompt="held-out text",
            value=vitals.perplexity,
            before=vitals.perplexity_base,
            passed=not vitals.broken(self.floor),
        )


def _culprit(core: Core, line: State, end: Bisected, seen: dict[int, Vitals]) -> Diagnosed | None:
    """The edit that broke the model alone; None: the change that was found is one small step of many."""
    if end.outcome != "broke":
        return None
    applied = sum(edit.id not in line.stack.off for edit in line.edits[: end.position])
    before, after = seen[applied - 1], seen[applied]
    if not (after.times >= JUMP * before.times or math.isnan(after.times)) and after.remembered > before.remembered / 2:
        return None
    request = line.edits[end.position - 1].request
    stack = shlex.quote(str(core.stack.folder))
    return Diagnosed(
        phase="catastrophic",
        message=f"Edit {end.position} ({request.subject} → {request.target_new}) broke the model: "
        f"{_told(before, after)}.",
        hint=f"Go back to before it: workbench travel {stack} {end.low}. Or leave it out and compute the later edits "
        f"anew: workbench toggle {stack} {end.position} --resolve.",
        position=end.position,
        edit=end.edit,
        perplexity_before=before.perplexity,
        perplexity_after=after.perplexity,
        retention_before=before.retention,
        retention_after=after.retention,
        probed=end.probes,
    )


def _told(before: Vitals, after: Vitals) -> str:
    parts = []
    if before.perplexity is not None and after.perplexity is not None:
        parts.append(f"perplexity {before.perplexity:.4g} → {after.perplexity:.4g}")
    if before.retention is not None and after.retention is not None:
        parts.append(f"earlier edits that hold {before.retention:.0%} → {after.retention:.0%}")
    return ", ".join(parts) or "nothing before it holds any more"
