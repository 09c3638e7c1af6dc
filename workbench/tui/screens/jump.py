"""Jump: a letter appears on every part that can have the focus; its key takes one there."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Label

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class JumpScreen(ModalScreen[Widget | None]):
    """Gives the widget whose letter was pressed.

    Args:
        targets: widgets in sight, in tab order.
    """

    DEFAULT_CSS = """
    JumpScreen { background: $background 40%; }
    JumpScreen Label { position: absolute; background: $accent; color: $text; text-style: bold reverse; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+o", "dismiss(None)", "Back", id="letters.back")]

    def __init__(self, targets: list[Widget]) -> None:
        super().__init__()
        self._targets = dict(zip(LETTERS, targets, strict=False))

    def compose(self) -> ComposeResult:
        """One label a target, at its corner."""
        for letter, target in self._targets.items():
            label = Label(f" {letter} ", markup=False)
            label.offset = target.region.offset
            yield label

    def on_key(self, event: events.Key) -> None:
        """Takes one there; another letter does nothing."""
        target = self._targets.get(event.character or "")
        if target is not None:
            event.stop()
            self.dismiss(target)
