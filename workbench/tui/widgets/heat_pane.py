"""A trace as a map that can be walked: rows are tokens, columns are layers."""

from __future__ import annotations

from rich.text import Text

from workbench import events as ev
from workbench.heat import HeatMap, heat_map, name_of
from workbench.tui.widgets.panel import Rows


class HeatPane(Rows):
    """The map of one trace; the border says what the row under the cursor gives back at most."""

    HELP = (
        "The prompt is run clean, then with noise on the subject, then with that noise and one clean state put back. "
        "The darker a cell, the more of the answer's probability that state brings back.\n\n"
        "Rows are tokens, * those of the subject; columns are layers. The peak over the subject is underlined."
    )

    _traced: ev.Traced | None = None
    _drawn_at: tuple[int, HeatMap] | None = None

    def show(self, traced: ev.Traced | None) -> None:
        """Draws `traced`; the cursor begins where its effect peaks over the subject."""
        if traced is self._traced:
            return
        self._traced, self._drawn_at = traced, None
        self.cursor = traced.peak_row if traced else 0
        self._name_row()
        self.refresh()

    def count(self) -> int:
        """How many tokens there are."""
        return len(self._traced.rows) if self._traced else 0

    def header(self, width: int) -> Text | None:
        """The layers."""
        return Text(self._map(width).header, "dim") if self._traced else None

    def row(self, index: int, width: int) -> Text:
        """A token and its cells; the subject's are bold."""
        traced = self._traced
        if traced is None:
            return Text()
        heat = self._map(width)
        line = Text(heat.rows[index], "bold" if index in traced.subject_rows else "")
        if index == traced.peak_row:
            at = heat.label + traced.peak_layer // heat.bin * heat.cell
            line.stylize("underline", at, at + len(heat.rows[index][at : at + heat.cell].rstrip()))
        return line

    def watch_cursor(self) -> None:
        """Says what the row gives back."""
        super().watch_cursor()
        self._name_row()

    def _name_row(self) -> None:
        traced = self._traced
        if traced is None:
            self.name_it("Causal trace")
            return
        row = traced.effects[self.cursor]
        best = max(range(len(row)), key=row.__getitem__)
        p = traced.corrupted + row[best]
        self.name_it("Causal trace", f"{name_of(traced, self.cursor)} best at layer {best}: {p:.3f}")

    def _map(self, width: int) -> HeatMap:
        """The map at this width, made once."""
        if self._traced is None:
            raise RuntimeError("there is no trace to draw")
        if self._drawn_at is None or self._drawn_at[0] != width:
            self._drawn_at = (width, heat_map(self._traced, max(width, 1)))
        return self._drawn_at[1]
