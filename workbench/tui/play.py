"""A recording on the screen: all places can be visited, nothing can be changed, space pauses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input, TextArea

from workbench.recording import Recording
from workbench.tui import app
from workbench.tui.home import Home
from workbench.tui.leaving import until_left
from workbench.tui.recorded import Player

CHANGES = ("run_queue", "pause", "stop_edit", "restart", "new_edit")
"""Actions for which there is no engine."""


class PlayApp(app.WorkbenchApp):
    """The workbench with a recording in the engine's place."""

    CSS_PATH = str(Path(app.__file__).with_name("app.tcss"))  # Textual looks beside the class that is run
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "play_pause", "Pause", id="play.pause", tooltip="Pauses, or goes on", priority=True)
    ]

    def __init__(self, recording: Recording, speed: float = 1.0) -> None:
        self._recording = recording
        self.player = Player(recording, lambda *sent: self.session.began(*sent), self._ended, speed)
        super().__init__(Path(recording.stack), lambda _: self.player, Home("recorded"))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing that an engine would have to do."""
        if action == "play_pause":
            return not isinstance(self.focused, (Input, TextArea))
        return None if action in CHANGES else super().check_action(action, parameters)

    def action_play_pause(self) -> None:
        """Pauses, or goes on."""
        self.player.toggle()
        self.notify("Paused. space goes on." if self.player.paused else "On it goes.", markup=False)

    def _ended(self) -> None:
        cut = f" {self._recording.cut}" if self._recording.cut else ""
        self.notify(f"This is the end of the recording.{cut} ctrl+q leaves.", markup=False)


def play(recording: Recording, speed: float = 1.0) -> int:
    """Shows `recording`; returns the exit code.

    Args:
        recording: what is shown.
        speed: how many times faster than it was; 0: all of it at once.
    """
    return asyncio.run(until_left(PlayApp(recording, speed)))
