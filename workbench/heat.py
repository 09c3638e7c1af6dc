"""A trace as text: a map of tokens by layers, its legend, and where the effect peaks in a sentence. Free of textual.

Cells are told apart by their characters, not by colour. What is wider than the room is put into bins, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.text import ELLIPSIS, visible
from workbench.traces import Traced

SHADES = " ░▒▓█"
"""From nothing to the largest effect."""
DIGITS = ".123456789"
"""The same where blocks cannot be drawn, or numbers are wanted."""
MARK = "*"
"""Stands behind the subject's tokens."""
WIDEST = 4
"""Cells of a column at most; where there is room for"""
NUMBERED = 8
"""so many, it has the probability as well."""
STEPS = (1, 2, 5, 10, 20, 50)
"""Columns between two numbers over the map."""
LAYER = "layer"
"""What stands over the names."""
LITTLE = 0.02
"""Share of an answer's probability below which what noise takes from it is next to nothing."""
UNSURE = 0.01
"""Probability of an answer below which a model does not know it."""
LABEL = 24
"""Cells of a row's name at most,"""
LABEL_OF = 3
"""and of the whole width at most one part in so many, down to"""
LABEL_LEAST = 12


@dataclass(frozen=True)
class HeatMap:
    """The lines of a map, and how its columns lie."""

    header: str
    """Layers over their columns."""
    rows: tuple[str, ...]
    """One a token."""
    bin: int
    """How many layers one column stands for, the strongest of them shown; 1: each has its own."""
    label: int
    """Cells before the first column."""
    cell: int
    """Cells of a column."""


