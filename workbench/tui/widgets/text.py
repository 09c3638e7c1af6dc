"""The one place where the screen turns text from models and files into something to draw. No markup, nothing obeyed."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from workbench.text import ELLIPSIS, visible


def safe(text: str, style: str = "", *, lines: bool = False) -> Text:
    """`text` as rich Text: brackets are brackets, control characters are seen and never sent.

    Args:
        text: from anywhere.
        style: a rich style for all of it.
        lines: let newlines through.
    """
    return Text(visible(text, keep="\n" if lines else ""), style)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text`, made visible, in exactly `width` cells: cut with … or padded, on the left if `right`."""
    shown = visible(text)
    if width <= 0:
        return ""
    cells = cell_len(shown)
    if cells > width:
        return set_cell_size(shown, width - 1) + ELLIPSIS
    return " " * (width - cells) + shown if right else shown + " " * (width - cells)


def counted(number: int, noun: str) -> str:
    """As in 1 edit, 2 edits."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def wrapped(text: str, width: int) -> list[str]:
    """`text`, made visible, on lines of at most `width` cells, broken at spaces where there are any."""
    if width <= 0:
        return []
    found: list[str] = []
    for paragraph in visible(text, keep="\n").split("\n"):
        found += _wrap(paragraph, width)
    return found


def _wrap(paragraph: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in paragraph.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, width)
        lines += full
    return [*lines, line]


def _pieces(word: str, width: int) -> list[str]:
    """A word that is longer than a line, in pieces that fit."""
    pieces, piece = [], ""
    for character in word:
        if piece and cell_len(piece + character) > width:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` decimals; what is not known is -, never a made-up number."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def compact(value: float | None) -> str:
    """`value` in at most seven characters: 0.0206, 112.40, 1.2e-05."""
    if value is None or value != value:
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e5 or size < 1e-3:
        return f"{value:.1e}"
    return f"{value:.4f}" if size < 1 else f"{value:.2f}"


def tick(passed: bool | None) -> str:
    """✓, ✗, or - where nothing was asked."""
    return "-" if passed is None else "✓" if passed else "✗"


def pair(counts: tuple[int, int] | None) -> str:
    """(held, asked) as 2/3; - where nothing was asked."""
    return "-" if not counts or not counts[1] else f"{counts[0]}/{counts[1]}"


def size(count: int) -> str:
    """Bytes in the unit a person would choose."""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count} B"


SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[float], width: int) -> str:
    """The last `width` values, at least 0, as bars from zero to the largest."""
    kept = [max(v, 0.0) for v in values if v == v and v != float("inf")][-width:] if width > 0 else []
    top = max(kept, default=0.0)
    return "".join(SPARKS[round(v / top * (len(SPARKS) - 1))] if top else SPARKS[0] for v in kept)


def bar(fraction: float, width: int) -> str:
    """A bar of `width` cells, filled by `fraction`."""
    filled = round(min(max(fraction, 0.0), 1.0) * width) if fraction == fraction else 0
    return "█" * filled + "░" * (width - filled)
