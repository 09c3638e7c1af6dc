"""A small app that stands for the real one around a single screen. For tests only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.pilot import Pilot

from tests.tui.story import told
from workbench import events as ev
from workbench.engine.protocol import Verb
from workbench.guards import Guard
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.screens.help import HelpPanel
from workbench.tui.state import State, started


class SmallBench(App[None]):
    """Holds one screen, a state, and what was sent."""

    BINDINGS = [Binding("f1", "help", "Help", id="help")]  # noqa: RUF012  Textual declares it so

    def __init__(self, screen: Callable[[], WorkbenchScreen], state: State | None = None) -> None:
        super().__init__()
        self._make = screen
        self.state = state or State()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.copied = ""
        self.guard = Guard()

    def on_mount(self) -> None:
        self.push_screen(self._make())

    def send(self, verb: Verb, **args: Any) -> str:
        self.sent.append((verb, args))
        job = f"job{len(self.sent)}"
        self.state = started(self.state, job, verb)
        return job

    def cancel(self) -> None: ...

    def restart_engine(self) -> None: ...

    def copy_to_clipboard(self, text: str) -> None:
        self.copied = text

    def tell(self, *events: ev.Event) -> None:
        """The engine says `events`."""
        self.show(told(events, self.state))

    def show(self, state: State) -> None:
        """The state is now `state`."""
        self.state = state
        if isinstance(self.screen, WorkbenchScreen):
            self.screen.refresh_state(state)

    def action_help(self) -> None:
        HelpPanel.toggle(self.screen)

    def picture(self) -> list[str]:
        """The screen as plain text, line by line."""
        lines = self.screen._compositor.render_strips(self.screen.size)
        return ["".join(segment.text for segment in strip) for strip in lines]


def text(app: SmallBench) -> str:
    """All that its screen shows."""
    return "\n".join(app.picture())


async def settled(pilot: Pilot[None]) -> None:
    """Returns when what runs beside the screen has ended."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
