"""What is said beside the screen: short, once, and never over the field that one types in.

Where there is little room one notice stands at a time, on two lines at most, for as long as it takes to read it.
"""

from __future__ import annotations

import time

from textual.app import App
from textual.notifications import Notify, SeverityLevel

from workbench.tui.keynames import key_name
from workbench.tui.screens.base import WIDTHS
from workbench.tui.widgets.text import fit, wrapped

FEW, BRIEF = 60, 3.0
"""So many characters are read in so many seconds."""
NARROW = WIDTHS[1][0]
"""Columns under which there is little room."""
BLINK, READING = 1.8, 0.03
"""Seconds that a notice stands there at least, and a character takes."""
LINES = 2
"""Lines of a notice there."""
FRAME = 3
"""Columns around its text."""
BOTTOM = 6
"""Rows at the bottom that notices may cover."""


class NoticeApp(App[None]):
    """An app that says things so."""

    _last_said = ("", 0.0)
    """The last notice, and until when it stands."""

    @property
    def _narrow(self) -> bool:
        return self.size.width < NARROW

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Says something beside the screen: a few words for a moment, the same words not again while they stand."""
        said, until = self._last_said
        if message == said and time.monotonic() < until:
            return
        if timeout is None:
            timeout = self._time(message, severity)
        self._last_said = (message, time.monotonic() + timeout)
        super().notify(self._short(message), title=title, severity=severity, timeout=timeout, markup=markup)

    def clear_notifications(self) -> None:
        """Takes away what is said, so that it may be said again."""
        self._last_said = ("", 0.0)
        super().clear_notifications()

    def on_notify(self, event: Notify) -> None:
        """Makes room for the field in focus and, where there is little, for the newest; mere news hide no error."""
        from textual.widgets import Input, TextArea

        field = self.focused
        low = isinstance(field, Input | TextArea) and field.region.bottom > self.size.height - BOTTOM
        self.screen.set_class(low, "-notices-up")
        if not self._narrow:
            return
        news = event.notification.severity == "information"
        if news and any(one.severity == "error" for one in self._notifications):
            event.prevent_default()
        else:
            super().clear_notifications()

    def cut_short(self, message: str) -> None:
        """`message` is not shown in full: an app that has a log puts it there."""

    def _time(self, message: str, severity: SeverityLevel) -> float:
        """Seconds that a notice stands."""
        longest = self.NOTIFICATION_TIMEOUT
        if self._narrow:
            return min(BLINK + READING * len(message), longest)
        return BRIEF if severity == "information" and len(message) <= FEW else longest

    def _short(self, message: str) -> str:
        """On as many lines as there is room for; the rest is in the log."""
        width = self.size.width - FRAME
        lines = wrapped(message, width)
        if not self._narrow or len(lines) <= LINES:
            return message
        self.cut_short(message)
        more = f" {key_name('place.log')}: all of it"
        kept = " ".join(lines[LINES - 1 :])
        return "\n".join((*lines[: LINES - 1], fit(kept, max(width - len(more), 1)).rstrip() + more))
