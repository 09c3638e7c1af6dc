"""How places come about: made ahead, styled once, and drawn at once when one goes there."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from textual import work
from textual.screen import Screen
from textual.widget import AwaitMount

from workbench.tui import screens
from workbench.tui.typed_ahead import TypedAheadApp

APART = 1 / 12
"""Seconds between two places that are made."""


class PlacesApp(TypedAheadApp):
    """An app of which a place is there before it is visited."""

    _going = False
    """On the way to a place."""
    _read_for = 0
    """Count of Textual's for which the sheets were read last: one more after each change of the theme."""

    def on_load(self) -> None:
        """Tasks begin in turn on every Python, as they do in Textual's own tests.

        From Python 3.12 on Textual begins them at once, which puts a screen together before it is on the stack
        (Textualize/textual#6444).
        """
        asyncio.get_running_loop().set_task_factory(None)

    @work(group="ahead")
    async def make_places(self) -> None:
        """Imports and makes the places that were not visited yet, one at a time: the first visit is as quick as any."""
        for home in screens.HOMES:
            await asyncio.to_thread(import_module, home)
        for mode in self.MODES:
            await self._init_mode(mode)  # Textual makes them at the first visit, and has no public way to do it earlier
            await asyncio.sleep(APART)

    def _load_screen_css(self, screen: Screen[Any]) -> None:
        """Styles of a new screen are computed when it is put together: not all there are at once, for its sake."""
        super()._load_screen_css(screen)
        screen._css_update_count = self._read_for

    def refresh_css(self, animate: bool = True) -> None:
        """Reads all sheets anew, with the colours of the theme."""
        super().refresh_css(animate)
        self._read_for = self._css_update_count

    def switch_mode(self, mode: str) -> AwaitMount:
        """Goes to a place that is drawn at once: Textual's pause is for screens that are still being put together."""
        self._going = True
        try:
            return super().switch_mode(mode)
        finally:
            self._going = False

    def delay_update(self, delay: float = 0.05) -> None:
        """Draws nothing for a while, except on the way to a place."""
        if not self._going:
            super().delay_update(delay)
