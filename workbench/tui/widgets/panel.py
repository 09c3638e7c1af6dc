"""Two kinds of panel that all places are made of: lines of text that fit, and rows with a cursor.

What a panel draws is a pure function of what it was shown and of its size, so every panel can be read as plain text.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from workbench.text import visible
from workbench.tui.widgets.drawn import Drawn
from workbench.tui.widgets.text import wrapped

if TYPE_CHECKING:
    from textual import events

CURSOR = ">"


class Panel(Drawn):
    """A bordered box of lines. Subclasses give `lines(width, height)`."""

    DEFAULT_CSS = """
    Panel { border: round $primary-muted; padding: 0 1; height: 1fr; width: 1fr; border-title-color: $foreground;
            border-subtitle-color: $text-muted; min-height: 3; }
    Panel:focus { border: round $accent; border-title-style: bold; }
    """

    _named = ("", "")

    @abstractmethod
    def lines(self, width: int, height: int) -> list[Text]:
        """At most `height` lines of at most `width` cells; more is cut."""

    def drawn(self) -> Text:
        """The lines, cut to the size."""
        width, height = self.content_size
        shown = self.lines(width, height)[:height] if width > 0 and height > 0 else []
        for line in shown:
            line.truncate(width, overflow="ellipsis")
        return Text("\n", no_wrap=True, end="").join(shown)

    def name_it(self, title: str, subtitle: str = "") -> None:
        """Title and subtitle of the border; text from anywhere."""
        if (title, subtitle) != self._named:
            self._named = (title, subtitle)
            self.border_title = Content(visible(title))
            self.border_subtitle = Content(visible(subtitle))


class Rows(Panel, can_focus=True):
    """A list with a cursor that is always in sight. Only the rows in sight are drawn.

    Subclasses give `count()`, `row(index, width)`, and `header(width)` if they have one.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", id="rows.up", show=False),
        Binding("down,j", "move(1)", "Down", id="rows.down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="rows.page-up", show=False),
        Binding("pagedown", "page(1)", "Page down", id="rows.page-down", show=False),
        Binding("home", "move(-1000000)", "First", id="rows.first", show=False),
        Binding("end", "move(1000000)", "Last", id="rows.last", show=False),
    ]

    cursor: reactive[int] = reactive(0)
    """Index of the row the keys act on."""

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, rows: Rows) -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> Rows:
            """The list it happened in."""
            return self.rows

    class Chosen(Moved):
        """A row was clicked while the cursor was on it."""

    _top = 0

    @abstractmethod
    def count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def row(self, index: int, width: int) -> Text:
        """One row, without the cursor's column."""

    def header(self, width: int) -> Text | None:
        """The line above the rows, if there is one."""
        del width
        return None

    def empty(self) -> str:
        """What to say instead of rows, with the next key."""
        return ""

    def lines(self, width: int, height: int) -> list[Text]:
        """Header, and the rows around the cursor."""
        if not self.count():
            return [Text(line, "dim") for line in wrapped(self.empty(), width)]
        header = self.header(width - 2)
        above = [] if header is None else [Text("  ").append_text(header)]
        room = max(height - len(above), 1)
        top = self._scrolled(room)
        return above + [self._drawn(i, width) for i in range(top, min(top + room, self.count()))]

    def _scrolled(self, room: int) -> int:
        """First row in sight: moved no further than the cursor needs."""
        highest = max(self.count() - room, 0)
        self._top = min(max(self._top, self.cursor - room + 1), self.cursor, highest)
        return self._top

    def _drawn(self, index: int, width: int) -> Text:
        here = index == self.cursor
        line = Text(f"{CURSOR if here else ' '} ").append_text(self.row(index, width - 2))
        if here and self.has_focus:
            line.pad_right(max(width - line.cell_len, 0))
            line.stylize("reverse")
        return line

    def validate_cursor(self, cursor: int) -> int:
        """The cursor stays on a row."""
        return max(0, min(cursor, self.count() - 1))

    def watch_cursor(self) -> None:
        """Says that the cursor moved."""
        self.post_message(self.Moved(self))

    def action_move(self, rows: int) -> None:
        """Moves the cursor."""
        self.cursor += rows

    def action_page(self, pages: int) -> None:
        """Moves the cursor by what is in sight."""
        self.cursor += pages * max(self.content_size.height - 2, 1)

    def on_mouse_scroll_up(self) -> None:
        """As the up key."""
        self.cursor -= 1

    def on_mouse_scroll_down(self) -> None:
        """As the down key."""
        self.cursor += 1

    def on_click(self, event: events.Click) -> None:
        """Puts the cursor on the row, or chooses the row it is on."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        index = self._top + offset.y - (self.header(0) is not None)
        if not 0 <= index < self.count() or offset.y < (self.header(0) is not None):
            return
        if index == self.cursor:
            self.post_message(self.Chosen(self))
        self.cursor = index
