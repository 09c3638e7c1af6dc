"""A line that is ticked or not: readable without colour, and clicked or toggled with space."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

if TYPE_CHECKING:
    from textual import events


class CheckLine(Widget, can_focus=True):
    """One line: [x] or [ ], and what it says."""

    DEFAULT_CSS = """
    CheckLine { height: 1; }
    CheckLine:focus { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "Tick", id="check.tick", tooltip="Tick it, or not"),
    ]

    ticked: reactive[bool] = reactive(False)

    class Changed(Message):
        """It was ticked, or unticked."""

    def __init__(self, label: str, *, id: str | None = None) -> None:  # noqa: A002  textual's word
        super().__init__(id=id)
        self._label = label

    def render(self) -> Text:
        """The tick and the label."""
        return Text(f"[{'x' if self.ticked else ' '}] {self._label}", no_wrap=True, overflow="ellipsis")

    def action_tick(self) -> None:
        """Ticks it, or not."""
        self.ticked = not self.ticked

    def watch_ticked(self) -> None:
        """Says so."""
        self.post_message(self.Changed())

    def on_click(self, event: events.Click) -> None:
        """As space."""
        event.stop()
        self.action_tick()
