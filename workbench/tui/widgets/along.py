"""Curves along a stack: drift, perplexity, neighbours and earlier edits held; one is drawn, all stand in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from workbench import events as ev
from workbench.tui.state import State
from workbench.tui.widgets.plot import Figure, Plot, Series
from workbench.tui.widgets.stack_table import SIGNS
from workbench.tui.widgets.text import fit, pair

LABEL = 11
"""Cells of a measure's name before its numbers."""
CELL = 7
"""Cells of one number."""
FEWEST_ROWS = 5
"""Rows that a curve wants; with fewer there are only numbers."""


@dataclass(frozen=True)
class Measure:
    """What is measured of a stack after each of its edits."""

    name: str
    title: str
    value: Callable[[ev.EditRow], float | None]
    said: Callable[[ev.EditRow], str]
    base: Callable[[ev.StackChanged], float | None]
    """The same of the base."""


def _part(counts: tuple[int, int] | None) -> float | None:
    return counts[0] / counts[1] if counts and counts[1] else None


def _decimals(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}g}"


MEASURES = (
    Measure(
        "drift",
        "Drift along the stack, |W − W0| / |W0|",
        lambda row: row.drift,
        lambda row: _decimals(row.drift),
        lambda _: 0.0,
    ),
    Measure(
        "ppl",
        "Perplexity along the stack, held-out text",
        lambda row: row.perplexity,
        lambda row: _decimals(row.perplexity, 4),
        lambda stack: stack.perplexity_base,
    ),
    Measure(
        "neighbours",
        "Neighbours held along the stack",
        lambda row: _part(row.neighbours),
        lambda row: pair(row.neighbours),
        lambda _: None,
    ),
    Measure(
        "earlier",
        "Earlier edits held along the stack",
        lambda row: _part(row.earlier),
        lambda row: pair(row.earlier),
        lambda _: None,
    ),
)


class AlongStack(Plot):
    """What each edit recorded right after it was made. `measure` is the curve that is drawn."""

    HELP = (
        "How the stack has changed the model, edit by edit, as each edit recorded it: drift of the weights, perplexity "
        "on held-out text, neighbours of its own that hold, earlier edits and their neighbours that hold.\n\n"
        "Dotted: undone edits. ◌: an edit that is left out; what later edits recorded still has it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "next_measure", "Other curve", id="along.other", tooltip="Drift, perplexity, neighbours, earlier"),
        Binding("t", "table", "Table", id="along.table", tooltip="Numbers instead of the curve"),
        Binding("l", "log_scale", "Log scale", id="along.log-scale"),
    ]

    measure: reactive[int] = reactive(0)
    """Index into MEASURES."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  textual's word
        super().__init__(MEASURES[0].title, self._curve, hint="p other curve, t table", id=id, classes=classes)
        self._stack: ev.StackChanged | None = None

    def _curve(self, state: State) -> Figure:
        return figure(state.stack, MEASURES[self.measure])

    def show(self, state: State) -> None:
        """Draws the stack of `state`."""
        changed, self._stack = self._stack is not state.stack, state.stack
        super().show(state)
        if changed:
            self.refresh()

    def watch_measure(self) -> None:
        """Draws the curve that was chosen."""
        self._title = MEASURES[self.measure].title
        if self._latest is not None:
            self.show(self._latest)
        if self.is_mounted:
            self._write_border()

    def lines(self, width: int, height: int) -> list[Text]:
        """The curve over the numbers of all measures; without room for both, the numbers."""
        rows = [Text(line) for line in numbers(self._stack, width)]
        if not rows or self.as_table:
            return super().lines(width, height)
        if height - len(rows) < FEWEST_ROWS:
            return rows[:height]
        return [*super().lines(width, height - len(rows)), *rows]

    def action_next_measure(self) -> None:
        """The next curve."""
        self.measure = (self.measure + 1) % len(MEASURES)

    def action_table(self) -> None:
        """Numbers instead of the curve, and back."""
        self.as_table = not self.as_table

    def action_log_scale(self) -> None:
        """Logarithmic vertical axis, and back."""
        self.log_scale = not self.log_scale


def figure(stack: ev.StackChanged | None, measure: Measure) -> Figure:
    """One measure from the base on; what is undone is dotted. With an edit left out, it is said of what it tells."""
    if stack is None:
        return Figure(empty="The stack is not read yet.")
    if not stack.edits:
        return Figure(empty="No edits yet. What they do to the model is drawn here, edit by edit.")
    values = [measure.base(stack), *(measure.value(row) for row in stack.edits)]
    recorded = any(row.state == "off" for row in stack.edits[: stack.position])
    name = f"{measure.name}, as recorded" if recorded else measure.name
    applied = Series(name, tuple(values[: stack.position + 1]))
    undone = Series("undone", tuple(values[stack.position :]), stack.position, "dots")
    curves = (applied, undone) if stack.position < len(stack.edits) else (applied,)
    return Figure(curves, "edit", len(stack.edits), empty=f"No edit has recorded this: {measure.name}.")


def numbers(stack: ev.StackChanged | None, width: int) -> list[str]:
    """Every measure at as many edits as fit, the first, the newest and the present one among them."""
    if stack is None or not stack.edits:
        return []
    shown = [stack.edits[i - 1] for i in positions(len(stack.edits), stack.position, (width - LABEL) // CELL)]
    heads = [f"{row.number}{_sign(row, stack.position)}" for row in shown]
    known = [measure for measure in MEASURES if any(measure.value(row) is not None for row in shown)]
    lines = [_line("edit", heads), *(_line(one.name, [one.said(row) for row in shown]) for one in known)]
    return [fit(line, width).rstrip() for line in lines]


def _sign(row: ev.EditRow, position: int) -> str:
    """Why the model does not have it; "" if it has."""
    return SIGNS["undone"] if row.number > position else SIGNS["off"] if row.state == "off" else ""


def _line(name: str, cells: Sequence[str]) -> str:
    return fit(name, LABEL) + "".join(f"{cell:>{CELL - 1}} " for cell in cells)


def positions(count: int, present: int, most: int) -> list[int]:
    """At most `most` of 1 to `count`, evenly spread, with both ends and, where there is one, the present position."""
    if count <= most:
        return list(range(1, count + 1))
    if most < 1:
        return []
    spread = {round(1 + i * (count - 1) / max(most - 1, 1)) for i in range(most)} if most > 1 else {count}
    if present and present not in spread and most > 2:
        spread = spread - {min(spread - {1, count}, key=lambda one: abs(one - present))} | {present}
    return sorted(spread)
