"""The bottom line: the keys that work now. A key that does not fit is left out, never cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from workbench.text import visible
from workbench.tui.bench import bench
from workbench.tui.reach import reachable
from workbench.tui.session import unavailable

if TYPE_CHECKING:
    from textual import events
    from textual.binding import ActiveBinding
    from textual.screen import Screen

LAST = ("help", "palette")
"""Bindings at the end of the line, by their id."""
KEPT = ("restart", "run", "stop", "form.save", *LAST)
"""Bindings that keep their place, however narrow the line is."""


class Key(NamedTuple):
    """A key as the line shows it."""

    key: str
    label: str
    text: str
    """What it does."""
    enabled: bool = True
    """False: shown grey, because the engine cannot take it now."""
    more: str = ""
    """More about it, for the tooltip."""
    id: str = ""
    """Of its binding."""


class KeyLine(Widget):
    """One line of keys, made from the bindings of what has the focus, its screen and the app."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; }
    """

    _shown: tuple[Key, ...] = ()

    def on_mount(self) -> None:
        """Follows the focus and what `check_action` allows."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        if screen is self.screen is self.app.screen:  # what is bound cannot be asked of a screen that is under another
            keys = tuple(self._keys())
            if keys != self._shown:
                self._shown = keys
                self.refresh()

    def render(self) -> Text:
        """As many keys as fit, most important (earliest bound) first."""
        keys = fitting(self._shown, self.size.width)
        line, end = Text(no_wrap=True), Text()
        for key in keys:
            _append(end if key.id in LAST else line, key)
        line.append(" " * max(0, self.size.width - line.cell_len - end.cell_len))
        return line.append_text(end)

    def _keys(self) -> Iterator[Key]:
        """What is bound and shown, groups as one."""
        shown: dict[str, list[ActiveBinding]] = {}
        for active in reachable(self.screen):
            binding = active.binding
            if binding.show:
                name = binding.group.description if binding.group else binding.action
                members = shown.setdefault(name, [])
                if binding.group or not members:
                    members.append(active)
        for members in shown.values():
            _, binding, enabled, tooltip = members[0]
            label = "/".join(dict.fromkeys(self.app.get_key_display(member.binding) for member in members))
            text = binding.group.description if binding.group else binding.description
            yield Key(binding.key, label, text[:1].upper() + text[1:], enabled, tooltip, binding.id or "")

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The tooltip is that of the key under the pointer: what it does, or why it does nothing now."""
        key = next((key for key in self._keys() if key.key == event.style.meta.get("key")), None)
        self.tooltip = None if key is None else visible(key.more or key.text if key.enabled else self._reason(key))

    def _reason(self, key: Key) -> str:
        return f"{key.text}: {unavailable(bench(self).state)}"

    def on_click(self, event: events.Click) -> None:
        """A click on a key presses it."""
        key = event.style.meta.get("key")
        if isinstance(key, str):
            self.app.simulate_key(key)


def fitting(keys: Sequence[Key], width: int) -> list[Key]:
    """Those of `keys` that fit into `width` cells, in order: the kept ones, then the earliest."""
    room = width - sum(_width(key) for key in keys if key.id in KEPT)
    found = []
    for key in keys:
        if key.id not in KEPT:
            if _width(key) > room:
                continue
            room -= _width(key)
        found.append(key)
    return found


def _width(key: Key) -> int:
    return len(key.label) + len(key.text) + 3


def _append(line: Text, key: Key) -> None:
    meta = Style(meta={"key": key.key})
    line.append(f" {key.label} ", Style(bold=key.enabled, dim=not key.enabled) + meta)
    line.append(f"{key.text} ", Style(dim=not key.enabled) + meta)
