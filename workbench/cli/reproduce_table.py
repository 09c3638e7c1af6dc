"""What the collapse experiment came to, in 80 columns: a line a method, the jumps, curves and the conclusion."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench import events as ev
from workbench.cli.eval_summary import MOVED
from workbench.cli.eval_table import chart
from workbench.cli.health_table import number
from workbench.text import shortened

HEADER = "method  facts    jumps |ΔW| med  largest  |k·u|  drift perplex. hold phase"
WIDTH = 80
MOST_JUMPS = 5
"""Jumps of a method that are named, the largest."""


def shown(events: Sequence[ev.Event], out: Path) -> Iterator[str]:
    """All of it, from what was said on the way."""
    found = [event for event in events if isinstance(event, ev.Reproduced)]
    if not found:
        return
    yield from ("", HEADER, *(_row(one) for one in found), "")
    for one in found:
        yield from _named([e for e in events if isinstance(e, ev.Jumped) and e.method == one.method], one.method)
    yield from _curves(events)
    from workbench.engine.collapse.words import conclusion

    for sentence in conclusion(found):
        yield from textwrap.wrap(sentence, WIDTH, subsequent_indent="  ")
    yield f"The stacks: {out}/METHOD/stack"


def _row(one: ev.Reproduced) -> str:
    jumps = f"{one.jumps}" if not one.first_jumps else f"{one.jumps} ({one.first_jumps})"
    fields = [
        f"{one.method:<7}",
        f"{one.made:>5}",
        f"{jumps:>8}",
        f"{_three(one.delta_median):>8}",
        f"{_three(one.delta_largest):>8}",
        f"{_three(one.division_smallest):>6}",
        f"{_three(one.drift):>6}",
        f"{number(one.perplexity):>8}",
        f"{'·' if one.es is None else f'{one.es:.0%}':>4}",
        one.phase,
    ]
    return " ".join(fields)


def _three(value: float | None) -> str:
    return "·" if value is None else f"{value:.3g}"


def _named(jumped: Sequence[ev.Jumped], method: str) -> Iterator[str]:
    if not jumped:
        return
    yield f"{method}: edits that stand out"
    for one in sorted(jumped, key=lambda jump: -jump.times)[:MOST_JUMPS]:
        first = ", a first and only token" if one.first else ""
        yield (
            f"  {one.number:>5}  |ΔW| {number(one.delta_norm)}, {one.times:.3g} times the median;  k·u "
            f"{number(one.division_factor)};  perplexity {number(one.perplexity_before)} → "
            f"{number(one.perplexity_after)}"
        )
        yield f"         {shortened(one.subject, 40)} → {shortened(one.target_new, 20)}{first}"
    if len(jumped) > MOST_JUMPS:
        yield f"         and {len(jumped) - MOST_JUMPS} more"
    yield ""


def _curves(events: Sequence[ev.Event]) -> Iterator[str]:
    """Perplexity and what still holds, along each stack; the reports of a method stand before its Reproduced."""
    reports: list[ev.HealthReport] = []
    for event in events:
        if isinstance(event, ev.HealthReport):
            reports.append(event)
        elif isinstance(event, ev.Reproduced):
            yield from _curve(event, reports)
            reports = []


def _curve(one: ev.Reproduced, reports: Sequence[ev.HealthReport]) -> Iterator[str]:
    at = [min(report.position * one.batch, one.requests) for report in reports]
    perplexities = [report.perplexity for report in reports]
    known = [value for value in perplexities if value is not None]
    if known and max(known) > MOVED * min(known):
        yield from (*chart(f"perplexity, {one.method}", at, perplexities), "")
    edited = [(x, report.es) for x, report in zip(at, reports, strict=True) if report.applied]
    lines = [*chart(f"edits that hold, {one.method}", [x for x, _ in edited], [value for _, value in edited])]
    yield from (*lines, "") if lines else ()
