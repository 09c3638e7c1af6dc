"""Log: everything the engine said, as lines, newest last."""

from __future__ import annotations

from itertools import takewhile
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from workbench import events as ev
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.state import LOG_LINES, State
from workbench.tui.widgets.event_lines import STYLES, described, event_line, is_part
from workbench.tui.widgets.line_input import LineInput
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import wrapped


class EventRows(Rows):
    """Events that pass the filter. The cursor follows the newest while it is on the last row."""

    HELP = "Everything the engine said. ! marks a warning, ✗ a failure."

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  textual's word
        super().__init__(id=id)
        self._all: list[ev.Event] = []
        self._shown: list[ev.Event] = []
        self._last: ev.Event | None = None
        self._filter, self._notable = "", False

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Log")

    def show(self, state: State) -> None:
        """Takes in what is new in the log of `state`."""
        fresh = list(takewhile(lambda event: event is not self._last, reversed(state.log)))[::-1]
        if fresh:
            self._last = fresh[-1]
            self._all = [*self._all, *(event for event in fresh if not is_part(event))][-LOG_LINES:]
            self._sift()

    def narrow(self, text: str, *, notable: bool) -> None:
        """Shows only events whose line holds `text`; if `notable`, only warnings and failures."""
        self._filter, self._notable = text.casefold(), notable
        self._sift()

    @property
    def text(self) -> str:
        """All lines in sight of the filter."""
        return "\n".join(event_line(event, 10_000) for event in self._shown)

    def count(self) -> int:
        """How many pass."""
        return len(self._shown)

    def empty(self) -> str:
        """Why there is nothing."""
        return "No event passes the filter. Escape clears it." if self._all else "The engine has said nothing yet."

    def row(self, index: int, width: int) -> Text:
        """One event."""
        event = self._shown[index]
        return Text(event_line(event, width), STYLES[described(event).weight])

    def lines(self, width: int, height: int) -> list[Text]:
        """The events; below them all of the one under the cursor, where its line is cut."""
        whole = self._whole(width - 2)[: height // 3]
        if not whole:
            return super().lines(width, height)
        above = super().lines(width, height - len(whole) - 1)
        gap = [Text()] * (height - len(whole) - len(above))
        return [*above, *gap, *(Text(f"  {line}", "bold") for line in whole)]

    def _whole(self, width: int) -> list[str]:
        if not self.cursor < len(self._shown):
            return []
        event = self._shown[self.cursor]
        cut = event_line(event, width) != event_line(event, 10_000)
        return wrapped(described(event).text, width) if cut else []

    def _sift(self) -> None:
        at_end = self.cursor >= len(self._shown) - 1
        self._shown = [event for event in self._all if self._passes(event)]
        self.cursor = len(self._shown) - 1 if at_end else self.validate_cursor(self.cursor)
        weights = [described(event).weight for event in self._all]
        counts = f"warnings {weights.count('warning')}   failures {weights.count('failure')}"
        self.name_it("Log", f"{len(self._shown)} of {len(self._all)} events   {counts}")
        self.refresh()

    def _passes(self, event: ev.Event) -> bool:
        if self._notable and described(event).weight == "plain":
            return False
        return not self._filter or self._filter in event_line(event, 10_000).casefold()


class LogScreen(WorkbenchScreen):
    """The log and its filter."""

    CSS_PATH = "log.tcss"
    AUTO_FOCUS = "EventRows"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enter", "Filter", id="log.enter", show=False, priority=True),
        Binding("slash", "filter", "Filter", id="log.filter", key_display="/"),
        Binding("w", "warnings", "Warnings only", id="log.warnings"),
        Binding("y", "copy", "Copy", id="log.copy", tooltip="Copies the lines that pass the filter"),
        Binding("G", "end", "Newest", id="log.end", key_display="G"),
        Binding("escape", "leave", "Clear", id="log.leave", priority=True),
    ]
    place = "log"
    _notable = False

    def compose_body(self) -> ComposeResult:
        """The lines, and one to type in."""
        yield EventRows(id="events")
        yield LineInput(placeholder="filter: part of a line", id="filter")

    def show(self, state: State) -> None:
        """Takes in what is new."""
        self.query_one(EventRows).show(state)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While typing, only what ends it."""
        if action == "leave":
            return self._notable or self.query_one("#filter").has_class("-open")
        if action == "enter":
            return isinstance(self.focused, Input)
        if action in ("filter", "warnings", "copy", "end") and isinstance(self.focused, Input):
            return False
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Opens the filter."""
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        self.set_focus(field)

    def action_warnings(self) -> None:
        """Warnings and failures only, and back."""
        self._notable = not self._notable
        self._narrow()

    def action_end(self) -> None:
        """Goes to the newest line and follows it."""
        rows = self.query_one(EventRows)
        rows.cursor = rows.count() - 1

    def action_copy(self) -> None:
        """Copies the lines that pass the filter."""
        rows = self.query_one(EventRows)
        self.app.copy_to_clipboard(rows.text)
        self.notify(f"{rows.count()} line{'' if rows.count() == 1 else 's'} copied.")

    def action_leave(self) -> None:
        """Clears and closes the filter."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("-open")
        self._notable = False
        self._narrow()
        self.set_focus(self.query_one(EventRows))

    @on(Input.Changed, "#filter")
    def _typed(self) -> None:
        self._narrow()

    def action_enter(self) -> None:
        """Goes from the filter to what passes it."""
        self.set_focus(self.query_one(EventRows))

    def _narrow(self) -> None:
        self.query_one(EventRows).narrow(self.query_one("#filter", Input).value, notable=self._notable)
