"""A line to type in that keeps the order of keys: however far ahead one types, each acts on what was typed before it.

Textual hands a field its letters at once, but sends every other key all the way up to the app and acts on it when it
comes back; letters that were typed after it are then in the field already. Here the field's own keys act at once, and
whoever holds the field binds enter and escape with priority and awaits `settled` before it reads the text.
"""

from __future__ import annotations

import asyncio

from textual import events
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Input

from workbench.tui.widgets.text import counted

PATIENCE = 1.0
"""Seconds to wait at most for keys that a widget has not taken in."""


class LineInput(Input):
    """An Input whose editing keys act in the order of typing."""

    async def on_key(self, event: events.Key) -> None:
        """Acts on the field's own keys here and now."""
        for binding in self._own(event.key):
            if await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return

    def on_paste(self, event: events.Paste) -> None:
        """Takes in one line, and says how many it has left out."""
        event.stop()
        event.prevent_default()
        self.take(event.text)

    def action_paste(self) -> None:
        """As a paste, of what was copied last."""
        self.take(self.app.clipboard)

    def take(self, text: str) -> None:
        """Puts the first line of `text` that holds something where the cursor is, or in place of the selection.

        What a field has no room for is left out, and that is said.
        """
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            return
        line, room = lines[0], self._room()
        self.replace(line[:room], *self.selection)
        cut = 0 if room is None else max(0, len(line) - room)
        left = [counted(cut, "character")] * (cut > 0) + [counted(len(lines) - 1, "line")] * (len(lines) > 1)
        if left:
            holds = f"one line of {self.max_length:,} characters" if cut else "one line"
            were = "was" if cut + len(lines) - 1 == 1 else "were"
            said = f"A field holds {holds}: {' and '.join(left)} {were} left out of the paste."
            self.notify(said, severity="warning", markup=False)

    def _room(self) -> int | None:
        """Characters that may come in place of the selection; None: any number."""
        if not self.max_length:
            return None
        start, end = sorted(self.selection)
        return max(0, self.max_length - len(self.value) + end - start)

    def _own(self, key: str) -> list[Binding]:
        """What every field does at `key`; enter is its holder's."""
        bindings = self._bindings.key_to_bindings.get(key, [])
        return [binding for binding in bindings if binding.action != "submit"]


async def settled(widget: Widget | None) -> None:
    """Returns when `widget` has taken in all keys that came before."""
    if widget is None:
        return
    done = asyncio.get_running_loop().create_future()
    widget.call_later(_settle, done)
    await asyncio.wait([done], timeout=PATIENCE)


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
