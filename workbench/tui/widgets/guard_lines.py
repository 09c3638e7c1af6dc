"""The guard in words: each measure with its present value, its limit, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.cells import cell_len

from workbench import events as ev
from workbench.guards import MEASURES, RECENT, Guard, alone, measured, usual
from workbench.text import visible
from workbench.tui.state import Run, State
from workbench.tui.widgets.text import fit

SMALLEST_RISE = 0.0005
"""Of perplexity, that is not shown as zero."""
SHORT = {"ratio": "ratio", "perplexity": "ppl", "neighbours": "neighbours lost", "earlier": "earlier lost"}
"""Shorter than the measure's own label, or plainer beside a number."""
GLANCE = {
    "ratio": "the update's size by the weight's",
    "jump": "the same by what is usual on this stack",
    "division": "k·u by the key's norm; 0 blows v up",
    "perplexity": "rise on held-out text over the base's",
    "neighbours": "part of its own neighbours lost",
    "earlier": "part of earlier edits' probes lost",
}
"""Meanings that fit beside value and limit in 80 columns."""


def readings(state: State) -> dict[str, float]:
    """What is measured now: of the running edit or the last one, else what the newest applied edit recorded."""
    stack, run = state.stack, state.run
    newest = stack.edits[max(stack.position - RECENT, 0) : stack.position] if stack else ()
    rows = [row for row in newest if row.state == "applied"]
    base = stack.perplexity_base if stack else None
    if run is not None and (run.norms or run.probes):
        return _of_run(run, rows, base)
    if not rows:
        return {}
    last, kept = rows[-1], rows[-1].neighbours
    return measured(
        ratio=alone(last.ratio, last.requests),
        usual_ratio=usual([alone(row.ratio, row.requests) for row in rows[:-1]]),
        perplexity=last.perplexity,
        perplexity_base=base,
        neighbours=[i < kept[0] for i in range(kept[1])] if kept else [],
    )


def _of_run(run: Run, rows: list[ev.EditRow], base: float | None) -> dict[str, float]:
    committed = run.committed.edit if run.committed else ""
    perplexity = [probe.value for probe in run.probes if probe.kind == "perplexity"]
    return measured(
        ratio=alone(run.norms.ratio, run.started.requests) if run.norms else None,
        usual_ratio=usual([alone(row.ratio, row.requests) for row in rows if row.id != committed]),
        division_factor=run.norms.division_factor if run.norms else None,
        key_norm=run.key.key_norm if run.key else None,
        perplexity=perplexity[-1] if perplexity else None,
        perplexity_base=base,
        neighbours=[probe.passed for probe in run.probes if probe.kind == "neighbourhood"],
        earlier=run.earlier,
    )


def guard_lines(guard: Guard, values: Mapping[str, float], width: int, height: int) -> list[str]:
    """At most `height` lines: what is beyond its limit first; what has no room is counted, with what became of it."""
    words = _by_weight(guard, values)
    lines, left = ["guard "], list(words)
    while left:
        joined = f"{lines[-1]} {left[0][1]}" if lines[-1] else left[0][1]
        if cell_len(joined) <= width - (6 if len(lines) == height and len(left) > 1 else 0):
            lines[-1] = joined + " "
            left.pop(0)
        elif len(lines) < height and lines[-1].strip() not in ("", "guard"):
            lines.append("")
        else:
            break
    if left:
        lines[-1] += f" +{len(left)} {'✗' if any(bad for bad, _ in left) else '✓'}"
    return [line.rstrip() for line in lines]


def _by_weight(guard: Guard, values: Mapping[str, float]) -> list[tuple[bool, str]]:
    """(beyond its limit, words) of every measure that has a limit: beyond it, then measured, then the others."""
    beyond = {one.measure for one in guard.trips(values)}
    limited = [name for name in MEASURES if guard.limit(name) is not None]
    order = sorted(limited, key=lambda name: (name not in beyond, name not in values))
    found = [(name in beyond, reading(guard, name, values.get(name))) for name in order]
    return found or [(False, "no limits: g sets them")]


def reading(guard: Guard, name: str, value: float | None) -> str:
    """One measure: "ppl +0.4% < 20% ✓"; the limit alone for what is not measured yet."""
    measure, limit = MEASURES[name], guard.limit(name)
    parts = [SHORT.get(name, measure.label), "" if value is None else said(name, value)]
    if limit is None:
        return " ".join(filter(None, (*parts, "no limit")))
    holds = value is None or measure.holds(value, limit)
    sign, verdict = ">" if measure.least == holds else "<", "" if value is None else "✓" if holds else "✗"
    if measure.said(value) == measure.said(limit):
        sign = "="
    return " ".join(filter(None, (*parts, sign, measure.said(limit), verdict)))


def said(name: str, value: float | None) -> str:
    """A value; a rise with its sign."""
    if name != "perplexity" or value is None or not abs(value) < math.inf:
        return MEASURES[name].said(value)
    return f"{'+' if value > -SMALLEST_RISE else '-'}{MEASURES[name].said(abs(value))}"


def table(guard: Guard, values: Mapping[str, float], width: int) -> list[str]:
    """Every measure on a line of its own: verdict, name, value, limit, meaning."""
    lines = []
    for name, measure in MEASURES.items():
        value, limit = values.get(name), guard.limit(name)
        mark = " " if value is None or limit is None else "✓" if measure.holds(value, limit) else "✗"
        bound = "no limit" if limit is None else f"{'at least' if measure.least else 'at most'} {measure.said(limit)}"
        line = f"{mark} {fit(name, 11)}{fit(said(name, value), 8)}{fit(bound, 14)}{GLANCE[name]}"
        lines.append(fit(visible(line), width).rstrip())
    return lines
