"""The guard's question: an edit is in the model, measured and beyond a limit; keep it, discard it, or keep and go on.

It comes by itself, maybe while somebody types: keys are taken only after a moment in which none was pressed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from workbench import events as ev
from workbench.guards import Guard, told
from workbench.text import shortened, visible
from workbench.tui.bench import bench
from workbench.tui.keynames import named
from workbench.tui.state import Run, State
from workbench.tui.widgets.guard_lines import readings, table
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.text import wrapped

if TYPE_CHECKING:
    from textual.app import ComposeResult

QUIET = 0.5
"""Seconds without a key after which a key is an answer."""

ANSWERS = (
    ("k", "keep", "Keep", "the edit is saved; the queue pauses, ctrl+r goes on"),
    ("d", "discard", "Discard", "nothing has changed; it goes back to the queue, held, with the reason"),
    ("c", "continue", "Keep and continue", "saved; the queue goes on and asks no more about this until it ends"),
)
"""Key, answer, name, and what it does."""


class Measures(Static):
    """What was measured; fitted again when the window, or help beside it, leaves another width."""

    def on_resize(self) -> None:
        """Fits the lines again."""
        screen = self.screen
        if isinstance(screen, GuardScreen):
            screen.refresh_state(bench(self).state)


class GuardScreen(ModalScreen[str]):
    """Gives the answer, or "" if it was put off, or is no longer wanted.

    Args:
        asked: the question.
        guard: what the edit was held to.
        wanted: says whether the question is still open.
    """

    CSS_PATH = "guard.tcss"
    HELP = (
        "An edit has passed a limit of the guard. It is in the model and not on disk: nothing is saved until you "
        "answer, and if the engine ended now, only this edit would be lost.\n\n"
        "Escape lets you look at the other places first; ctrl+r asks again. ctrl+g discards the edit too."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(key, f"answer('{answer}')", name, id=f"guard.{answer}", tooltip=what)
            for key, answer, name, what in ANSWERS
        ),
        Binding("escape", "answer('')", "Look first", id="guard.look", tooltip="ctrl+r asks again"),
        Binding("left,up", "app.focus_previous", "Answer before", id="guard.previous", show=False),
        Binding("right,down", "app.focus_next", "Next answer", id="guard.next", show=False),
    ]
    AUTO_FOCUS = ""

    def __init__(self, asked: ev.GuardAsked, guard: Guard, wanted: Callable[[State], ev.GuardAsked | None]) -> None:
        super().__init__()
        self._asked, self._guard, self._wanted = asked, guard, wanted
        self._last_key = time.monotonic()

    def compose(self) -> ComposeResult:
        """What was measured over the answers."""
        with Vertical(id="guard"):
            yield Measures(id="measures", markup=False)
            for key, answer, name, what in ANSWERS:
                yield Button(Text(f"{key}  {name}"), id=f"answer-{answer}", compact=True)
                yield Static(f"   {named(what)}", classes="what", markup=False)
            yield Static(named("escape: look first, ctrl+r asks again"), classes="what", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Draws the question."""
        self.query_one("#guard").border_title = "The guard asks, before this edit is saved"
        self.refresh_state(bench(self).state)

    def on_screen_resume(self) -> None:
        """It may have been answered in another place."""
        self._last_key = time.monotonic()
        self.refresh_state(bench(self).state)

    def refresh_state(self, state: State) -> None:
        """The app calls this when the state changed: a question that is no longer open goes away."""
        if not self.query("#measures"):
            return
        if self._wanted(state) is not self._asked or state.run is None:
            if self.is_current:
                self.dismiss("")
            return
        width = self.query_one("#guard").content_size.width or 60
        self.query_one("#measures", Static).update("\n".join(question(state.run, state, self._guard, width)))

    def on_key(self, event: events.Key) -> None:
        """Drops a key that follows another one at once: it was meant for what was here before."""
        now, before = time.monotonic(), self._last_key
        self._last_key = now
        if now - before < QUIET:
            event.stop()
            event.prevent_default()

    def action_answer(self, answer: str) -> None:
        """The answer."""
        self.dismiss(answer)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """As the answer's key."""
        self.dismiss((event.button.id or "").removeprefix("answer-"))


def question(run: Run, state: State, guard: Guard, width: int) -> list[str]:
    """Which edit it is, what is beyond its limit, and every measure."""
    request = run.started.request
    subject, target = str(request.get("subject", "")), str(request.get("target_new", "")).strip()
    what = f"{shortened(subject, 30)} -> {shortened(target, 20)}"
    heading = f"{visible(what)}   edit {run.started.index} of {run.started.of}"
    beyond = [line for one in run.tripped for line in wrapped(f"✗ {told(one)}.", width)]
    return [heading, "", *beyond, "", *table(guard, readings(state), width)]
