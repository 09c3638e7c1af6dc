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

BARS_FROM = 12
"""Rows from which the text leaves room for bars."""
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


def token_line(top: Top, width: int) -> str:
    """The likeliest tokens side by side, as many as fit."""
    line = ""
    for token, p in top:
        word = f"{shown_token(token)} {share(p)}"
        if len(line) + len(word) + 2 > width:
            break
        line += f"  {word}" if line else word
    return line


def token_bars(top: Top, other: Top, width: int, rows: int) -> list[str]:
    """The likeliest tokens, one a row, with a bar each; in [brackets] those that are not among the `other` side's."""
    shared = {token for token, _ in other}
    names = [shown_token(t) if t in shared or not other else f"[{shown_token(t)}]" for t, _ in top[:rows]]
    room = min(max(width // 3, 8), 24)
    long = min(max(width - room - 7, 1), 60)
    return [f"{fit(name, room)} {share(p):<5} {bar(p, long)}" for name, (_, p) in zip(names, top, strict=False)]


def share(p: float) -> str:
    """A probability in at most five characters: 0.81, 2e-04."""
    return f"{p:.2f}" if p >= 0.005 or not p > 0 else f"{p:.0e}"


def shown_token(token: str) -> str:
    """A token without its leading space; a token that is nothing else as ␣."""
    return visible(token.removeprefix(" ")) or "␣"


@dataclass(frozen=True)
class SideView:
    """All that one side shows."""

    title: str
    text: Text
    top: Top = ()
    other: Top = ()
    """The other side's likeliest tokens."""
    subtitle: str = ""
    bars: bool = False
    """The next tokens have all the room, and the text none."""
    empty: str = ""
    """What to say where there are no tokens to draw bars of."""


class Side(Vertical):
    """A text that scrolls over its next tokens; or those alone."""

    HELP = (
        "What one state says after the prompt, and its likeliest next tokens. [Brackets] mark what the other side does "
        "not say, or has not among its likeliest ten. d goes round text, next token and both texts as one."
    )

    DEFAULT_CSS = """
    Side { border: round $primary-muted; padding: 0 1; height: 1fr; width: 1fr; border-subtitle-color: $text-muted; }
    Side:focus-within { border: round $accent; }
    Side VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    Side VerticalScroll > Static { width: 1fr; height: auto; }
    Side > #tokens { height: auto; }
    Side.-bars VerticalScroll { display: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  textual's word
        super().__init__(id=id)
        self._view = SideView("", Text())

    def compose(self) -> ComposeResult:
        """The text and the tokens."""
        with VerticalScroll():
            yield Static(id="text", markup=False)
        yield Static(id="tokens", markup=False)

    def show(self, view: SideView) -> None:
        """Draws `view`; titles may come from anywhere."""
        before, self._view = self._view, view
        if view == before:
            return
        self.border_title = Content(visible(view.title))
        self.border_subtitle = Content(visible(view.subtitle))
        self.set_class(view.bars, "-bars")
        if view.text != before.text or view.text.spans != before.text.spans:
            self.query_one("#text", Static).update(view.text)
        self._draw_tokens()

    def on_resize(self) -> None:
        """Fits the tokens again."""
        self._draw_tokens()

    def _draw_tokens(self) -> None:
        view, (width, height) = self._view, self.content_size
        if view.bars:
            lines = token_bars(view.top, view.other, width, height) or [view.empty]
        elif height >= BARS_FROM:
            lines = token_bars(view.top, view.other, width, height // 3)
        else:
            lines = [token_line(view.top, width)] if view.top else []
        self.query_one("#tokens", Static).update(Text("\n").join(Text(line) for line in lines))


def _words(text: str) -> tuple[list[str], str]:
    """Words and signs with the space before them, and what comes after `MAX_WORDS` of them."""
    found = re.findall(r"\s*(?:\w+|[^\w\s])|\s+", text)
    return found[:MAX_WORDS], "".join(found[MAX_WORDS:])
