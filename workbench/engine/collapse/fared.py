"""How a method fared on the sequence: what stands out of its norms, and what became of the model. From files alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from workbench.edits import Method
from workbench.engine.collapse.jumps import Jump, jumps
from workbench.engine.collapse.sequence import Shared
from workbench.engine.evaluating.record import CaseLine
from workbench.engine.evaluating.results import Results
from workbench.events import Diagnosed, HealthReport, Jumped, Reproduced
from workbench.probing.metrics import summary


@dataclass(frozen=True)
class Curve:
    """Health along a stack."""

    reports: tuple[HealthReport, ...]
    """From the base to the end."""
    phase: Diagnosed


def fared(
    method: Method, results: Results, shared: Shared, curve: Curve, batch: int
) -> tuple[*tuple[Jumped, ...], Reproduced]:
    """Each edit of `method` that stands out, in order, and last how the method fared."""
    lines = [results.cases[case.number] for case in shared.dataset.cases]
    made = _edits(lines, batch)
    norms = [line.norms.get("delta_norm", math.inf) for line in made]
    jumped = tuple(_jumped(method, made, jump, shared) for jump in jumps(norms))
    return (*jumped, _fared(method, lines, made, jumped, shared, curve, batch))


def _edits(lines: Sequence[CaseLine], batch: int) -> list[CaseLine]:
    """A line for every edit that was made, the first of its requests."""
    units = [lines[start : start + batch] for start in range(0, len(lines), batch)]
    return [next(line for line in unit if line.norms) for unit in units if any(line.norms for line in unit)]


def _jumped(method: Method, made: Sequence[CaseLine], jump: Jump, shared: Shared) -> Jumped:
    line = made[jump.place]
    return Jumped(
        method=method,
        number=line.case + 1,
        subject=line.subject,
        target_new=line.target_new,
        first=line.case in shared.first,
        delta_norm=line.norms.get("delta_norm", math.inf),
        times=jump.times,
        division_factor=line.norms.get("division_factor"),
        perplexity_before=made[jump.place - 1].perplexity,
        perplexity_after=line.perplexity,
    )


def _fared(
    method: Method,
    lines: Sequence[CaseLine],
    made: Sequence[CaseLine],
    jumped: Sequence[Jumped],
    shared: Shared,
    curve: Curve,
    batch: int,
) -> Reproduced:
    end, norms = curve.reports[-1], [line.norms.get("delta_norm", math.inf) for line in made]
    factors = [abs(line.norms["division_factor"]) for line in made if "division_factor" in line.norms]
    return Reproduced(
        method=method,
        batch=batch,
        requests=len(lines),
        made=sum(bool(line.norms) for line in lines),
        first=len(shared.first),
        jumps=len(jumped),
        first_jumps=sum(one.first for one in jumped),
        delta_median=median(norms) if norms else None,
        delta_largest=max(norms, default=None),
        division_smallest=min(factors, default=None),
        drift=end.drift,
        per_element=end.per_element,
        perplexity=end.perplexity,
        perplexity_base=end.perplexity_base,
        entropy=end.entropy,
        entropy_base=end.entropy_base,
        edited_es=summary([line.edited for line in lines]).es,
        es=end.es,
        ps=end.ps,
        ns=end.ns,
        phase=curve.phase.phase,
        message=curve.phase.message,
        broke=curve.phase.position,
    )
