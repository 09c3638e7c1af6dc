"""Asks which branch of the stack to go over to."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from workbench.events import StackChanged
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit

if TYPE_CHECKING:
    from textual.app import ComposeResult


class Branches(Rows):
    """The branches, the current one marked."""

    HELP = "Each branch is a line of edits. An edit made after an undo begins one; going over undoes nothing for good."

    _stack: StackChanged | None = None

    def show(self, stack: StackChanged) -> None:
        """Draws the branches of `stack`, the cursor on the current one."""
        self._stack = stack
        self.cursor = stack.names.index(stack.branch)
        self.refresh()

    @property
    def selected(self) -> str:
        """The name under the cursor."""
        return self._stack.names[self.cursor] if self._stack else ""

    def count(self) -> int:
        """How many there are."""
        return len(self._stack.names) if self._stack else 0

    def row(self, index: int, width: int) -> Text:
        """A name; the current one has a star and a word."""
        name = self._stack.names[index] if self._stack else ""
        here = self._stack is not None and name == self._stack.branch
        return Text(fit(f"{'*' if here else ' '} {name}{'  (current)' if here else ''}", width))


class BranchScreen(ModalScreen[str]):
    """The name of the branch to go over to; empty if it was left, or is the current one."""

    CSS_PATH = "branches.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go", "Go there", id="branches.go", priority=True),
        Binding("escape", "leave", "Back", id="branches.back", priority=True),
    ]

    def __init__(self, stack: StackChanged) -> None:
        super().__init__()
        self._stack = stack

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(id="branches"):
            yield Branches(id="names")

    def on_mount(self) -> None:
        """Writes the border and fills the list."""
        box = self.query_one("#branches")
        box.border_title, box.border_subtitle = "Go over to a branch", "enter goes to its end, escape leaves"
        self.query_one(Branches).show(self._stack)

    @on(Branches.Chosen)
    def action_go(self) -> None:
        """Gives the name under the cursor."""
        name = self.query_one(Branches).selected
        self.dismiss("" if name == self._stack.branch else name)

    def action_leave(self) -> None:
        """Gives nothing."""
        self.dismiss("")
