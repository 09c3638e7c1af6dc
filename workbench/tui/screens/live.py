"""Live: one edit while it is made. Plots can be frozen, shown as numbers, drawn on a log scale, or maximised."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.reactive import reactive

from workbench import events as ev
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.state import State
from workbench.tui.widgets.event_lines import EventsPanel
from workbench.tui.widgets.norms import NormsPanel
from workbench.tui.widgets.now import NowPanel
from workbench.tui.widgets.plot import Plot, delta, drift, loss, target
from workbench.tui.widgets.probes import ProbesPanel
from workbench.tui.widgets.stages import StageLines

PLOTS = ("loss", "target", "delta", "drift")


class LiveScreen(WorkbenchScreen):
    """The running edit, or the last one that ran."""

    CSS_PATH = "live.tcss"
    HELP = (
        "One edit while it is made: the loss and its parts, the probability of the target under each context "
        "template, the norms of the update, and what the model answers afterwards.\n\n"
        "loss = nll + kl + weight decay. Freezing stops the plots, not the edit.\n\n"
        "guard: what an edit may do to the model. Beyond a limit it waits, measured and not saved, for your answer."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "freeze", "Freeze", id="live.freeze", tooltip="Stops the plots, not the edit"),
        Binding("t", "table", "Table", id="live.table", tooltip="Numbers instead of plots"),
        Binding("l", "log_scale", "Log scale", id="live.log-scale"),
        Binding("p", "other", "Other plot", id="live.other", tooltip="Loss, p(target), |δ|, drift along the stack"),
        Binding("m", "maximise", "Maximise", id="live.maximise"),
        Binding("y", "copy", "Copy", id="live.copy", tooltip="Copies the metrics as JSON lines"),
        Binding("g", "app.guard_limits", "Guard", id="live.guard", tooltip="What an edit may do before you are asked"),
    ]
    place = "live"

    turn: reactive[int] = reactive(0)
    """Which plot is in sight; beside the loss, where there is room for two."""

    def compose_body(self) -> ComposeResult:
        """Two lines of text over a grid of panels."""
        yield StageLines(id="stages")
        with Container(id="live"):
            yield Plot("loss", loss, hint="t table", id="loss")
            yield Plot("p(target) per context", target, hint="t table", id="target")
            yield Plot("|δ| and its clamp", delta, hint="t table", id="delta")
            yield Plot("drift |W − W0| / |W0| along the stack", drift, hint="t table", id="drift")
            yield NowPanel(id="now")
            yield NormsPanel(id="norms")
            yield ProbesPanel(id="probes")
            yield EventsPanel(id="events")

    def show(self, state: State) -> None:
        """Hands `state` to every panel."""
        self.query_one(StageLines).show(state)
        for plot in self.query(Plot):
            plot.show(state)
        self.query_one(NowPanel).show(state)
        self.query_one(NormsPanel).show(state)
        self.query_one(ProbesPanel).show(state)
        self.query_one(EventsPanel).show(state)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what has something to act on."""
        if action == "copy":
            return bool(metrics(self.bench.state))
        if action == "log_scale":
            return self.bench.state.engine != "stopped"  # then l opens the log
        return super().check_action(action, parameters)

    def action_freeze(self) -> None:
        """Freezes the plots, or lets them catch up."""
        for plot in self.query(Plot):
            plot.frozen = not plot.frozen

    def action_table(self) -> None:
        """Numbers instead of plots, and back."""
        for plot in self.query(Plot):
            plot.as_table = not plot.as_table

    def action_log_scale(self) -> None:
        """Logarithmic vertical axis, and back."""
        for plot in self.query(Plot):
            plot.log_scale = not plot.log_scale

    def action_other(self) -> None:
        """Shows the next plot."""
        self.turn += 1

    def watch_turn(self) -> None:
        """The plot whose turn it is; where there is room for two, the loss stays."""
        wide = self.has_class("-wide")
        names = PLOTS[1:] if wide else PLOTS
        shown = {names[self.turn % len(names)], *(("loss",) if wide else ())}
        for plot in self.query(Plot):
            plot.display = plot.id in shown

    def on_resize(self) -> None:
        """Another width may have room for another number of plots."""
        self.call_after_refresh(self.watch_turn)

    def action_maximise(self) -> None:
        """Gives the focused plot, else the one in sight, the whole screen; and back."""
        if self.maximized:
            self.minimize()
            return
        plots = [plot for plot in self.query(Plot) if plot.display]
        self.maximize(next((plot for plot in plots if plot.has_focus), plots[0]))

    def action_copy(self) -> None:
        """Copies the last step, the key and the norms as JSON lines."""
        lines = metrics(self.bench.state)
        self.app.copy_to_clipboard("\n".join(lines))
        self.notify(f"{len(lines)} lines of metrics copied.")


def metrics(state: State) -> list[str]:
    """The last step, the key, the norms, the probes and the memory of the last run, as the wire's JSON lines."""
    run = state.run
    if run is None:
        return []
    found: list[ev.Event | None] = [
        *run.steps[-1:],
        run.key,
        run.norms,
        *run.probes,
        run.batch,
        run.earlier,
        run.memory,
    ]
    return [ev.to_line(event) for event in found if event is not None]
