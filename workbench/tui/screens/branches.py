"""Asks which branch of the stack to go over to, or the name of a new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench import events as ev
from workbench.errors import UsageError
from workbench.stack.names import new_name
from workbench.text import visible
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.stack_table import about
from workbench.tui.widgets.text import fit

if TYPE_CHECKING:
    from textual.app import ComposeResult


@dataclass(frozen=True)
class Wanted:
    """A branch."""

    name: str
    new: bool = False
    """It is to begin where the stack stands."""


class Branches(Rows):
    """The branches, the current one marked."""

    HELP = "Each branch is a line of edits. An edit made after an undo begins one; going over undoes nothing for good."

    _stack: ev.StackChanged | None = None

    def show(self, stack: ev.StackChanged) -> None:
        """Draws the branches of `stack`, the cursor on the current one."""
        self._stack = stack
        self.cursor = stack.names.index(stack.branch) if stack.branch in stack.names else 0
        self.refresh()

    @property
    def selected(self) -> str:
        """The name under the cursor."""
        return self._stack.names[self.cursor] if self._stack and self.cursor < len(self._stack.names) else ""

    def count(self) -> int:
        """How many there are."""
        return len(self._stack.names) if self._stack else 0

    def empty(self) -> str:
        """Before the first edit."""
        return "There is no branch yet: the first edit begins one."

    def row(self, index: int, width: int) -> Text:
        """A name; the current one has a star and a word; and where it ends, if that is on the present line."""
        stack = self._stack
        name = stack.names[index] if stack else ""
        here = stack is not None and name == stack.branch
        line = Text(fit(f"{'*' if here else ' '} {name}{'  (current)' if here else ''}", min(32, width)))
        end = next((row for row in reversed(stack.edits) if name in row.names), None) if stack else None
        if end is not None:
            line.append(fit(f" ends with edit {end.number}  {about(end)}", max(width - 32, 0)), "dim")
        return line


class BranchScreen(ModalScreen[Wanted | None]):
    """The branch to go over to or to begin; None if it was left, or is the current one."""

    CSS_PATH = "branches.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next part", id="focus.next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Part before", id="focus.previous", show=False, priority=True),
        Binding("enter", "go", "Go there", id="branches.go", priority=True),
        Binding("escape", "leave", "Back", id="branches.back", priority=True),
    ]

    def __init__(self, stack: ev.StackChanged) -> None:
        super().__init__()
        self._stack = stack

    def compose(self) -> ComposeResult:
        """The list, a line for a new name, and what is wrong with it."""
        with Vertical(id="branches"):
            yield Branches(id="names")
            yield LineInput(placeholder=f"or a new name: begins a branch at position {self._stack.position}", id="name")
            yield Static("", id="branches-said", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border and fills the list."""
        box = self.query_one("#branches")
        box.border_title, box.border_subtitle = (
            "Go over to a branch",
            "enter goes to its end, tab to name one, escape leaves",
        )
        self.query_one(Branches).show(self._stack)

    @on(Branches.Chosen)
    async def action_go(self) -> None:
        """Gives the name that was typed, else the one under the cursor."""
        field = self.query_one(LineInput)
        await settled(self.focused)
        if field.has_focus:
            self._begin(field.value.strip())
            return
        name = self.query_one(Branches).selected
        self.dismiss(Wanted(name) if name and name != self._stack.branch else None)

    def _begin(self, name: str) -> None:
        try:
            self.dismiss(Wanted(new_name(name, self._stack.names), new=True))
        except UsageError as error:
            self.query_one("#branches-said", Static).update(visible(f"✗ {error.message} {error.hint}".rstrip()))

    def action_leave(self) -> None:
        """Gives nothing."""
        self.dismiss(None)
