"""Questions that want one key: y or n, or one of a few choices. Escape never changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from workbench.tui.widgets.keys import KeyLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from workbench.tui.state import State

MAKING = "An edit is being made."
SEVERAL = "Edits are being made together."
MADE = "No edit is being made any more: a and n leave, k stays."

Choice = tuple[str, str, str]
"""Key, label, and the result."""


class ChoiceScreen(ModalScreen[str]):
    """A sentence and a few buttons, each with its key; escape gives ""."""

    CSS_PATH = "confirm.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss('')", "Back", id="choice.back"),
        Binding("left,up", "app.focus_previous", "Answer before", id="choice.previous", show=False),
        Binding("right,down", "app.focus_next", "Next answer", id="choice.next", show=False),
    ]

    def __init__(self, question: str, choices: tuple[Choice, ...]) -> None:
        super().__init__()
        self._question, self._choices = question, choices

    def compose(self) -> ComposeResult:
        """The question over its answers."""
        with Vertical(id="question"):
            yield Static(self._question, markup=False)
            with Horizontal():
                for key, label, result in self._choices:
                    yield Button(f"{key}  {label}", id=f"choice-{result}", compact=True)
        yield KeyLine()

    def on_mount(self) -> None:
        """Every choice has its key."""
        for key, label, result in self._choices:
            self._bindings.bind(key, f"dismiss('{result}')", label)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """As the choice's key."""
        self.dismiss((event.button.id or "").removeprefix("choice-"))


class QuitScreen(ChoiceScreen):
    """Asked while an edit is being made; `going` says whether one still is, and the question keeps to it."""

    def __init__(self, going: Callable[[], bool]) -> None:
        choices = (("a", "Stop after this edit", "after"), ("n", "Stop now", "now"), ("k", "Keep running", ""))
        super().__init__(MAKING, choices)
        self._going = going

    def refresh_state(self, state: State) -> None:
        """The app calls this when the state changed."""
        making = SEVERAL if state.run and state.run.running and state.run.joint else MAKING
        self.query_one("#question > Static", Static).update(making if self._going() else MADE)


class ConfirmScreen(ChoiceScreen):
    """Yes or no; "yes" is the result of y."""

    def __init__(self, question: str) -> None:
        super().__init__(question, (("y", "Yes", "yes"), ("n", "No", "")))
