"""Help beside the screen: what has the focus, its keys, and the keys that work everywhere. The screen keeps working."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from workbench.tui.keynames import key_name, named
from workbench.tui.reach import reachable
from workbench.tui.screens.base import HELPED
from workbench.tui.widgets.text import fit, wrapped

KEY_CELLS = 11
"""Width of the column of keys."""
FOLDED = {
    "rows": ("Move along the rows", 2),
    "helping": ("Move along this help", 2),
    "focus": ("Next part; with shift the one before", 1),
    "place": ("Edit, Live, History, Compare, Log", 5),
}
"""Groups of ids that are one line: what they do, and how many of them are named by their first key."""
TYPING = (Input, TextArea)
"""Widgets whose own keys are those of any text field."""

Sections = dict[str, dict[str, tuple[list[str], str]]]
"""Keys and meaning of each action, by the title they stand under."""


class HelpPanel(VerticalScroll, can_focus=False):
    """Docked right in the body of a screen, or in a question; follows the focus. `toggle` opens and closes it."""

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
        screen.set_class(not panels, HELPED)
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
        self.border_subtitle = Content(f"{key_name('help')} closes")
        self.watch(self.screen, "focused", self._draw, init=False)
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self._draw())
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Wraps again."""
        self._draw()

    def _draw(self) -> None:
        if not self.is_attached or self.app.screen_stack[-1:] != [self.screen]:
            return
        self.border_title = Content(f"Help: {title(self.screen)}")
        width = max(self.scrollable_content_region.width, 20)
        self.query_one(Static).update(Text("\n").join(help_lines(self.screen, width)))


def title(screen: Screen[object]) -> str:
    """What the help is about: the place or question, and the part that has the focus."""
    name = getattr(screen, "place", "").capitalize() or str(screen.title or "this question")
    part = next((str(node.border_title) for node in _focused(screen) if node.border_title), "")
    part = re.split(r"  | \(", part)[0].lower()
    return f"{name}, {part}" if part and part != name.lower() else name


def help_lines(screen: Screen[object], width: int) -> list[Text]:
    """What has the focus, its keys, those of the screen and the app, and what the screen is; `width` cells at most."""
    inner, outer = _texts(screen)
    lines = _paragraphs(inner, width)
    for name, keys in _sections(screen).items():
        if keys:
            lines.append(Text(name, "bold underline"))
            lines += [line for labels, what in keys.values() for line in _key_lines(labels, what, width)]
            lines.append(Text())
    return [*lines, *_paragraphs(outer, width)][:-1]


def _paragraphs(texts: list[str], width: int) -> list[Text]:
    """Sentences of the program's own, an empty line after each text."""
    lines = []
    for text in texts:
        lines += [*(Text(line) for line in wrapped(named(text), width)), Text()]
    return lines


def _focused(screen: Screen[object]) -> Iterator[Widget]:
    """What has the focus, and what that is in, innermost first; only the screen if nothing has."""
    nodes = screen.focused.ancestors_with_self if screen.focused else [screen]
    return (node for node in nodes if isinstance(node, Widget) and not isinstance(node, TYPING))


def _texts(screen: Screen[object]) -> tuple[list[str], list[str]]:
    """The help of what has the focus, which comes before the keys, and of the screen, which comes after them."""
    inner = [node.HELP for node in _focused(screen) if node.HELP and node is not screen]
    return inner, [screen.HELP] if screen.HELP else []


def _sections(screen: Screen[object]) -> Sections:
    """What each key does, by whose it is; a key of the app that the focus cannot take is everywhere still."""
    seen: set[str] = set()
    found: Sections = {"This panel": {}, "This place": {}, "Everywhere": {}}
    for node, binding, enabled, tooltip in reachable(screen):
        if not enabled or not binding.description or not binding.id or isinstance(node, TYPING):
            continue
        entry = binding.id.split(".")[0]
        name = (
            "Everywhere" if node is screen.app or entry == "focus" else "This place" if node is screen else "This panel"
        )
        what, most = FOLDED.get(entry, (tooltip or binding.description, 99))
        keys, _ = found[name].setdefault(entry if entry in FOLDED else binding.action, ([], what))
        if len(keys) < most and (entry not in FOLDED or binding.id not in seen):
            keys.append(screen.app.get_key_display(binding))
        seen.add(binding.id)
    return found


def _label(keys: list[str]) -> str:
    """The keys of an action, of more than fit the first and the last."""
    text = " ".join(dict.fromkeys(keys))
    return text if len(text) < KEY_CELLS else f"{keys[0]}..{keys[-1]}" if len(keys) > 2 else text


def _key_lines(labels: list[str], what: str, width: int) -> list[Text]:
    """The keys of an action, and what it does on as many lines as it takes."""
    keys = _label(labels)
    lines = [Text(f"{fit(keys, max(len(keys), KEY_CELLS - 1))} ", "bold")]
    if lines[0].cell_len > KEY_CELLS:
        lines.append(Text(" " * KEY_CELLS))
    for number, part in enumerate(wrapped(what, max(width - KEY_CELLS, 8))):
        if number:
            lines.append(Text(" " * KEY_CELLS))
        lines[-1].append(part, "")
    return lines
