"""Whether earlier edits still hold: all of them or a sample, and how much is lost with every edit that comes after.

A fact that a later edit says otherwise on purpose is not asked. One whose target did not even win right after its own
edit has nothing to lose: retention is taken over those that took.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from workbench.edits import EditRequest
from workbench.engine.core import Core
from workbench.engine.earlier import standing
from workbench.engine.evaluating.cases import CaseScore, score_cases, summary
from workbench.events import Event
from workbench.stack.record import Edit

FEWEST = 10
"""Facts that took without which nothing is said about a slope."""
NAMED = 12
"""Edits that no longer hold and are named."""
INTERVAL = 1.96
"""Standard errors on each side of a slope: 95 %."""


@dataclass(frozen=True)
class Fact:
    """One request that was edited in."""

    edit: Edit
    request: EditRequest
    age: int
    """Edits applied after it."""
    took: bool
    """Its target won right after its own edit; also where nothing was recorded."""


@dataclass(frozen=True)
class Slope:
    """What is lost with every later edit, and the 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Retained:
    """What is left of the facts; as HealthReport names it."""

    asked: int = 0
    of: int = 0
    es: float | None = None
    ps: float | None = None
    ns: float | None = None
    took: int = 0
    kept: int = 0
    retention: float | None = None
    retention_error: float | None = None
    lost: tuple[int, ...] = ()
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None


def facts_of(edits: Sequence[Edit]) -> list[Fact]:
    """What the applied `edits`, oldest first, say last about every fact; imported updates say nothing."""
    by_number = {edit.number: (edit, len(edits) - place) for place, edit in enumerate(edits, 1)}
    found = ((*by_number[number], request) for number, request in standing(edits, ()))
    return [Fact(edit, request, age, _took(edit, request)) for edit, age, request in found]


def _took(edit: Edit, request: EditRequest) -> bool:
    """Whether no efficacy probe of `request` failed when `edit` was made."""
    probes = edit.metrics.get("probes")
    rows = [row for row in probes if isinstance(row, dict)] if isinstance(probes, list) else []
    about = [row for row in rows if row.get("kind") == "efficacy" and row.get("prompt") == request.text]
    return all(row.get("passed") is not False for row in about)


def sampled(found: Sequence[Fact], sample: int | None, seed: int) -> list[Fact]:
    """All of them, or `sample` of them, in order.

    Which ones is decided fact by fact, by a hash of the seed, the edit's number and the request: samples of two states
    of a line overlap as much as they can, so that a curve along it does not jump for having asked others, and a stack
    that is made again is asked the same.
    """
    if sample is None or sample >= len(found):
        return [*found]
    ranked = sorted(
        found, key=lambda one: hashlib.sha256(f"{seed} {one.edit.number} {one.request.text}".encode()).digest()
    )
    chosen = {id(one) for one in ranked[:sample]}
    return [one for one in found if id(one) in chosen]


def retained(
    core: Core, edits: Sequence[Edit], sample: int | None, seed: int, cancelled: Callable[[], bool]
) -> Generator[Event, None, Retained]:
    """Asks the probes of the applied `edits` of the model as it is now. Raises Cancelled."""
    every = facts_of(edits)
    asked = sampled(every, sample, seed)
    cases = yield from score_cases(core, [one.request for one in asked], cancelled=cancelled)
    return _summed(every, asked, cases)


def _summed(every: Sequence[Fact], asked: Sequence[Fact], cases: Sequence[CaseScore]) -> Retained:
    score = summary(cases)
    took = [(one, case.measure("es") == 1.0) for one, case in zip(asked, cases, strict=True) if one.took]
    kept = sum(held for _, held in took)
    lost = dict.fromkeys(one.edit.number for one, held in took if not held)
    slope = forgetting([one.age for one, _ in took], [not held for _, held in took])
    return Retained(
        asked=len(asked),
        of=len(every),
        es=score.es,
        ps=score.ps,
        ns=score.ns,
        took=len(took),
        kept=kept,
        retention=kept / len(took) if took else None,
        retention_error=_error(kept, len(took), sum(one.took for one in every)) if took else None,
        lost=tuple(lost)[:NAMED],
        slope=slope.value if slope else None,
        slope_low=slope.low if slope else None,
        slope_high=slope.high if slope else None,
    )


def _error(kept: int, asked: int, of: int) -> float:
    """Standard error of a share from a sample of `asked` out of `of`, drawn without replacement."""
    share = kept / asked
    return math.sqrt(share * (1 - share) / asked * (1 - asked / of))


def forgetting(ages: Sequence[int], lost: Sequence[bool]) -> Slope | None:
    """The share of the edits that is lost with every later edit; None for fewer than FEWEST, or all of one age."""
    return least_squares(ages, [float(one) for one in lost]) if len(ages) >= FEWEST else None


def least_squares(xs: Sequence[float], ys: Sequence[float]) -> Slope | None:
    """The slope of `ys` on `xs`; None for fewer than three, or where all `xs` are one.

    The interval takes errors of unequal size (White's, HC1): a share that is lost varies most around one half.
    """
    count = len(xs)
    if count < 3 or len({*xs}) == 1:
        return None
    middle, level = sum(xs) / count, sum(ys) / count
    spread = sum((x - middle) ** 2 for x in xs)
    slope = sum((x - middle) * y for x, y in zip(xs, ys, strict=True)) / spread
    left = [(x - middle) * (y - level - slope * (x - middle)) for x, y in zip(xs, ys, strict=True)]
    error = math.sqrt(count / (count - 2) * sum(one * one for one in left)) / spread
    return Slope(slope, slope - INTERVAL * error, slope + INTERVAL * error)
