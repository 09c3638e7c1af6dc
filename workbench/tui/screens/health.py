"""How healthy the stack is, in a window: all that was measured, the phase, and what can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.cli.health_table import table
from workbench.text import visible
from workbench.tui.bench import bench
from workbench.tui.keynames import key_name
from workbench.tui.state import State
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.text import safe, wrapped

if TYPE_CHECKING:
    from textual.app import ComposeResult

SIGNS = {"stable": "✓", "gradual": "!", "catastrophic": "✗"}


class HealthScreen(ModalScreen[None]):
    """Asks for a report unless there is one of the present state; follows it as it is measured."""

    CSS_PATH = "health.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R", "measure", "Measure again", id="health.measure", key_display="R"),
        Binding("y", "copy", "Copy", id="health.copy"),
        Binding("ctrl+g", "stop", "Stop", id="stop", tooltip="Stops the measuring"),
        Binding("escape,h,q", "dismiss(None)", "Back", id="health.back", key_display="esc"),
    ]

    _shown: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """The lines, and the keys."""
        with Vertical(id="health"):
            with VerticalScroll():
                yield Static(id="health-said", markup=False)
            yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border and asks, if need be."""
        self.query_one("#health").border_title = "Health of the stack"
        if not fresh(bench(self).state):
            self.action_measure()
        self.refresh_state(bench(self).state)

    def refresh_state(self, state: State) -> None:
        """Draws what is known so far."""
        lines = health_lines(state)
        if lines != self._shown:
            self._shown = lines
            self.query_one("#health-said", Static).update(self._drawn())
        self.refresh_bindings()

    def on_resize(self) -> None:
        """Wraps again."""
        self.query_one("#health-said", Static).update(self._drawn())

    def _drawn(self) -> Text:
        width = max(self.query_one(VerticalScroll).scrollable_content_region.width - 2, 40)
        return Text("\n").join(safe(line) for text in self._shown for line in wrapped(text, width))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what there is something for."""
        del parameters
        state = bench(self).state
        if action == "measure":
            return False if state.doing == "health" else True if state.engine == "idle" else None
        if action == "stop":
            return state.doing == "health"
        return state.health is not None if action == "copy" else True

    def action_measure(self) -> None:
        """Asks for a report of the present state."""
        bench(self).send("health")
        self.refresh_state(bench(self).state)

    def action_stop(self) -> None:
        """Stops the measuring."""
        bench(self).cancel()

    def action_copy(self) -> None:
        """Copies the report."""
        self.app.copy_to_clipboard("\n".join(visible(line) for line in self._shown))
        self.notify("The report is copied.")


def fresh(state: State) -> bool:
    """Whether there is a report of the stack as it stands, or one is being made."""
    if state.doing == "health":
        return True
    report, stack = state.health, state.stack
    if report is None or stack is None:
        return False
    applied = [row.id for row in stack.edits[: stack.position] if row.state != "off"]
    return (report.position, report.applied, report.edit) == (stack.position, len(applied), (applied or [""])[-1])


def health_lines(state: State) -> tuple[str, ...]:
    """What there is to say: how far the measuring is, the measures, the phase."""
    if state.health is None:
        return (_progress(state),)
    lines = [*table(state.health), ""]
    if not fresh(state):
        lines.insert(0, "The stack has changed since: R measures again.")
    if state.diagnosed is None:
        return (*lines, _progress(state))
    found = state.diagnosed
    lines.append(f"{SIGNS[found.phase]} {found.phase}: {found.message}")
    return (*lines, f"  → {found.hint}") if found.hint else tuple(lines)


def _progress(state: State) -> str:
    if state.doing == "health":
        step = state.measuring
        return f"Measuring {step.what}, {step.done} of {step.of} ..." if step else "Measuring ..."
    if state.engine == "stopped":
        return f"The engine has stopped; {key_name('run')} restarts it."
    if state.engine == "busy":
        return "The engine is busy; R measures when it is free."
    return "Not measured; R measures it." if state.engine == "idle" else "The model is still loading."
