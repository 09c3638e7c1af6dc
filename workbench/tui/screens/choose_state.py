"""Asks which state of the stack is meant: a list that narrows as one types, and takes what is not in it as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from workbench import events as ev
from workbench.tui.states import Choice, choices, narrowed
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit

if TYPE_CHECKING:
    from textual.app import ComposeResult

LONGEST = 200


class StateRows(Rows, can_focus=False):
    """The states that pass the filter."""

    _choices: tuple[Choice, ...] = ()

    def show(self, found: tuple[Choice, ...], at: str = "") -> None:
        """Draws `found`, the cursor on the state `at` or on the first."""
        self._choices = found
        self.cursor = next((i for i, choice in enumerate(found) if choice.word == at), 0)
        self.refresh()

    @property
    def selected(self) -> Choice | None:
        """The state under the cursor."""
        return self._choices[self.cursor] if self.cursor < len(self._choices) else None

    def count(self) -> int:
        """How many there are."""
        return len(self._choices)

    def row(self, index: int, width: int) -> Text:
        """A state's name, and what it is."""
        choice = self._choices[index]
        name = min(max(14, width // 4), 24)
        line = Text(f"{fit(choice.name, name)} ").append(fit(choice.detail, width - name - 1), "dim")
        if index == self.cursor:
            line.stylize("reverse")
        return line


class ChooseStateScreen(ModalScreen[str]):
    """The word for a state; empty if it was left.

    Args:
        side: "A" or "B".
        stack: what there is to choose from.
        present: the word for the state that is chosen now.
    """

    CSS_PATH = "choose_state.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Take it", id="choose.take", priority=True),
        Binding("escape", "dismiss('')", "Back", id="choose.back", priority=True),
        Binding("up", "move(-1)", "Up", id="choose.up", show=False, priority=True),
        Binding("down", "move(1)", "Down", id="choose.down", show=False, priority=True),
        Binding("pageup", "move(-10)", "Page up", id="choose.pageup", show=False, priority=True),
        Binding("pagedown", "move(10)", "Page down", id="choose.pagedown", show=False, priority=True),
    ]

    def __init__(self, side: str, stack: ev.StackChanged | None, present: str) -> None:
        super().__init__()
        self._side, self._present, self._all = side, present, choices(stack)

    def compose(self) -> ComposeResult:
        """A line to type in over the list."""
        with Vertical(id="choose"):
            yield LineInput(
                placeholder="type to narrow; or an id, a position, a branch", id="wanted", max_length=LONGEST
            )
            yield StateRows(id="states")
        yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border and fills the list."""
        box = self.query_one("#choose")
        box.border_title, box.border_subtitle = f"State of {self._side}", "enter takes it, escape leaves"
        self.query_one(StateRows).show(self._all, self._present)

    @on(Input.Changed, "#wanted")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one(StateRows).show(narrowed(self._all, event.value), "" if event.value.strip() else self._present)

    def action_move(self, rows: int) -> None:
        """Moves the list's cursor while one types."""
        self.query_one(StateRows).cursor += rows

    @on(StateRows.Chosen)
    async def action_take(self) -> None:
        """Gives the state under the cursor."""
        await settled(self.query_one(LineInput))
        chosen = self.query_one(StateRows).selected
        if chosen is not None:
            self.dismiss(chosen.word)
