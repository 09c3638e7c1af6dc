"""The last look at every line before the terminal has it: nothing in it that a terminal would obey, whoever drew it.

Most text is made visible where it is drawn. A field to type in holds its text as it is, also text from a file.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from workbench.text import visible


class UnseenFilter(LineFilter):
    """Leaves out of every line what has no glyph, and keeps its cells."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same cells, without control characters, directions, and halves of characters."""
        del background
        return [
            segment if segment.control or segment.text.isprintable() else segment._replace(text=_plain(segment.text))
            for segment in segments
        ]


def _plain(text: str) -> str:
    return "".join(" " * cell_len(character) if visible(character) != character else character for character in text)
