"""Curves as text: braille lines with axes, or the same numbers as a table. Pure, and free of textual.

Curves are told apart by how they are drawn (solid, dotted, dashed), not by colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Mark = Literal["solid", "dots", "dashes", "sparse"]

SIGNS: dict[Mark, str] = {"solid": "──", "dots": "··", "dashes": "--", "sparse": "· ·"}
"""How the legend shows each mark."""
_ON: dict[Mark, tuple[int, int]] = {"solid": (1, 1), "dots": (1, 3), "dashes": (4, 7), "sparse": (1, 6)}
"""Of every so many dots along a curve, how many are set: (set, of)."""
_DOT = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot in a braille cell, by row and column."""
LARGEST, SMALLEST = 1e100, 1e-100
"""What is larger is a gap, what is smaller is zero: no scale can be made for it."""
TICK_ROWS = 2
"""A label on the vertical axis takes at least so many rows."""
TICK_CELLS = 10
"""A label on the horizontal axis takes at least so many cells."""


@dataclass(frozen=True)
class Series:
    """One curve: values at start, start + 1, start + 2, ... Gaps are None or NaN."""

    name: str
    values: Sequence[float | None]
    start: int = 0
    mark: Mark = "solid"

    def points(self, *, log: bool) -> list[tuple[int, float] | None]:
        """(x, y) in order, None at a gap; y is log10 of the value if `log`, and a gap where that does not exist."""
        return [_point(self.start + i, v, log=log) for i, v in enumerate(self.values)]


def _point(x: int, value: float | None, *, log: bool) -> tuple[int, float] | None:
    if value is None or not abs(value) <= LARGEST or (log and value < SMALLEST):
        return None
    if log:
        return x, math.log10(value)
    return x, value if abs(value) >= SMALLEST else 0.0


@dataclass(frozen=True)
class _Scale:
    """Where values and positions lie on the grid of dots."""

    low: float
    high: float
    ticks: tuple[float, ...]
    first: int
    last: int

    def row(self, y: float, rows: int) -> int:
        """Row 0 is the top; `rows` is the axis."""
        return round((self.high - y) / (self.high - self.low) * rows)

    def column(self, x: int, columns: int) -> int:
        return round((x - self.first) / max(self.last - self.first, 1) * (columns - 1))


