"""The live line on stderr while an engine works: only where a terminal shows it, gone when the work is done."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workbench import events as ev
from workbench.text import and_more, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.live import Live
    from rich.text import Text

MARKS = "⠋⠙⠹⠸⠼⠴⠦⠧"


class Progress:
    """Shows nothing: where nobody looks."""

    def show(self, event: ev.Event) -> None:
        """Takes an event."""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within, others may write to the terminal."""
        yield

    def close(self) -> None:
        """Takes the line away."""


def progress_for(json: bool) -> Progress:
    """A live line if stderr is a terminal that can redraw one, and no JSON scrolls on the same screen."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or (json and sys.stdout.isatty()):
        return Progress()
    return LiveLine()


class LiveLine(Progress):
    """One line that follows the engine. Colour only as NO_COLOR and the terminal allow."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._edit = ""

    def show(self, event: ev.Event) -> None:
        """Redraws the line if the event says something new."""
        if isinstance(event, ev.EditStarted):
            self._edit = _heading(event)
        words = describe(event)
        if words:
            self._draw(visible(f"{self._edit}  {words}" if self._edit else words))
        if isinstance(event, (ev.EditCommitted, ev.EditCancelled, ev.EditFailed)):
            self._edit = ""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Takes the line away while others write; the next event draws it again."""
        self.close()
        yield

    def close(self) -> None:
        """Takes the line away."""
        if self._live:
            self._live.stop()
            self._live = None

    def _draw(self, words: str) -> None:
        from rich.live import Live

        if self._live is None:
            self._live = Live(
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                refresh_per_second=10,
            )
            self._live.start()
        self._live.update(_Line(words))


class _Line:
    """Words that are cut, never wrapped, behind a mark that turns while they stand."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        mark = MARKS[int(time.monotonic() * 8) % len(MARKS)]
        line = Text(no_wrap=True, overflow="ellipsis")
        yield line.append(mark, "cyan").append(f" {self._words}")


def describe(event: ev.Event) -> str:
    """What the live line says after `event`; empty: nothing new."""
    match event:
        case ev.EditStarted():
            return "begins"
        case ev.StageStarted():
            return f"{event.stage}  {event.detail}".rstrip()
        case ev.OptimStep():
            return (
                f"step {event.step}/{event.of}  loss {event.loss:.3f}  p(target) {event.p_target:.3f}  "
                f"|δ| {event.delta_norm:.2f} of {event.clamp:.2f}"
            )
        case ev.StepTogether():
            return (
                f"step {event.step}/{event.of}  {event.running} of {event.requests} go on  "
                f"mean loss {event.loss:.3f}  p(target) {event.p_target:.3f}"
            )
        case ev.ProbeResult():
            return f"probe  {event.kind}"
        case _:
            return _besides(event)


def _besides(event: ev.Event) -> str:
    """The same of what is no part of an edit."""
    match event:
        case ev.ModelLoading():
            return event.stage if event.fraction is None else f"{event.stage}  {event.fraction:.0%}"
        case ev.MomentProgress():
            return _moment(event)
        case ev.HealthStep():
            return f"health  {event.what}  {event.done}/{event.of}"
        case ev.TraceStep():
            fact = f"fact {event.index}/{event.facts}  " if event.facts > 1 else ""
            return f"trace  {fact}{event.subject}  {event.done}/{event.of} states restored"
        case ev.Verified():
            return f"position {event.position}  {event.outcome}"
        case _:
            return ""


def _moment(event: ev.MomentProgress) -> str:
    words = f"keys {event.tokens}/{event.of}  {event.tokens / event.of:.0%}"
    if event.rate and event.remaining is not None:
        words += f"  {event.rate:.0f} tokens/s  {_time(event.remaining)} left"
    return words


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _heading(event: ev.EditStarted) -> str:
    subject, target = event.request.get("subject", ""), event.request.get("target_new", "")
    return f"{event.index}/{event.of}  {subject} → {target}{and_more(event.requests)}"
