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

ALWAYS = ("f1", "ctrl+p")
"""Keys that keep their place at the end of the line, however narrow it is."""


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
        keys = list(self._keys())
        last = [key for key in keys if key[0] in ALWAYS]
        room = self.size.width - 1 - sum(len(label) + len(text) + 3 for _, label, text in last)
        line = Text(no_wrap=True)
        for key, label, text in (key for key in keys if key[0] not in ALWAYS):
            if line.cell_len + len(label) + len(text) + 3 <= room:
                _append(line, key, label, text)
        line.append(" " * max(0, room - line.cell_len))
        for key, label, text in last:
            _append(line, key, label, text)
        return line

    def _keys(self) -> Iterator[tuple[str, str, str]]:
        """(key, as shown, what it does), groups as one."""
        groups: dict[Binding.Group, list[Binding]] = {}
        shown: dict[str, Binding] = {}
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            if not (binding.show and enabled):
                continue
            if binding.group is not None:
                groups.setdefault(binding.group, []).append(binding)
            shown.setdefault(binding.group.description if binding.group else binding.action, binding)
        for binding in shown.values():
            members = groups[binding.group] if binding.group else [binding]
            label = "/".join(self.app.get_key_display(member) for member in members)
            yield binding.key, label, binding.group.description if binding.group else binding.description

    def on_click(self, event: events.Click) -> None:
        """A click on a key presses it."""
        key = event.style.meta.get("key")
        if isinstance(key, str):
            self.app.simulate_key(key)


def _append(line: Text, key: str, label: str, text: str) -> None:
    meta = Style(meta={"key": key})
    line.append(f" {label} ", Style(bold=True) + meta)
    line.append(f"{text} ", meta)