def draw(
    series: Sequence[Series],
    width: int,
    height: int,
    *,
    log: bool = False,
    x_max: int | None = None,
    y_max: float | None = None,
    x_name: str = "",
) -> list[str]:
    """The curves with axes, as `height` lines of at most `width` cells.

    Args:
        series: the curves; values that cannot be drawn are gaps.
        width: cells.
        height: lines, the axis and its labels included.
        log: logarithmic vertical axis.
        x_max: where the horizontal axis ends at least, so that a curve that still grows keeps its scale.
        y_max: what the vertical axis reaches at least, for the same reason.
        x_name: written by the horizontal axis.
    """
    curves = [s.points(log=log) for s in series]
    points = [p for curve in curves for p in curve if p is not None]
    if width < 12 or height < 4 or not points:
        return _nothing(width, height, log=log, any_value=any(v is not None for s in series for v in s.values))
    rows = height - 2
    tops = [] if y_max is None else [math.log10(y_max) if log else y_max]
    scale = _scale(points, tops, x_max, max(rows // TICK_ROWS, 1), log=log)
    said = _labels([10**tick if log else 0.0 if abs(tick) < 1e-12 else tick for tick in scale.ticks])
    labels = {scale.row(tick, rows): label for tick, label in zip(scale.ticks, said, strict=True)}
    gutter = max(map(len, labels.values()))
    columns = width - gutter - 2
    if columns < 2:
        return _nothing(width, height, log=log, any_value=True)
    canvas = _canvas(curves, [s.mark for s in series], scale, columns, rows)
    lines = [f"{labels.get(r, ''):>{gutter}} {'┤' if r in labels else '│'}{canvas[r]}".rstrip() for r in range(rows)]
    return lines + _axis(scale, columns, labels.get(rows, ""), gutter, x_name)


def legend(series: Sequence[Series], width: int) -> str:
    """Marks and names on one line; as many as fit."""
    line = ""
    for one in series:
        word = f"{SIGNS[one.mark]} {one.name}"
        if len(line) + len(word) + 2 > width:
            break
        line += f"  {word}" if line else word
    return line


def table(series: Sequence[Series], width: int, height: int, *, x_name: str = "x") -> list[str]:
    """The newest values as a table, newest last; curves that do not fit are counted, never cut."""
    if height < 2 or not any(s.values for s in series):
        return []
    gutter, cell = max(len(x_name), 5), 9
    fitting = max((width - gutter) // (cell + 1), 1)
    if len(series) > fitting:
        fitting = max((width - gutter - 9) // (cell + 1), 1)
    shown, hidden = series[:fitting], len(series) - fitting
    head = f"{x_name:>{gutter}}" + "".join(f" {s.name[:cell]:>{cell}}" for s in shown)
    last = max(s.start + len(s.values) for s in series)
    first = max(min(s.start for s in series), last - height + 1)
    lines = [head + (f" +{hidden} more" if hidden > 0 else "")]
    return lines + [f"{x:>{gutter}}" + "".join(f" {_cell(s, x):>{cell}}" for s in shown) for x in range(first, last)]


def _cell(series: Series, x: int) -> str:
    index = x - series.start
    value = series.values[index] if 0 <= index < len(series.values) else None
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _scale(points: list[tuple[int, float]], tops: list[float], x_max: int | None, ticks: int, *, log: bool) -> _Scale:
    ys = [y for _, y in points]
    low, high = min(ys), max(ys + tops)
    if not log and low >= 0:
        low = 0.0
    if math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12):
        around = 0.15 if log else abs(low) / 2
        low, high = (low, low + 1.0) if low == 0 and not log else (low - around, high + around)
    marks = _log_marks(low, high, ticks) if log else _marks(low, high, ticks)
    xs = [x for x, _ in points]
    return _Scale(marks[0], marks[-1], marks, min(xs), max([*xs, x_max] if x_max is not None else xs))


def _marks(low: float, high: float, ticks: int) -> tuple[float, ...]:
    """Round numbers from at most `low` to at least `high`, about so many."""
    step = _nice((high - low) / ticks)
    return tuple(i * step for i in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1))


def _log_marks(low: float, high: float, ticks: int) -> tuple[float, ...]:
    """The same of exponents of ten: powers of ten, with 2 and 5 times them where there is room.

    Within less than a factor of two the numbers themselves are round.
    """
    near = _marks(10**low, 10**high, ticks) if high - low < math.log10(2) else ()
    if near and near[0] > 0:
        return tuple(map(math.log10, near))
    for stops in ((1, 2, 5), (1,)):
        tens = range(math.floor(low) - 1, math.ceil(high) + 2)
        found = _covering([ten + math.log10(stop) for ten in tens for stop in stops], low, high)
        if len(found) - 1 <= ticks:
            return found
    first, last = math.floor(low + 1e-9), math.ceil(high - 1e-9)
    step = math.ceil((last - first) / ticks)
    return tuple(map(float, range(first, last + step, step)))


def _covering(marks: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    """Those of ascending `marks` from the last that is not above `low` to the first that is not below `high`."""
    below = [mark for mark in marks if mark <= low + 1e-9][-1]
    above = next(mark for mark in marks if mark >= high - 1e-9)
    return tuple(mark for mark in marks if below <= mark <= above)


def _nice(step: float) -> float:
    """The next larger of 1, 2, 2.5, 5, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0, 20.0) if m * power >= step * (1 - 1e-9))


def _labels(values: Sequence[float]) -> list[str]:
    """Numbers in as few digits as tell them apart, from three on."""
    for digits in range(3, 7):
        said = [f"{value:.0f}" if value in (1e3, 1e4) else f"{value:.{digits}g}" for value in values]
        if len(set(said)) == len(said):
            break
    return said


def _canvas(
    curves: list[list[tuple[int, float] | None]], marks: list[Mark], scale: _Scale, columns: int, rows: int
) -> list[str]:
    cells = [[0] * columns for _ in range(rows)]
    for curve, mark in zip(curves, marks, strict=True):
        walked, before = 0, None
        for point in curve:
            here = None if point is None else _dot(point, scale, columns, rows)
            if here is not None:
                walked = _line(cells, before or here, here, walked, _ON[mark])
            before = here
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in cells]


def _dot(point: tuple[int, float], scale: _Scale, columns: int, rows: int) -> tuple[int, int]:
    x, y = point
    return scale.column(x, columns * 2), min(max(scale.row(y, rows * 4 - 1), 0), rows * 4 - 1)


def _line(
    cells: list[list[int]], start: tuple[int, int], end: tuple[int, int], walked: int, on: tuple[int, int]
) -> int:
    """Sets the dots from `start` to `end`; returns how far the whole curve has come."""
    (x0, y0), (x1, y1) = start, end
    length = max(abs(x1 - x0), abs(y1 - y0))
    for i in range(length + 1):
        x = round(x0 + (x1 - x0) * i / max(length, 1))
        y = round(y0 + (y1 - y0) * i / max(length, 1))
        if (walked + i) % on[1] < on[0]:
            cells[y // 4][x // 2] |= _DOT[y % 4][x % 2]
    return walked + length


def _axis(scale: _Scale, columns: int, label: str, gutter: int, x_name: str) -> list[str]:
    """The horizontal axis and the numbers below it."""
    step = max(int(_nice(max((scale.last - scale.first) / max(columns // TICK_CELLS, 1), 1))), 1)
    axis, below = ["─"] * columns, [" "] * columns
    start = 0
    for x in _whole_ticks(scale, step):
        column = scale.column(x, columns * 2) // 2
        axis[column] = "┬"
        text = str(x)
        start = max(min(column, columns - len(text)), 0)
        below[start : start + len(text)] = text
    room = slice(start - len(x_name) - 2, start)
    if x_name and room.start > 0 and not "".join(below[room]).strip():
        below[room.start + 1 : room.stop - 1] = x_name
    corner = f"{label:>{gutter}} {'┼' if label else '└'}"
    return [corner + "".join(axis), " " * (gutter + 2) + "".join(below).rstrip()]


def _whole_ticks(scale: _Scale, step: int) -> range:
    """Multiples of `step`, or the only position there is."""
    if scale.first == scale.last:
        return range(scale.first, scale.first + 1)
    return range(math.ceil(scale.first / step) * step, scale.last + 1, step)


def _nothing(width: int, height: int, *, log: bool, any_value: bool) -> list[str]:
    if width <= 0 or height <= 0:
        return []
    why = "too small to draw" if width < 12 or height < 4 else "nothing to draw yet"
    if why == "nothing to draw yet" and any_value:
        why = "nothing above zero: press l for a linear scale" if log else "no finite number to draw"
    return [why[:width]]
