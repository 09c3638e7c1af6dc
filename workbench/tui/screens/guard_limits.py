"""The guard's limits, to be read and set: each with its present value, default, range and meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from workbench.errors import UsageError
from workbench.guards import MEASURES, Guard, number
from workbench.tui.bench import bench
from workbench.tui.state import State
from workbench.tui.widgets.guard_lines import readings, said
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled

if TYPE_CHECKING:
    from textual.app import ComposeResult

Limits = dict[str, float | None]


class GuardLimitsScreen(ModalScreen[Limits | None]):
    """Gives the limits, or None if nothing is to change.

    Args:
        guard: the limits now.
    """

    CSS_PATH = "guard_limits.tcss"
    HELP = (
        "What an edit may do to the model before you are asked. An edit beyond a limit waits, measured and not saved, "
        "for your answer: keep, discard, keep and continue.\n\n"
        "All limits are relative: to the weight, to the stack's other edits, to the key, to the base's perplexity. "
        "An empty line is no limit."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next limit", id="focus.next", priority=True),
        Binding("shift+tab", "app.focus_previous", "Limit before", id="focus.previous", show=False, priority=True),
        Binding("down", "app.focus_next", "Next limit", id="limits.next", show=False),
        Binding("up", "app.focus_previous", "Limit before", id="limits.previous", show=False),
        Binding("ctrl+s,enter", "save", "Save", id="limits.save", key_display="^s", priority=True),
        Binding("ctrl+d", "defaults", "Defaults", id="limits.defaults", tooltip="As they came", priority=True),
        Binding("escape", "leave", "Back", id="limits.back", priority=True),
    ]

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def compose(self) -> ComposeResult:
        """A line for each limit, its meaning under it."""
        with Vertical(id="limits"):
            with VerticalScroll(can_focus=False):
                for name, measure in MEASURES.items():
                    with Horizontal(classes="limit"):
                        yield Label(
                            f"{name} {'at least' if measure.least else 'at most'}", classes="name", markup=False
                        )
                        yield LineInput(written(name, self._guard.limit(name)), id=name, compact=True, max_length=12)
                        yield Static("", id=f"{name}-verdict", classes="verdict", markup=False)
                        yield Static(f"default {written(name, measure.default)}, {_range(name)}", classes="range")
                    yield Static(f"  {measure.meaning}", classes="meaning", markup=False)
            with Horizontal(id="ways"):
                yield Button("Save", id="save", compact=True)
                yield Button("Defaults", id="defaults", compact=True)
                yield Button("Back", id="back", compact=True)
        yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border and checks what is there."""
        box = self.query_one("#limits")
        box.border_title, box.border_subtitle = "Guard: ask before an edit is saved that is beyond", "empty: no limit"
        self.refresh_state(bench(self).state)

    def refresh_state(self, state: State) -> None:
        """The app calls this when the state changed: the present values."""
        if not self.query(".verdict"):
            return
        values = readings(state)
        for name in MEASURES:
            self.query_one(f"#{name}-verdict", Static).update(self._verdict(name, values.get(name)))

    def _verdict(self, name: str, value: float | None) -> str:
        try:
            limit = self._limit(name)
        except UsageError:
            return "✗ out of range"
        if value is None:
            return "not measured"
        holds = limit is None or MEASURES[name].holds(value, limit)
        return f"{'✓' if holds else '✗'} now {said(name, value)}"

    def _limit(self, name: str) -> float | None:
        text = self.query_one(f"#{name}", Input).value.strip()
        limit: float | None = getattr(Guard().changed({name: number(name, text) if text else None}), name)
        return limit

    @on(Input.Changed)
    def _check(self) -> None:
        self.refresh_state(bench(self).state)

    async def action_save(self) -> None:
        """Gives the limits back, if they are limits."""
        await settled(self.focused)
        try:
            self.dismiss({name: self._limit(name) for name in MEASURES})
        except UsageError as error:
            bench(self).tell(error)

    def action_defaults(self) -> None:
        """Writes the defaults into all lines."""
        for name, measure in MEASURES.items():
            self.query_one(f"#{name}", Input).value = written(name, measure.default)

    def action_leave(self) -> None:
        """Nothing changes."""
        self.dismiss(None)

    async def on_button_pressed(self, event: Button.Pressed) -> None:
        """As the button's key."""
        if event.button.id == "save":
            await self.action_save()
        elif event.button.id == "defaults":
            self.action_defaults()
        else:
            self.dismiss(None)


def written(name: str, limit: float | None) -> str:
    """A limit as it is typed."""
    if limit is None:
        return ""
    return f"{limit * 100:g}%" if MEASURES[name].percent else f"{limit:g}"


def _range(name: str) -> str:
    return f"{written(name, MEASURES[name].low)} to {written(name, MEASURES[name].high)}"
