"""The same stack from a shell, and what verifying it found."""

from __future__ import annotations

import shlex

from rich.text import Text

from workbench.events import StackChanged, Verified
from workbench.tui.state import State
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import wrapped


class ShellPanel(Panel):
    """Commands that do on a command line what this screen does."""

    _stack: StackChanged | None = None
    _verified: tuple[Verified, ...] = ()

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("This stack from a shell")

    def show(self, state: State) -> None:
        """Draws the stack of `state`."""
        if (state.stack, state.verified) != (self._stack, self._verified):
            self._stack, self._verified = state.stack, state.verified
            self.refresh()

    def lines(self, width: int, height: int) -> list[Text]:
        """One command a line, then the verdicts."""
        del height
        commands = shell_commands(self._stack)
        found = [Text(line) for command in commands for line in wrapped(command, width)]
        verdicts = [Text(line) for line in wrapped(verdict(self._verified), width)]
        return [*found, Text(), *verdicts] if found else [Text("The stack is not read yet.", "dim")]


def shell_commands(stack: StackChanged | None) -> list[str]:
    """What to type to see and replay `stack` elsewhere."""
    if stack is None:
        return []
    folder = shlex.quote(stack.folder)
    commands = [f"workbench log {folder}", f"workbench replay {folder} --verify"]
    if stack.position:
        commands.append(f"workbench replay {folder} --to {stack.position} --out merged/")
    return commands


def verdict(verified: tuple[Verified, ...]) -> str:
    """How many positions were compared and what came of it; a line for each outcome."""
    if not verified:
        return "Not verified yet: v rebuilds every position and compares hashes."
    same = sum(v.outcome == "bit-identical" for v in verified)
    wrong = [str(v.position) for v in verified if v.outcome == "different"]
    other = len(verified) - same - len(wrong)
    parts = [f"{'✓' if same == len(verified) else '!'} {same} of {len(verified)} positions bit-identical"]
    parts += [f"✗ different at {', '.join(wrong)}"] if wrong else []
    parts += [f"{other} not comparable"] if other else []
    return "\n".join(parts)
