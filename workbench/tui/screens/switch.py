"""Asks which stack to open: one beside the present one, or a folder that is named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.errors import WorkbenchError
from workbench.stack.beside import StackFolder, stacks_beside
from workbench.tui.bench import bench
from workbench.tui.state import State
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit, safe

if TYPE_CHECKING:
    from textual.app import ComposeResult

PATIENCE = 10.0
"""Seconds that an engine elsewhere has to say which stacks it has."""


class StackFolders(Rows):
    """Stacks to choose from."""

    HELP = "Stacks beside the open one. Each has its own edits, position and queue."

    _stacks: tuple[StackFolder, ...] | None = None

    def show(self, stacks: tuple[StackFolder, ...]) -> None:
        """Draws `stacks`."""
        self._stacks = stacks
        self.refresh()

    @property
    def looking(self) -> bool:
        """It is not known yet which there are."""
        return self._stacks is None

    @property
    def selected(self) -> StackFolder | None:
        """The stack under the cursor."""
        return self._stacks[self.cursor] if self._stacks and self.cursor < len(self._stacks) else None

    def count(self) -> int:
        """How many there are."""
        return len(self._stacks or ())

    def empty(self) -> str:
        """That there is none, or not yet."""
        return (
            "Looking for stacks ..." if self._stacks is None else "There is no other stack here. Name a new one below."
        )

    def row(self, index: int, width: int) -> Text:
        """A folder's name, and what is in it."""
        stack = (self._stacks or ())[index]
        name = max(12, width * 2 // 5)
        return Text(fit(f"{fit(stack.folder.name, name)} {stack.words}", width), "dim" if stack.problem else "")


class SwitchScreen(ModalScreen[Path | None]):
    """The folder of the stack to open; None if it was left with escape.

    Args:
        present: the open stack's folder.
        fingerprint: the loaded model's.
        here: the stacks lie on this machine. Elsewhere the engine is asked for them, and what is typed is meant there.
    """

    CSS_PATH = "switch.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next part", id="focus.next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Part before", id="focus.previous", show=False, priority=True),
        Binding("enter", "open", "Open", id="switch.open", priority=True),
        Binding("escape", "dismiss(None)", "Back", id="switch.back", priority=True),
    ]

    def __init__(self, present: Path, fingerprint: str, *, here: bool = True) -> None:
        super().__init__()
        self._present, self._fingerprint, self._here = present, fingerprint, here
        self._job = ""
        """The question for the engine's stacks."""

    def compose(self) -> ComposeResult:
        """The stacks, a line for a folder, and what is wrong."""
        with Vertical(id="switch"):
            yield StackFolders(id="stacks")
            yield LineInput(placeholder="or a folder; a new one is made", id="folder", compact=True)
            yield Static("", id="switch-said", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border and looks for stacks."""
        box = self.query_one("#switch")
        box.border_title, box.border_subtitle = "Open another stack", "enter opens it, tab to name one, escape leaves"
        if self._here:
            self._look()
        else:
            self._job = bench(self).send("stacks")
            self.set_timer(PATIENCE, self._gave_up)

    def refresh_state(self, state: State) -> None:
        """Takes in what an engine elsewhere says of its stacks."""
        if state.beside is not None and self._job and state.beside.job == self._job:
            found = (StackFolder(Path(folder), words, problem) for folder, words, problem in state.beside.stacks)
            self.query_one(StackFolders).show(tuple(found))

    def _gave_up(self) -> None:
        rows = self.query_one(StackFolders)
        if rows.looking:
            rows.show(())
            self._say("The engine has not said which stacks it has. Name one.")

    @work
    async def _look(self) -> None:
        found: tuple[StackFolder, ...] = ()
        try:
            found = await asyncio.to_thread(stacks_beside, self._present, self._fingerprint)
        except WorkbenchError as error:
            self._say(f"{error.message} {error.hint}".strip())
        self.query_one(StackFolders).show(found)

    def _say(self, words: str) -> None:
        self.query_one("#switch-said", Static).update(safe(f"✗ {words}"))

    @on(StackFolders.Chosen)
    async def _chosen(self) -> None:
        await self.action_open()

    async def action_open(self) -> None:
        """Gives the folder that was typed, else the one under the cursor."""
        field = self.query_one(LineInput)
        await settled(self.focused)
        if field.has_focus:
            self._open_named(field.value.strip())
            return
        stack = self.query_one(StackFolders).selected
        if stack is not None and stack.problem:
            self._say(f"{stack.folder.name} cannot be opened: {stack.problem}.")
        elif stack is not None:
            self.dismiss(stack.folder)

    def _open_named(self, name: str) -> None:
        """A bare name lies beside the present stack."""
        bare = Path(name).name == name and not name.startswith("~") and name != ".."
        try:
            named = Path(name).expanduser() if self._here else Path(name)
            folder = self._present.parent / name if bare else named
        except RuntimeError as error:
            self._say(f"{name} is not a folder: {error}")
        else:
            if name:
                self.dismiss(folder)
