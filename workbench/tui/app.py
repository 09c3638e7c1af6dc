"""The terminal workbench: paints first, then listens to the engine; draws the session's state, hands it what keys want.

Redrawing is on a clock, twelve times a second at most and only when something has changed, however fast events come.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from textual import events, work
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.filter import LineFilter
from textual.types import CSSPathType

from workbench import events as ev
from workbench import settings
from workbench.engine.protocol import Verb
from workbench.errors import WorkbenchError
from workbench.guards import DECISIONS, Decision, Guard
from workbench.text import visible
from workbench.tui import screens
from workbench.tui.ascii import AsciiFilter, needs_ascii, terminal_encoding
from workbench.tui.client import EngineClient
from workbench.tui.home import HERE, Home
from workbench.tui.keynames import REBOUND, key_name, spoken
from workbench.tui.places import PlacesApp
from workbench.tui.queue import Queue
from workbench.tui.screens.base import HEIGHTS, HELPED, WIDTHS
from workbench.tui.screens.edit import EditScreen
from workbench.tui.session import Session, Severity, unavailable
from workbench.tui.state import State
from workbench.tui.unseen import UnseenFilter

HELP_TIP = "What has the focus, and its keys"
FRAME = 1 / 12
"""Seconds between two looks at whether something is to be drawn."""
AHEAD = 0.3
"""Seconds after which the places that were not visited yet are made, one at a time."""


def _deeds() -> type[Provider]:
    from workbench.tui.palette import Deeds

    return Deeds


class WorkbenchApp(PlacesApp):
    """The app offers `state`, `send`, `cancel`, `restart_engine` and `queue` to its screens (see bench.py).

    Args:
        folder: the stack's.
        make_client: gives an engine, not yet started, on a stack's folder.
        home: where the stack lies.
        ahead: makes all places soon after the first is painted: their first visit is then as quick as any.
    """

    TITLE = "workbench"
    CSS_PATH: ClassVar[CSSPathType | None] = ["app.tcss", "screens/edit.tcss"]  # read once, not again for its screen
    MODES = {  # noqa: RUF012  Textual declares it so
        "edit": EditScreen,
        "live": lambda: screens.LiveScreen(),
        "history": lambda: screens.HistoryScreen(),
        "compare": lambda: screens.CompareScreen(),
        "log": lambda: screens.LogScreen(),
    }
    DEFAULT_MODE = "edit"
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_deeds}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "run_queue", "Run", id="run", tooltip="Make the queue's edits, one after the other"),
        Binding("ctrl+r", "pause", "Pause", id="run", tooltip="End the run after this edit"),
        Binding("ctrl+r", "answer_guard", "Answer", id="run", tooltip="What becomes of the edit that the guard holds"),
        Binding("ctrl+g", "stop_edit", "Stop", id="stop", tooltip="Stop this edit now; it stays in the queue"),
        Binding("r", "restart", "Restart", id="restart", tooltip="Start the engine again"),
        Binding("ctrl+r", "restart", "Restart", id="run", tooltip="Start the engine again"),
        Binding("l", "open_log", "Open log", id="open-log", tooltip="What the engine said last"),
        Binding("ctrl+o", "jump", "Jump", id="jump", tooltip="Go to a part by its letter", priority=True),
        Binding("ctrl+n", "new_edit", "New edit", id="new", tooltip="Write a new edit", priority=True),
        Binding("f1,question_mark", "help", "Help", id="help", key_display="f1", priority=True, tooltip=HELP_TIP),
        Binding("alt+up", "scroll_help(-1)", "Help up", id="helping.up", show=False, priority=True),
        Binding("alt+down", "scroll_help(1)", "Help down", id="helping.down", show=False, priority=True),
        Binding("ctrl+p", "command_palette", "Palette", id="palette", priority=True, tooltip="All actions, by name"),
        Binding("f2,1", "place('edit')", "Go to Edit", id="place.edit", show=False),
        Binding("f3,2", "place('live')", "Go to Live", id="place.live", show=False),
        Binding("f4,3", "place('history')", "Go to History", id="place.history", show=False),
        Binding("f5,4", "place('compare')", "Go to Compare", id="place.compare", show=False),
        Binding("f8", "place('log')", "Go to Log", id="place.log", show=False),
        Binding("f6", "guard_limits", "Guard limits", id="guard.limits", show=False, tooltip="What an edit may do"),
        Binding("ctrl+q", "quit", "Quit", id="quit", show=False, priority=True),
    ]

    def __init__(
        self, folder: Path, make_client: Callable[[Path], EngineClient], home: Home = HERE, *, ahead: bool = False
    ) -> None:
        super().__init__()
        self._ahead = ahead
        self.settings = settings.read()
        self._unseen = UnseenFilter()
        self._ascii = AsciiFilter(_encoding()) if self._plain() else None
        self._keymap, self._misbound = _own_keys(self.settings)
        REBOUND.set(self._keymap)  # before any other task begins, which takes it along
        self.session = Session(folder, make_client, self._say, home)
        self._quit_after = False

    @property
    def state(self) -> State:
        """What is known now."""
        return self.session.state

    @property
    def queue(self) -> Queue:
        """The edits that wait."""
        return self.session.queue

    @property
    def waiting(self) -> int:
        """How many edits wait."""
        return sum(1 for item in self.queue if not item.running)

    def on_mount(self) -> None:
        """The engine, which may be loading already, is listened to only after the first screen is painted."""
        self.session.open_queue()
        self._take_settings()
        self.set_interval(FRAME, self._frame)
        self.call_after_refresh(self._start_engine)
        if self._ahead:
            self.set_timer(AHEAD, self.make_places)

    def _plain(self) -> bool:
        wanted = self.settings.ascii
        return needs_ascii(os.environ, _encoding()) if wanted is None else wanted

    @property
    def ascii(self) -> bool:
        """Whether only ASCII is drawn: what is a picture is better shown as numbers."""
        return self._ascii is not None

    def get_key_display(self, binding: Binding) -> str:
        """A key as the bottom line shows it; by its name where its picture would be no help."""
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.ascii else spoken(binding.key)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What every line goes through before it is drawn."""
        return [*super().get_line_filters(), self._unseen, *([self._ascii] if self._ascii else [])]

    def _take_settings(self) -> None:
        """The person's keys and theme; what cannot be used is said, and left out."""
        said = [*self.settings.problems, *self._misbound, *self.session.guarding.problems]
        self.set_keymap(self._keymap)
        if self.settings.theme in self.available_themes:
            self.theme = self.settings.theme
        elif self.settings.theme:
            said.append(f"There is no theme '{self.settings.theme}'; {key_name('palette')} lists them.")
        self.session.warn(*said)
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(theme.name))

    @work(group="settings")
    async def _keep_theme(self, name: str) -> None:
        try:
            await asyncio.to_thread(settings.remember, "theme", {"name": name})
        except WorkbenchError as error:
            self.tell(error)

    @work
    async def _start_engine(self) -> None:
        await self.session.start()

    async def on_unmount(self) -> None:
        """No engine outlives the screen."""
        await self.session.stop()

    def _frame(self) -> None:
        if self._quit_after and not self.session.runner.in_flight:
            self.exit()
        if self.session.changed:
            self.session.changed = False
            self._draw()
            self._ask_guard()

    def _ask_guard(self) -> None:
        """The guard's question comes by itself, once; after escape, at a key."""
        asked = self.question
        if asked is not None and asked is not self.session.guarding.put_off:
            self.action_answer_guard()

    @property
    def question(self) -> ev.GuardAsked | None:
        """What the guard asks and nobody has answered; in a recording nobody can."""
        return None if self.state.where == "recorded" else self.session.guarding.question(self.state)

    @property
    def guard(self) -> Guard:
        """The limits that edits are held to."""
        return self.session.guarding.guard

    def _draw(self) -> None:
        for screen in self.screen_stack:
            refresh = getattr(screen, "refresh_state", None)
            if refresh is not None and screen.is_mounted:
                refresh(self.state)

    def cut_short(self, message: str) -> None:
        """What a notice has no room for is in the log."""
        self.session.note(message)

    def _say(self, sentence: str, severity: Severity) -> None:
        self.notify(visible(sentence), severity=severity, markup=False)

    def tell(self, error: WorkbenchError) -> None:
        """Shows what went wrong and what to do."""
        self.session.tell(error)

    def send(self, verb: Verb, **args: Any) -> str:
        """Asks the engine and returns the job's id; says so and returns "" if the engine cannot take it."""
        return self.session.send(verb, **args)

    def cancel(self) -> None:
        """Stops the job in progress, if there is one."""
        self.session.cancel()

    def run_queue(self, batch: dict[str, Any] | None = None, *, together: bool = False) -> None:
        """The queue's edits are made; with `batch`, all that are ready as one edit so set; `together`, side by side."""
        self.session.run(batch, together=together)

    def queue_changed(self) -> None:
        """Draws the queue anew."""
        self.session.changed = False
        self._draw()

    @work(exclusive=True, group="engine")
    async def restart_engine(self) -> None:
        """Ends the engine, if it runs, and starts another one on the same stack."""
        await self.session.restart()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what works now."""
        del parameters
        armed = self.session.runner.armed
        if action == "answer_guard":
            return self.question is not None
        if action in ("run_queue", "pause"):
            if self.question is not None:
                return False
            return armed == (action == "pause") and self.state.engine != "stopped"
        if action == "stop_edit":
            return bool(self.state.job)
        if action == "new_edit":
            return not self.screen.is_modal
        if action == "scroll_help":
            return self.screen.has_class(HELPED)
        return action not in ("restart", "open_log") or self.state.engine == "stopped"

    def on_key(self, event: events.Key) -> None:
        """A key that is shown grey says why it does nothing now."""
        bound = self.screen.active_bindings.get(event.key)
        if bound is not None and not bound.enabled:
            self.notify(unavailable(self.state), severity="warning", markup=False)

    async def action_place(self, place: str) -> None:
        """Goes to a place; questions that are open stay where they were asked."""
        await self.switch_mode(place)

    def action_open_log(self) -> None:
        """Goes to the log."""
        self.switch_mode("log")

    def action_run_queue(self) -> None:
        """Makes the queue's edits."""
        self.session.run()

    def action_pause(self) -> None:
        """Lets the run end after this edit."""
        self.session.pause()
        run = self.state.run
        which = "the first of these edits" if run and run.running and run.joint else "this edit"
        self.notify(f"The queue pauses after {which}. {key_name('run')} goes on.", markup=False)

    def action_stop_edit(self) -> None:
        """Stops what the engine does now."""
        self.session.cancel()

    @work
    async def action_answer_guard(self) -> None:
        """Asks what becomes of the edit that the guard holds."""
        asked, guarding = self.question, self.session.guarding
        if asked is None or any(isinstance(screen, screens.GuardScreen) for screen in self.screen_stack):
            return
        answer = await self.push_screen_wait(screens.GuardScreen(asked, guarding.guard, guarding.question))
        if answer in DECISIONS:
            self.session.decide(cast("Decision", answer))
        else:
            guarding.put_off = asked
            self.session.changed = True

    @work
    async def action_guard_limits(self) -> None:
        """Shows the guard's limits, and takes others."""
        if isinstance(self.screen, screens.GuardLimitsScreen):
            return
        limits = await self.push_screen_wait(screens.GuardLimitsScreen(self.session.guarding.limits))
        if limits is None:
            return
        try:
            await asyncio.to_thread(self.session.guarding.keep, limits)
        except WorkbenchError as error:
            self.tell(error)
        self.session.changed = True

    def action_restart(self) -> None:
        """Starts the engine again."""
        self.restart_engine()

    async def action_new_edit(self) -> None:
        """Goes to an empty form."""
        await self.switch_mode("edit")
        if isinstance(self.screen, EditScreen):
            self.screen.action_add_edit()

    def action_help(self) -> None:
        """Shows or hides help for what has the focus."""
        screens.HelpPanel.toggle(self.screen)

    def action_scroll_help(self, pages: int) -> None:
        """Moves through help that is longer than the screen."""
        for panel in self.screen.query(screens.HelpPanel):
            panel.scroll_relative(y=pages * max(panel.size.height // 2, 1), animate=False)

    @work
    async def action_jump(self) -> None:
        """Goes to a part by its letter."""
        screen = self.screen
        if isinstance(screen, screens.JumpScreen):
            return
        target = await self.push_screen_wait(screens.JumpScreen([w for w in screen.focus_chain if w.region.area]))
        if target is not None:
            screen.set_focus(target)

    async def action_quit(self) -> None:
        """Leaves; asks first while an edit is being made."""
        if not self.session.runner.in_flight:
            self.exit()
        elif not isinstance(self.screen, screens.ChoiceScreen):
            self._ask_to_quit()

    @work
    async def _ask_to_quit(self) -> None:
        runner = self.session.runner
        answer = await self.push_screen_wait(screens.QuitScreen(lambda: bool(runner.in_flight or runner.armed)))
        if answer:
            self.session.pause()
            self._quit_after = True
        if answer == "now":
            self.session.cancel()


def _encoding() -> str:
    """What the terminal can show."""
    return terminal_encoding(os.environ, getattr(sys.__stderr__, "encoding", None) or "utf-8")


def _own_keys(own: settings.Settings) -> tuple[dict[str, str], tuple[str, ...]]:
    """The keymap of a person's own keys, and what is wrong with them."""
    if not own.keys:
        return {}, ()
    from workbench.tui.keymap import planned

    plan = planned(own)
    return plan.keymap, plan.problems
