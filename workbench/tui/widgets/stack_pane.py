"""The stack list where it is a side pane: the same list as in History, with the keys that move along the stack."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from workbench.tui.bench import bench
from workbench.tui.widgets.stack_table import TRAVEL_TIP, StackTable


class StackPane(StackTable):
    """Undo, redo and travel rebuild the weights from the pristine ones, so they need no question."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "undo", "Undo", id="history.undo", tooltip="Takes back the newest applied edit"),
        Binding("r", "redo", "Redo", id="history.redo", tooltip="Applies the oldest undone edit again"),
        Binding("T", "travel", "Travel here", id="history.travel", tooltip=TRAVEL_TIP),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Absent where there is nothing to do, grey while the engine is not free."""
        del parameters
        state = bench(self).state
        stack = state.stack
        if action not in ("undo", "redo", "travel"):
            return True
        if stack is None:
            return False
        possible = {
            "undo": stack.position > 0,
            "redo": stack.position < len(stack.edits) and state.engine != "stopped",  # then r restarts the engine
            "travel": self.position != stack.position,
        }
        if not possible[action]:
            return False
        return True if state.engine == "idle" else None

    def watch_cursor(self) -> None:
        """Travel depends on the row."""
        super().watch_cursor()
        self.refresh_bindings()

    def action_undo(self) -> None:
        """Takes the newest applied edit back."""
        bench(self).send("undo", count=1)

    def action_redo(self) -> None:
        """Applies the next undone edit again."""
        bench(self).send("redo", count=1)

    def action_travel(self) -> None:
        """Goes to the edit under the cursor, or to the base."""
        bench(self).send("travel", to=self.position)
