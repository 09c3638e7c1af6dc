"""Keys that are typed ahead of a change of place: each acts in the place that those before it lead to.

Textual sends a key to what has the focus, and acts on a key of the app's when it has come all the way back. What is
typed meanwhile would go to the place that is being left. So what follows the key of a place waits until that key is
back, or was taken by something on its way.
"""

from __future__ import annotations

import time

from textual import events
from textual.dom import DOMNode
from textual.message_pump import MessagePump

from workbench.tui.notices import NoticeApp

PLACE = "place("
"""How the action of a key begins that changes the place."""


class TypedAheadApp(NoticeApp):
    """An app that keeps the order of keys over a change of place."""

    _leaving = False
    """The key of a place is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead_of_it: list[events.Event] = []
        self._touched = time.monotonic()

    @property
    def untouched(self) -> float:
        """Seconds since a key, a paste, or anything that a mouse did."""
        return time.monotonic() - self._touched

    async def on_event(self, event: events.Event) -> None:
        """Holds what is typed behind the key of a place; everything else goes where it always goes."""
        if isinstance(event, events.InputEvent | events.Paste):
            self._touched = time.monotonic()
        if isinstance(event, events.Key | events.Paste) and not self.screen_stack:
            return  # typed behind the key that ended the program
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._leaving:
            self._ahead_of_it.append(event)
        elif isinstance(event, events.Key) and self._changes_place(event.key):
            self._leaving = True
            way = list((self.focused or self.screen).ancestors_with_self)
            await super().on_event(event)
            self._follow(way)
        else:
            await super().on_event(event)

    def _changes_place(self, key: str) -> bool:
        own = next((bindings for node, bindings in self.screen._modal_binding_chain if node is self), None)
        found = own.key_to_bindings.get(key, []) if own else []
        return any(binding.action.startswith(PLACE) for binding in found)

    def _follow(self, way: list[DOMNode]) -> None:
        """Goes the key's own way, one behind it in the queue of each, and then lets go what waits."""
        node: MessagePump | None = next((one for one in way if one.is_attached and one is not self), None)
        rest = way[way.index(node) + 1 :] if isinstance(node, DOMNode) else []
        if node is None or not node.call_later(self._follow, rest):
            self.call_later(self._let_go)

    async def _let_go(self) -> None:
        waiting, self._ahead_of_it, self._leaving = self._ahead_of_it, [], False
        for event in waiting:
            await self.on_event(event)