def heat_map(traced: Traced, width: int, *, shades: str = SHADES) -> HeatMap:
    """`traced` in lines of at most `width` cells.

    Args:
        traced: the picture; text in it may be hostile.
        width: cells.
        shades: characters from nothing to the largest effect.
    """
    names = [name_of(traced, row) for row in range(len(traced.rows))]
    most = max(min(LABEL, width // LABEL_OF), LABEL_LEAST)
    label = min(max(map(_cells, (LAYER, *names))) + 1, most)
    room = max(width - label, 1)
    size = -(-max(traced.layers, 1) // room)
    columns = -(-traced.layers // size)
    fits = room // max(columns, 1)
    cell = NUMBERED if fits >= NUMBERED else max(1, min(WIDEST, fits))
    rows = tuple(
        _fit(name, label) + "".join(_cell(traced, effect, cell, shades) for effect in _bins(traced.effects[row], size))
        for row, name in enumerate(names)
    )
    header = LAYER.ljust(label) + _numbers(columns, cell, size)
    return HeatMap(header.rstrip(), rows, size, label, cell)


def name_of(traced: Traced, row: int) -> str:
    """A row's token as it is shown, the subject's with a mark."""
    token = visible(traced.rows[row]).strip() or "␣"
    return token + MARK if row in traced.subject_rows else token


def legend(traced: Traced, heat: HeatMap, shades: str = SHADES) -> list[str]:
    """What the characters mean and what the probabilities are."""
    low, high = traced.corrupted, traced.corrupted + traced.best
    what = "mean p(answer)" if traced.averaged else f"p({visible(traced.answer).strip()})"
    lines = [
        f"{what}: clean {_long(traced.clean)}, corrupted {_long(low)}, best restored {_long(high)}",
        f"'{shades[0]}' corrupted or less, '{shades[-1]}' best restored; {MARK} subject",
    ]
    if heat.cell == NUMBERED:
        lines[1] += "; numbers are probabilities"
    if heat.bin > 1:
        lines.append(f"one column is {heat.bin} layers: the strongest of them is shown")
    return lines


def sentences(traced: Traced) -> list[str]:
    """Where the effect peaks over the subject, and what limits the picture."""
    row, gap = traced.effects[traced.peak_row], traced.clean - traced.corrupted
    peak = row[traced.peak_layer]
    if gap <= 0:
        return ["The answer is no likelier without noise than with it, so there is nothing to restore."]
    if peak <= 0:
        return [f"Restoring {_what(traced)} of the subject gives nothing back at any layer."]
    last = max(layer for layer, effect in enumerate(row) if effect >= peak / 2)
    more = f", at least half of that up to layer {last}" if last > traced.peak_layer else ""
    where = f"{_over(traced)}, restoring {_what(traced)} peaks at layer {traced.peak_layer}, {_place(traced)}"
    said = [f"{where}: {peak / gap:.0%} of the lost probability comes back{more}."]
    if traced.clean < UNSURE:
        said.append("The answer is next to impossible without noise too: the model does not know this.")
    if gap < LITTLE * traced.clean:
        said.append(
            f"Noise on the subject takes only {gap / traced.clean:.1%} of the answer: little hangs on the subject."
        )
    if len(traced.subject_rows) == 1 and not traced.averaged and traced.kind == "state":
        said.append("The subject is one token: its early states undo the corruption itself.")
    if traced.subject_rows[-1] == len(traced.rows) - 1 and not traced.averaged:
        said.append("The subject ends the prompt: its late states are the prediction itself.")
    return said


def _over(traced: Traced) -> str:
    if not traced.averaged:
        return "Over the subject"
    return f"Over {traced.facts} fact{'s' * (traced.facts > 1)} that the model knows"


def _what(traced: Traced) -> str:
    if traced.kind == "state":
        return "one hidden state"
    part = "MLP" if traced.kind == "mlp" else "attention"
    if traced.window == 1:
        return f"one {part} output"
    return f"the {part} outputs of {min(traced.window, traced.layers)} layers around each"


def _place(traced: Traced) -> str:
    """Which of the subject's rows the peak is in."""
    row, rows = traced.peak_row, traced.subject_rows
    if traced.averaged:
        return traced.rows[row]
    which = "only" if len(rows) == 1 else "last" if row == rows[-1] else "first" if row == rows[0] else "middle"
    return f"{which} subject token “{visible(traced.rows[row]).strip()}”"


def _bins(effects: Sequence[float], size: int) -> list[float]:
    """The strongest of every `size` layers."""
    return [max(effects[at : at + size]) for at in range(0, len(effects), size)]


def _cell(traced: Traced, effect: float, width: int, shades: str) -> str:
    """One cell of the map; digits stand once, shades fill it but for a gap where there is room for one."""
    level = round(max(effect, 0.0) / traced.best * (len(shades) - 1)) if traced.best > 0 else 0
    if width == NUMBERED:
        return f"{shades[level] * (2 if shades == SHADES else 1)} {_short(traced.corrupted + effect)}".ljust(width)
    filled = 1 if shades != SHADES else width if width < 3 else width - 1
    return shades[level] * filled + " " * (width - filled)


def _long(p: float) -> str:
    """A probability in the legend: 0.720, 2.1e-05."""
    return f"{p:.3f}" if p >= 0.0005 or p <= 0 else f"{p:.1e}"


def _short(p: float) -> str:
    """A probability in three cells: .07, 1.0."""
    return f"{p:.2f}"[1:] if 0 <= p < 0.995 else f"{p:.1f}"


def _numbers(columns: int, cell: int, size: int) -> str:
    """Layer numbers over the columns that they begin, at round steps, as many as fit."""
    needed = len(str(columns * size)) + 1
    step = next(step for step in STEPS if step * cell >= needed)
    line = ""
    for column in range(0, columns, step):
        longer = line.ljust(column * cell) + str(column * size)
        line = longer if len(longer) <= columns * cell else line
    return line


def _fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells."""
    shown = ""
    if _cells(text) >= width:
        end = MARK if text.endswith(MARK) else ""
        for character in text:
            if _cells(shown + character + ELLIPSIS + end) >= width:
                break
            shown += character
        text = shown + ELLIPSIS + end
    return text + " " * (width - _cells(text))


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
