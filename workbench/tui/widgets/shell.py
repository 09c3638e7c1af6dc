"""The same from a shell: commands that do what this screen does, to be copied; and what verifying found."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from workbench import events as ev
from workbench.text import visible
from workbench.tui.state import State
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit, wrapped

LEAST = 3
"""Commands that are in sight before there is room for the verdict."""


@dataclass(frozen=True)
class Command:
    """A line for a shell."""

    line: str
    does: str
    """In a few words; the words of the key that does the same."""


class ShellPanel(Rows):
    """Commands for the stack and for the selected edit; the one under the cursor can be copied."""

    HELP = (
        "What to type in a shell for the same. y copies the command under the cursor. While this screen is open, it "
        "has the stack: what changes it has to wait."
    )

    _stack: ev.StackChanged | None = None
    _edit: ev.EditRow | None = None
    _said: tuple[str, ...] = ()
    _commands: tuple[Command, ...] = ()

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("The same from a shell", "y copies")

    def show(self, state: State, edit: ev.EditRow | None = None) -> None:
        """Draws commands for the stack of `state` and the selected `edit`, and what verifying found so far."""
        said = tuple(verdict(state.verified, going=state.doing == "verify").split("\n"))
        if state.stack is self._stack and (edit, said) == (self._edit, self._said):
            return
        self._stack, self._edit, self._said = state.stack, edit, said
        self._commands = shell_commands(state.stack, edit)
        self.cursor = self.validate_cursor(self.cursor)
        self.refresh()

    @property
    def selected(self) -> Command | None:
        """The command under the cursor."""
        return self._commands[self.cursor] if self.cursor < len(self._commands) else None

    def count(self) -> int:
        """How many commands there are."""
        return len(self._commands)

    def empty(self) -> str:
        """While the stack is not read."""
        return "The stack is not read yet."

    def row(self, index: int, width: int) -> Text:
        """A command; what it does behind it, where there is room."""
        command = self._commands[index]
        line = visible(command.line)
        if cell_len(line) > width and self._stack is not None:
            line = visible(command.line.replace(shlex.quote(self._stack.folder), f"…/{stack_name(self._stack)}", 1))
        room = width - cell_len(line) - 2
        if room < len(command.does):
            return Text(fit(line, width))
        return Text(f"{line}  ").append(fit(command.does, room), "dim")

    def lines(self, width: int, height: int) -> list[Text]:
        """Commands, as many as there is room for, and the verdict below them."""
        below = [Text(line) for said in self._said for line in wrapped(said, width)]
        room = height - len(below)
        if room < LEAST:
            return super().lines(width, height)
        above = super().lines(width, min(room, max(self.count(), 1)))
        return [*above, *([Text()] if len(above) < room else []), *below]


def shell_commands(stack: ev.StackChanged | None, edit: ev.EditRow | None = None) -> tuple[Command, ...]:
    """What to type to do elsewhere what the screen does with `stack` and the selected `edit`."""
    if stack is None:
        return ()
    folder = shlex.quote(stack.folder)
    found = [Command(f"workbench log {folder}", "all edits")]
    if edit is not None:
        found += [
            Command(f"workbench show {folder} {edit.number}", "the edit under the cursor"),
            Command(f"workbench travel {folder} {edit.number}", "T here: goes there"),
            Command(f"workbench toggle {folder} {edit.number}", "o here: off, or on"),
        ]
    found += [
        Command(f"workbench replay {folder} --verify", "v here: compares every position"),
        Command(f"workbench probe {folder}", "R here: asks the probes"),
        Command(f"workbench health {folder}", "h here: how much still holds"),
        Command(f"workbench export {folder} -o {shlex.quote(stack_name(stack) + '.zip')}", "x here: writes a bundle"),
    ]
    return tuple(found)


def stack_name(stack: ev.StackChanged) -> str:
    """The last part of the stack's folder, as a name that any file system and terminal takes."""
    last = stack.folder.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    return re.sub(r"[^\w.-]+", "-", last)[:80].strip("-.") or "stack"


def verdict(verified: tuple[ev.Verified, ...], *, going: bool = False) -> str:
    """How many positions were compared and what came of it; a line for each outcome."""
    if not verified:
        return "Verifying ..." if going else "Not verified yet: v rebuilds every position and compares hashes."
    same = sum(v.outcome == "bit-identical" for v in verified)
    wrong = [str(v.position) for v in verified if v.outcome == "different"]
    other = len(verified) - same - len(wrong)
    parts = [f"{'✓' if same == len(verified) else '!'} {same} of {len(verified)} positions bit-identical"]
    parts += [f"✗ different at {listed(wrong)}"] if wrong else []
    parts += [f"{other} not comparable"] if other else []
    return "\n".join(parts)


def listed(words: list[str], most: int = 8) -> str:
    """The first of `words`, and how many there are more."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
