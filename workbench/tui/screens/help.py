"""Help beside the screen: what has the focus, its keys, and the keys that work everywhere. The screen keeps working."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from workbench.tui.widgets.text import wrapped

KEY_CELLS = 11
"""Width of the column of keys."""
TYPING = (Input, TextArea)
"""Widgets whose own keys are those of any text field."""


class HelpPanel(VerticalScroll, can_focus=False):
    """Docked right in the body of a screen; follows the focus. `toggle` opens and closes it."""

    DEFAULT_CSS = """
    HelpPanel { scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
    HelpPanel { dock: right; width: 36; height: 1fr; border: round $accent; padding: 0 1; background: $surface;
                border-subtitle-color: $text-muted; }
    HelpPanel > Static { width: 1fr; height: auto; }
    """

    @classmethod
    def toggle(cls, screen: Screen[object]) -> bool:
        """Opens the panel on `screen`, or closes it; True if it is open now."""
        panels = screen.query(cls)
        screen.set_class(not panels, "-helped")
        if panels:
            panels.remove()
            return False
        bodies = screen.query("#body")
        (bodies.first() if bodies else screen).mount(cls())
        return True

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(markup=False)

    def on_mount(self) -> None:
        """Follows the focus."""
        self.border_title = "Help"
        self.border_subtitle = "f1 closes"
        self.watch(self.screen, "focused", self._changed, init=False)
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self._draw())
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Wraps again."""
        self._draw()

    def _changed(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if not self.is_attached:
            return
        width = max(self.scrollable_content_region.width, 20)
        lines = help_lines(self.screen, width)
        self.query_one(Static).update(Text("\n").join(lines))


def help_lines(screen: Screen[object], width: int) -> list[Text]:
    """What has the focus, its keys, the screen's keys and those of the app, at most `width` cells wide."""
    lines: list[Text] = []
    for text in _texts(screen):
        for paragraph in text.split("\n"):
            lines += [Text(line) for line in wrapped(paragraph, width)]
        lines.append(Text())
    for title, keys in _sections(screen):
        lines.append(Text(title, "bold underline"))
        lines += [_key_line(label, what, width) for label, what in keys]
        lines.append(Text())
    return lines[:-1]


def _texts(screen: Screen[object]) -> Iterator[str]:
    """The help of the focused widget, then of the screen."""
    nodes = screen.focused.ancestors_with_self if screen.focused else [screen]
    for node in nodes:
        if isinstance(node, Widget) and node.HELP and not isinstance(node, TYPING):
            yield node.HELP


def _sections(screen: Screen[object]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Titles and keys: of the focused widget, of the screen, of the app."""
    panel: dict[str, tuple[list[str], str]] = {}
    place: dict[str, tuple[list[str], str]] = {}
    app: dict[str, tuple[list[str], str]] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if not enabled or not binding.description or isinstance(node, TYPING):
            continue
        if node is screen and not binding.id:
            continue  # Textual's own
        section = app if node is screen.app else place if node is screen else panel
        keys, _what = section.setdefault(binding.action, ([], binding.description))
        keys.append(_label(node, binding))
    for title, section in (("This place", place), ("This panel", panel), ("Everywhere", app)):
        if section:
            yield title, [(" ".join(dict.fromkeys(keys)), what) for keys, what in section.values()]


def _label(node: DOMNode, binding: Binding) -> str:
    return node.app.get_key_display(binding)


def _key_line(label: str, what: str, width: int) -> Text:
    line = Text(f"{label:<{KEY_CELLS}}", "bold")
    line.append(what, "")
    line.truncate(width, overflow="ellipsis")
    return line
