"""What an evaluation says in 80 columns: a line a case, a line a checkpoint, and the table of measures at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench import events as ev
from workbench.text import shortened

LABELS = {
    "es": "ES efficacy",
    "ps": "PS paraphrase",
    "ns": "NS neighbour",
    "s": "S  together",
    "em": "EM efficacy",
    "pm": "PM paraphrase",
    "nm": "NM neighbour",
    "ea": "EA efficacy",
    "pa": "PA paraphrase",
    "na": "NA neighbour",
    "entropy": "GE entropy",
    "consistency": "RS references",
}
"""The measures in the order in which they are shown."""
GROUPS = {"es": "scores", "em": "magnitudes", "ea": "token accuracy", "entropy": "what it writes"}
"""What begins with a measure."""
_NAME, _CELL, _REWRITE = 16, 20, 29
CASE_HEADER = "  case     ES     PS     NS  |ΔW|/|W|  perplexity  edit"
CHECKPOINT_HEADER = "  edits  scored     ES     PS     NS      S  perplexity   drift"
MEANING = (
    "In brackets: 95 % bootstrap intervals over cases. Scores and accuracies are shares,",
    "magnitudes differences of p; --help defines them.",
)
BARS = " ▁▂▃▄▅▆▇█"
BEYOND = "∞"
"""On top of a column that has no end."""
CHART_ROWS = 5
FEWEST = 3
"""Checkpoints below which a curve says no more than its table."""


def case_line(scored: ev.CaseScored) -> str:
    """One case, in the columns of CASE_HEADER."""
    fields = [
        f"{scored.case:>6}",
        *(f"{_share(scored.edited.get(name)):>5}" for name in ("es", "ps", "ns")),
        f"{_number(scored.ratio):>8}",
        f"{_number(scored.perplexity):>10}",
        _rewrite(scored.subject, scored.target_new),
    ]
    return "  ".join(fields) + (f"  not made: {scored.failed}" if scored.failed else "")


def _rewrite(subject: str, target: str) -> str:
    """As in: Lisbon → Peru; so short that the line fits 80 columns."""
    target = shortened(target, 12)
    return f"{shortened(subject, _REWRITE - 3 - len(target))} → {target}"


def checkpoint_line(scored: ev.CheckpointScored) -> str:
    """One checkpoint, in the columns of CHECKPOINT_HEADER."""
    fields = [f"{scored.edited:>7}", f"{scored.scored:>6}"]
    fields += [f"{_share(scored.measures.get(name)):>5}" for name in ("es", "ps", "ns", "s")]
    return "  ".join([*fields, f"{_number(scored.perplexity):>10}", f"{_number(scored.drift):>6}"])


def checkpoint_words(scored: ev.CheckpointScored) -> str:
    """One checkpoint, between the lines of cases."""
    shares = "  ".join(f"{name.upper()} {_share(scored.measures.get(name))}" for name in ("es", "ps", "ns", "s"))
    of = "all" if scored.scored == scored.edited else f"{scored.scored}"
    return f"  after {scored.edited}, {of} asked: {shares}  perplexity {_number(scored.perplexity)}"


def table(found: ev.Evaluated) -> Iterator[str]:
    """Every measure that was taken, with its interval, a column a side."""
    ended = any("end" in row for row in found.rows.values())
    sides = (
        {"base": "base", "edited": "when edited", "end": "at the end"}
        if ended
        else {"base": "base", "edited": "edited"}
    )
    yield " " * (_NAME + 1) + " ".join(f"{words:<{_CELL}}" for words in sides.values()).rstrip()
    for name, label in LABELS.items():
        if name in found.rows:
            if name in GROUPS:
                yield GROUPS[name]
            cells = (f"{_cell(found.rows[name], side):<{_CELL}}" for side in sides)
            yield f"{'  ' + label:<{_NAME}}" + " ".join(cells).rstrip()


def _cell(row: Mapping[str, Any], side: str) -> str:
    """As in: 0.967 [0.90,1.00]."""
    value, low, high = (row.get(name) for name in (side, f"{side}_low", f"{side}_high"))
    if value is None:
        return "     ·"
    text = f"{_signed(value, 3):>6}"
    return text if low is None or high is None else f"{text} [{_signed(low, 2)},{_signed(high, 2)}]"


def _signed(value: float, digits: int) -> str:
    """So many digits, and no sign before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def chart(name: str, edits: Sequence[int], values: Sequence[float | None]) -> Iterator[str]:
    """A curve over the checkpoints as columns, from 0 to the largest; nothing for a few points, or without a number.

    What is infinite is beyond the largest, and marked so.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known or sum(value is not None for value in values) < FEWEST:
        return
    top = max([1.0, *known]) if max(known) <= 1 else max(known)
    for row in range(CHART_ROWS - 1, -1, -1):
        label = f"{top * (row + 1) / CHART_ROWS:>7.3g}" if row in (0, CHART_ROWS - 1) else " " * 7
        yield f"{label} ┤" + "".join(_block(value, top, row) * 2 + " " for value in values).rstrip()
    yield f"{'0':>7} ┼" + "─" * (3 * len(values))
    first, final = f"{edits[0]}", f"{edits[-1]} edits"
    yield " " * 9 + first + f"{final:>{max(3 * len(values) - len(first), len(final) + 2)}}" + f"   {name}"


def _block(value: float | None, top: float, row: int) -> str:
    if value == math.inf and row == CHART_ROWS - 1:
        return BEYOND
    if value is None or math.isnan(value):
        return BARS[0]
    eighths = round(min(max(value / top, 0.0), 1.0) * CHART_ROWS * 8) - row * 8
    return BARS[min(max(eighths, 0), 8)]


def _number(value: float | None) -> str:
    return "·" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "·" if value is None else f"{value:.3f}"
