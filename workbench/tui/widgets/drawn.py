"""A widget that is a text, and is painted again only when that text has become another one."""

from __future__ import annotations

from abc import abstractmethod

from rich.text import Text
from textual.widget import Widget


class Drawn(Widget):
    """Subclasses give `drawn()`; whoever changes what it depends on calls `redraw()`.

    Painting costs far more than writing the text, and many events change nothing that is in sight.
    """

    _painted: Text | None = None

    @abstractmethod
    def drawn(self) -> Text:
        """The text for the present size."""

    def render(self) -> Text:
        """The text, remembered."""
        self._painted = self.drawn()
        return self._painted

    def redraw(self) -> None:
        """Paints it if it would look different."""
        if self.drawn() != self._painted:
            self.refresh()
