"""The bottom line: the keys that work now. A key that does not fit is left out, never cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

if TYPE_CHECKING:
    from textual import events
    from textual.binding import Binding
    from textual.screen import Screen

LAST = ("f1", "ctrl+p")
"""Keys at the end of the line."""
KEPT = ("r", "ctrl+r", "ctrl+g", "ctrl+s", *LAST)
"""Keys that keep their place, however narrow the line is."""

Key = tuple[str, str, str]
"""Key, key as shown, what it does."""


class KeyLine(Widget):
    """One line of keys, made from the bindings of what has the focus, its screen and the app."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; }
    """

    def on_mount(self) -> None:
        """Follows the focus and what `check_action` allows."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        if screen is self.screen:
            self.refresh()

    def render(self) -> Text:
        """As many keys as fit, most important (earliest bound) first."""
        keys = fitting(list(self._keys()), self.size.width)
        line, end = Text(no_wrap=True), Text()
        for key in keys:
            _append(end if key[0] in LAST else line, *key)
        line.append(" " * max(0, self.size.width - line.cell_len - end.cell_len))
        return line.append_text(end)

    def _keys(self) -> Iterator[Key]:
        """(key, as shown, what it does), groups as one."""
        groups: dict[Binding.Group, list[Binding]] = {}
        shown: dict[str, Binding] = {}
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            if not enabled or not (binding.show or binding.key == self.app.COMMAND_PALETTE_BINDING):
                continue
            if binding.group is not None:
                groups.setdefault(binding.group, []).append(binding)
            shown.setdefault(binding.group.description if binding.group else binding.action, binding)
        for binding in shown.values():
            members = groups[binding.group] if binding.group else [binding]
            label = "/".join(dict.fromkeys(self.app.get_key_display(member) for member in members))
            text = binding.group.description if binding.group else binding.description
            yield binding.key, label, text[:1].upper() + text[1:]

    def on_click(self, event: events.Click) -> None:
        """A click on a key presses it."""
        key = event.style.meta.get("key")
        if isinstance(key, str):
            self.app.simulate_key(key)


def fitting(keys: list[Key], width: int) -> list[Key]:
    """Those of `keys` that fit into `width` cells, in order: the kept ones, then the earliest."""
    room = width - sum(_width(key) for key in keys if key[0] in KEPT)
    found = []
    for key in keys:
        if key[0] not in KEPT:
            if _width(key) > room:
                continue
            room -= _width(key)
        found.append(key)
    return found


def _width(key: Key) -> int:
    return len(key[1]) + len(key[2]) + 3


def _append(line: Text, key: str, label: str, text: str) -> None:
    meta = Style(meta={"key": key})
    line.append(f" {label} ", Style(bold=True) + meta)
    line.append(f"{text} ", meta)
