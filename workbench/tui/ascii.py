"""What is drawn on a terminal that knows ASCII only, or only the letters of one country: every sign has a stand-in."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

PLAIN_TERMINALS = ("dumb", "vt52", "vt100", "vt102", "vt220", "ansi")
"""Kinds of terminal, as $TERM says, that are older than Unicode."""

_SIGNS = {
    "●": "*", "○": "o", "◌": "o", "◦": "o", "•": "*", "▶": ">", "▸": ">", "▾": "v", "▼": "v", "▲": "^", "▽": "v",
    "△": "^", "↶": "<", "✗": "x", "✓": "v", "·": ".", "‖": "=", "…": "~", "→": ">", "←": "<", "↑": "^", "↓": "v",
    "└": "`", "⏎": "<", "⌫": "<", "│": "|", "┃": "|", "║": "|", "┤": "|", "├": "|", "▌": "|", "▐": "|", "▎": "|",
    "▊": "|", "▕": "|", "▏": "|", "─": "-", "━": "=", "═": "=", "┴": "+", "┬": "+", "┼": "+", "╭": "+", "╮": "+",
    "╰": "+", "╯": "+", "┌": "+", "┐": "+", "┘": "+", "╸": "-", "╺": "-", "▔": "-", "▁": "_", "▂": ".", "▃": "-",
    "▄": "=", "▅": "=", "▆": "+", "▇": "#", "█": "#", "▀": "#", "░": ".", "▒": ":", "▓": "#", "Δ": "d",
    "δ": "d", "λ": "l", "μ": "u", "σ": "s", "≤": "<", "≥": ">", "≈": "~", "²": "2", "⁻": "-", "¹": "1", "–": "-",
    "—": "-", "“": '"', "”": '"', "‘": "'", "’": "'", "␛": "^", "␊": "/", "␉": " ", "␡": "?", "⟨": "<", "⟩": ">",
    "−": "-", "±": "~", "≠": "#", "∞": "8", "∑": "S", "Σ": "S", "∂": "d", "√": "v", "⋯": "~", "°": "o", "×": "x",
    "🔎": "/ ", "₀": "0", "₁": "1", "\u0304": "",
}  # fmt: skip
_UPPER_DOTS = 0x01 | 0x02 | 0x08 | 0x10
_BRAILLE = range(0x2800, 0x2900)


def terminal_encoding(environ: Mapping[str, str], written: str) -> str:
    """What the terminal can show: of a locale that is named and has no UTF-8, what it has.

    Args:
        environ: the process's environment.
        written: the encoding that the terminal is written to in.
    """
    locale = _locale(environ)
    if not locale or "utf" in locale.lower() or "utf" not in written.lower():
        return written
    return locale.partition(".")[2].partition("@")[0] or "ascii"


def needs_ascii(environ: Mapping[str, str], encoding: str) -> bool:
    """Whether the terminal cannot show what the screen draws.

    Args:
        environ: the process's environment: a locale that is named and has no UTF-8, or an old kind of terminal.
        encoding: what the terminal is written to in.
    """
    return environ.get("TERM", "") in PLAIN_TERMINALS or "utf" not in terminal_encoding(environ, encoding).lower()


def _locale(environ: Mapping[str, str]) -> str:
    return next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")


class AsciiFilter(LineFilter):
    """Draws the screen's own signs in ASCII, and of text what the terminal's encoding has.

    Args:
        encoding: the terminal's.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding if _known(encoding) else "ascii"

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same cells, every sign with its stand-in."""
        del background
        return [
            segment if segment.control or segment.text.isascii() else segment._replace(text=self._plain(segment.text))
            for segment in segments
        ]

    def _plain(self, text: str) -> str:
        return "".join(character if character.isascii() else stand_in(character, self._encoding) for character in text)


@lru_cache(4096)
def stand_in(character: str, encoding: str) -> str:
    """What is drawn for a character, in as many cells."""
    if character in _SIGNS:
        return _SIGNS[character]
    if ord(character) in _BRAILLE:
        return _dots(ord(character) - _BRAILLE.start)
    if 0x2500 <= ord(character) < 0x25A0:
        return "+"
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return "?" * cell_len(character)
    return character


def _known(encoding: str) -> bool:
    try:
        codecs.lookup(encoding)
    except LookupError:
        return False
    return True


def _dots(pattern: int) -> str:
    """A braille cell by the half of it that is dotted."""
    upper, lower = bool(pattern & _UPPER_DOTS), bool(pattern & ~_UPPER_DOTS)
    return ":" if upper and lower else "'" if upper else "." if lower else " "
