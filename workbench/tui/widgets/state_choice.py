"""One line that names a state of the stack and, at a key or a click, asks for another."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from workbench.tui.widgets.text import fit, safe

MARK = " ▾"


class StateChoice(Widget, can_focus=True):
    """Shows a state's name; whoever holds it opens the list and sets the state."""

    HELP = "A state of the stack: the base, any position, a branch or a tag. Enter lists them; type to narrow the list."

    DEFAULT_CSS = """
    StateChoice { height: 1; width: 1fr; background: $panel; }
    StateChoice:focus { background: $accent; color: $background; text-style: bold; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter,space,down", "ask", "Choose", id="state.choose", key_display="enter", tooltip="Lists the states"
        ),
    ]

    class Asked(Message):
        """Another state is wanted."""

        def __init__(self, choice: StateChoice) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> StateChoice:
            """Where."""
            return self.choice

    def __init__(self, side: str, *, id: str) -> None:  # noqa: A002  textual's word
        super().__init__(id=id)
        self._side, self._chosen = side, ""

    def name_it(self, name: str) -> None:
        """Shows `name`."""
        if name != self._chosen:
            self._chosen = name
            self.refresh()

    def render(self) -> Text:
        """The side and the name, cut to the width."""
        head = f"{self._side} "
        room = max(self.size.width - len(head) - len(MARK), 1)
        return safe(head, "bold").append(fit(self._chosen, room)).append(MARK)

    def action_ask(self) -> None:
        """Says that another state is wanted."""
        self.post_message(self.Asked(self))

    def on_click(self) -> None:
        """As enter."""
        self.action_ask()
