"""One side of a comparison: what the model says, what differs from the other side, and the likeliest next tokens."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.text import visible
from workbench.tui.widgets.text import bar, fit, safe

Top = tuple[tuple[str, float], ...]
"""Tokens and their probabilities, likeliest first."""

MAX_WORDS = 2_000
"""Words a comparison looks at; what comes after is shown but not compared."""


@dataclass(frozen=True)
class Span:
    """A run of words; `differs` from the other side."""

    text: str
    differs: bool = False


def compared(a: str, b: str) -> tuple[list[Span], list[Span]]:
    """Both texts as runs of words, equal and different ones."""
    left, rest_left = _words(a)
    right, rest_right = _words(b)
    spans: tuple[list[Span], list[Span]] = ([], [])
    keys = ([w.strip() for w in left], [w.strip() for w in right])
    for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        for side, text in zip(spans, ("".join(left[a0:a1]), "".join(right[b0:b1])), strict=True):
            if text:
                side.append(Span(text, tag != "equal"))
    for side, rest in zip(spans, (rest_left, rest_right), strict=True):
        if rest:
            side.append(Span(rest))
    return spans


def merged(a: str, b: str) -> list[tuple[str, Span]]:
    """Both texts as one: runs with "=", "-" (only in `a`) or "+" (only in `b`)."""
    left, right = _words(a)[0], _words(b)[0]
    keys = ([w.strip() for w in left], [w.strip() for w in right])
    found: list[tuple[str, Span]] = []
    for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(("=", Span("".join(left[a0:a1]))))
            continue
        for sign, text in (("-", "".join(left[a0:a1])), ("+", "".join(right[b0:b1]))):
            if text:
                found.append((sign, Span(text, True)))
    return found


def differing(spans: Sequence[Span]) -> int:
    """How many runs differ."""
    return sum(span.differs for span in spans)


def marked(spans: Sequence[Span], style: str = "bold reverse") -> Text:
    """The runs as text, different ones in brackets, so that they are seen without colour."""
    text = Text()
    for span in spans:
        text.append_text(_bracketed(span.text, "[", "]", style) if span.differs else safe(span.text, lines=True))
    return text


def diff_text(a: str, b: str) -> Text:
    """Both texts as one, [-only in a-] and {+only in b+}."""
    text = Text()
    for sign, span in merged(a, b):
        if sign == "=":
            text.append_text(safe(span.text, lines=True))
        elif sign == "-":
            text.append_text(_bracketed(span.text, "[-", "-]", "strike"))
        else:
            text.append_text(_bracketed(span.text, "{+", "+}", "bold reverse"))
    return text


def _bracketed(text: str, left: str, right: str, style: str) -> Text:
    """`text` in brackets, the space around it left outside."""
    body = text.strip()
    start, end = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :] if body else ""
    inside = safe(f"{left}{body}{right}", style, lines=True)
    return safe(start, lines=True).append_text(inside).append_text(safe(end, lines=True))


def token_lines(top: Top, width: int, rows: int) -> list[str]:
    """The likeliest tokens: with bars, one a row, if there are rows; else side by side."""
    if not top:
        return []
    if rows <= 1:
        line = ""
        for token, p in top:
            word = f"{shown_token(token)} {p:.2f}"
            if len(line) + len(word) + 2 > width:
                break
            line += f"  {word}" if line else word
        return [line]
    room = min(max(width // 3, 8), 18)
    return [f"{fit(shown_token(t), room)} {p:.2f}  {bar(p, min(max(width - room - 7, 1), 24))}" for t, p in top[:rows]]


def shown_token(token: str) -> str:
    """A token without its leading space; a token that is nothing else as ␣."""
    return visible(token.removeprefix(" ")) or "␣"


def overlap(a: Top, b: Top) -> str:
    """How many of the likeliest tokens both sides share."""
    if not a or not b:
        return ""
    k = min(len(a), len(b))
    shared = {token for token, _ in a[:k]} & {token for token, _ in b[:k]}
    return f"top-{k} overlap {len(shared)}/{k}"


class Side(Vertical):
    """A text that scrolls over its next tokens."""

    DEFAULT_CSS = """
    Side { border: round $primary-muted; padding: 0 1; height: 1fr; width: 1fr; border-subtitle-color: $text-muted; }
    Side:focus-within { border: round $accent; }
    Side VerticalScroll { height: 1fr; }
    Side VerticalScroll > Static { width: 1fr; height: auto; }
    Side > #tokens { height: auto; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  textual's word
        super().__init__(id=id)
        self._text, self._top = Text(), Top()

    def compose(self) -> ComposeResult:
        """The text and the tokens."""
        with VerticalScroll():
            yield Static(id="text", markup=False)
        yield Static(id="tokens", markup=False)

    def describe(self, title: str, text: Text, top: Top, subtitle: str = "") -> None:
        """Shows a text and tokens; titles may come from anywhere."""
        self.border_title = Content(visible(title))
        self.border_subtitle = Content(visible(subtitle))
        if text != self._text or text.spans != self._text.spans:
            self._text = text
            self.query_one("#text", Static).update(text)
        if top != self._top:
            self._top = top
            self._draw_tokens()

    def on_resize(self) -> None:
        """Fits the tokens again."""
        self._draw_tokens()

    def _draw_tokens(self) -> None:
        width, height = self.content_size
        lines = token_lines(self._top, width, height // 3 if height >= 12 else 1)
        self.query_one("#tokens", Static).update(Text("\n").join(Text(line) for line in lines))


def _words(text: str) -> tuple[list[str], str]:
    """Words and signs with the space before them, and what comes after `MAX_WORDS` of them."""
    found = re.findall(r"\s*(?:\w+|[^\w\s])|\s+", text)
    return found[:MAX_WORDS], "".join(found[MAX_WORDS:])
