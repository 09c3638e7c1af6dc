"""Probes as a table of two states: what each answered, what changed, which hold. Pure, so that it can be exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workbench import events as ev

Filter = Literal["all", "failing", "efficacy", "paraphrase", "neighbourhood", "added"]
FILTERS: tuple[Filter, ...] = ("all", "failing", "efficacy", "paraphrase", "neighbourhood", "added")
WORDS = {"neighbourhood": "neighbour", "perplexity": "held-out"}
"""Kinds by the words of the screen, where they are others."""


@dataclass(frozen=True)
class Watched:
    """One probe in both states."""

    kind: str
    prompt: str
    expected: str
    edit: str
    a: ev.ProbeResult | None = None
    """None: not asked there, or not yet."""
    b: ev.ProbeResult | None = None

    @property
    def passed(self) -> bool | None:
        """Whether it holds in B; None: it is not judged, or not asked yet."""
        return self.b.passed if self.b else None

    @property
    def word(self) -> str:
        """Its kind, as the screen calls it."""
        return WORDS.get(self.kind, self.kind)

    @property
    def values(self) -> tuple[float | None, float | None]:
        """p(expected), or perplexity, in A and B."""
        return _value(self.a), _value(self.b)

    @property
    def change(self) -> float | None:
        """B's value less A's."""
        a, b = self.values
        return None if a is None or b is None else b - a

    def passes(self, wanted: Filter) -> bool:
        """Whether the filter shows it."""
        if wanted == "failing":
            return self.passed is False
        if wanted == "added":
            return not self.edit and self.kind != "perplexity"
        return wanted == "all" or self.kind == wanted


def watched(results: Sequence[ev.ProbeResult], a: str, b: str) -> tuple[Watched, ...]:
    """The results of the states `a` and `b` side by side, in the order in which they were first told."""
    found: dict[tuple[str, str, str, str], list[ev.ProbeResult | None]] = {}
    for result in results:
        if result.kind in ("generation", "command"):
            continue
        pair = found.setdefault((result.kind, result.prompt, result.expected, result.edit), [None, None])
        pair[0] = result if result.side == a else pair[0]
        pair[1] = result if result.side == b else pair[1]
    return tuple(Watched(*key, *pair) for key, pair in found.items() if any(pair))


def judged(rows: Sequence[Watched], rise: float | None) -> tuple[Watched, ...]:
    """`rows` with the held-out perplexity held against the guard's limit: so much more than the base's; None: none."""
    return tuple(_within(row, rise) if row.kind == "perplexity" else row for row in rows)


def _within(row: Watched, rise: float | None) -> Watched:
    base = next((result.before for result in (row.a, row.b) if result and result.before), None)
    if rise is None or base is None:
        return row
    most = base * (1 + rise)
    a, b = (
        None if result is None else replace(result, passed=result.value is not None and result.value <= most)
        for result in (row.a, row.b)
    )
    return replace(row, expected=f"< {most:.2f}", a=a, b=b)


def recorded(results: Sequence[ev.ProbeResult]) -> tuple[Watched, ...]:
    """The results of one edit, before and after it."""
    asked = [result for result in results if result.kind not in ("generation", "command")]
    return tuple(Watched(r.kind, r.prompt, r.expected, r.edit, _before(r), r) for r in asked)


def summary(rows: Sequence[Watched]) -> str:
    """As in 12 of 13 pass; empty where nothing is judged."""
    judged = [row for row in rows if row.passed is not None]
    return f"{sum(row.passed is True for row in judged)} of {len(judged)} pass" if judged else ""


def _value(result: ev.ProbeResult | None) -> float | None:
    if result is None:
        return None
    return result.value if result.kind == "perplexity" else result.p_expected


def _before(result: ev.ProbeResult) -> ev.ProbeResult | None:
    """What is known of the state before: the value alone."""
    if result.before is None:
        return None
    held_out = result.kind == "perplexity"
    value, p = (result.before, None) if held_out else (None, result.before)
    return ev.ProbeResult(kind=result.kind, prompt=result.prompt, expected=result.expected, value=value, p_expected=p)
