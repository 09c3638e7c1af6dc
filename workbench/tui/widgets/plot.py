"""Curves of a run and of a stack, as braille plots or, at a key, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text
from textual.reactive import reactive

from workbench import events as ev
from workbench.tui.keynames import named
from workbench.tui.state import Run, State
from workbench.tui.widgets.braille import Series, draw, legend, table
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import wrapped

__all__ = ["Figure", "Plot", "Series", "delta", "draw", "drift", "legend", "loss", "table", "target"]

NO_RUN = "No edit has run yet. F2 opens the form, ctrl+r runs the queue."


@dataclass(frozen=True)
class Figure:
    """What a plot draws."""

    series: tuple[Series, ...] = ()
    x_name: str = ""
    x_max: int | None = None
    y_max: float | None = None
    legend: str = ""
    """Which curve is which; empty: the curves' own names."""
    empty: str = "Nothing to draw yet."
    """What to say when there is no value."""


class Plot(Panel, can_focus=True):
    """A figure made from the state. `log_scale`, `as_table` and `frozen` are set by the place that holds it."""

    log_scale: reactive[bool] = reactive(False)
    as_table: reactive[bool] = reactive(False)
    frozen: reactive[bool] = reactive(False)

    def __init__(
        self,
        title: str,
        figure: Callable[[State], Figure],
        *,
        hint: str = "",
        id: str | None = None,  # noqa: A002  textual's word
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._title, self._hint, self._figure_of = title, hint, figure
        self._figure = Figure()
        self._latest: State | None = None

    def on_mount(self) -> None:
        """Writes the border; where only ASCII is drawn, numbers say more than dots."""
        self.as_table = getattr(self.app, "ascii", False)
        self._write_border()

    def on_resize(self) -> None:
        """Says how to go back from the whole screen."""
        self._write_border()

    def show(self, state: State) -> None:
        """Draws `state`; while frozen, keeps it for later."""
        self._latest = state
        if self.frozen:
            return
        figure = self._figure_of(state)
        if figure != self._figure:
            self._figure = figure
            self._write_border()
            self.refresh()

    def watch_frozen(self) -> None:
        """Catches up when thawed."""
        if self._latest is not None:
            self.show(self._latest)
        self._write_border()

    def watch_log_scale(self) -> None:
        """Says which scale it is."""
        self._write_border()

    def lines(self, width: int, height: int) -> list[Text]:
        """The plot or the table."""
        figure = self._figure
        if not any(v is not None for s in figure.series for v in s.values):
            return [Text(line, "dim") for line in wrapped(figure.empty, width)]
        if self.as_table:
            return [Text(line) for line in table(figure.series, width, height, x_name=figure.x_name)]
        drawn = draw(
            figure.series,
            width,
            height,
            log=self.log_scale,
            x_max=figure.x_max,
            y_max=figure.y_max,
            x_name=figure.x_name,
        )
        return [Text(line) for line in drawn]

    def _write_border(self) -> None:
        how = "  ".join(word for word, on in (("log scale", self.log_scale), ("FROZEN", self.frozen)) if on)
        series = self._figure.series
        names = self._figure.legend or (legend(series[:4], 32) if len(series) > 1 else "")
        back = "m goes back" if self.is_maximized else ""
        self.name_it("  ".join(part for part in (self._title, names) if part), how or back or self._hint)


def loss(state: State) -> Figure:
    """The loss and its parts, by step; of requests that are optimised together, its mean."""
    if state.run is not None and state.run.together and not state.run.steps:
        return _together(state.run, "mean loss", lambda step: step.loss)
    if state.run is None or not state.run.steps:
        return Figure(empty=named(NO_RUN) if state.run is None else "The first step is on its way.")
    steps = state.run.steps
    parts = (
        Series("total", tuple(s.loss for s in steps), steps[0].step),
        Series("nll", tuple(s.nll for s in steps), steps[0].step, "dots"),
        Series("kl", tuple(s.kl for s in steps), steps[0].step, "dashes"),
        Series("wd", tuple(s.wd for s in steps), steps[0].step, "sparse"),
    )
    return Figure(parts, "step", _last_tick(steps[-1].step, steps[-1].of))


def target(state: State) -> Figure:
    """p(target), its mean and under each context template, by step."""
    if state.run is not None and state.run.together and not state.run.steps:
        return _together(state.run, "mean p(target)", lambda step: step.p_target, 1.0)
    if state.run is None or not state.run.steps:
        return Figure(empty="p(target) under each context template is drawn here while an edit runs.")
    steps = state.run.steps
    mean = Series("mean", tuple(s.p_target for s in steps), steps[0].step)
    contexts = [
        Series(f"context {c}", tuple(_at(s.p_contexts, c) for s in steps), steps[0].step, "dots")
        for c in range(max(len(s.p_contexts) for s in steps))
    ]
    return Figure((mean, *contexts), "step", _last_tick(steps[-1].step, steps[-1].of), 1.0, "── mean  ·· each context")


def _together(run: Run, name: str, value: Callable[[ev.StepTogether], float], y_max: float | None = None) -> Figure:
    """One number of requests that are optimised together, a mean over those that still run, by step."""
    steps = run.side_by_side
    curve = Series(name, tuple(value(step) for step in steps), steps[0].step)
    still = f"── {name}" + (" over those still going" if name.startswith("mean") else "")
    return Figure((curve,), "step", _last_tick(steps[-1].step, steps[-1].of), y_max, still)


def delta(state: State) -> Figure:
    """|δ| and what it is held below, by step; of requests that are optimised together, how many go on."""
    if state.run is not None and state.run.together and not state.run.steps:
        return _together(state.run, "requests still going", lambda step: step.running)
    if state.run is None or not state.run.steps:
        return Figure(empty="|δ| against its clamp is drawn here while an edit runs.")
    steps = state.run.steps
    lines = (
        Series("|δ|", tuple(s.delta_norm for s in steps), steps[0].step),
        Series("clamp", tuple(s.clamp for s in steps), steps[0].step, "dashes"),
    )
    return Figure(lines, "step", _last_tick(steps[-1].step, steps[-1].of))


def drift(state: State) -> Figure:
    """|W − W0| / |W0| along the stack, from the base on; undone edits included."""
    if state.stack is None or not state.stack.edits:
        return Figure(empty="No edits yet. The drift of the weights is drawn here.")
    return Figure((Series("drift", (0.0, *(row.drift for row in state.stack.edits))),), "edit")


def _last_tick(step: int, of: int) -> int:
    """Where the step axis ends: doubled as the curve grows, since most edits stop long before the last step."""
    end = 5
    while end < step:
        end *= 2
    return min(end, of)


def _at(values: tuple[float, ...], index: int) -> float | None:
    return values[index] if index < len(values) else None
