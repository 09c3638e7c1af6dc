"""A comparison as the two sides of the screen draw it: next to each other, or both texts as one."""

from __future__ import annotations

from typing import Literal

from rich.text import Text

from workbench.tui.comparison import Comparison
from workbench.tui.widgets.side import SideView, Span, compared, diff_text, differing, marked
from workbench.tui.widgets.text import safe

View = Literal["text", "next", "diff"]
VIEWS: tuple[View, ...] = ("text", "next", "diff")
VIEW_WORDS = {"text": "text", "next": "next token", "diff": "diff"}


def side_views(found: Comparison, view: View, waiting: str, *, narrow: bool) -> tuple[SideView, SideView]:
    """A and B; what differs is marked once both are done. `waiting` stands where a side has no text."""
    texts = found.sides[0].text, found.sides[1].text
    spans = compared(*texts) if found.finished else ([Span(texts[0])], [Span(texts[1])])
    count = max(differing(spans[0]), differing(spans[1]))
    differ = f"{count} span{'s differ' if count != 1 else ' differs'}" if found.finished else ""
    notes = (found.apart(short=narrow), differ)
    a, b = (
        SideView(
            title="  ".join(part for part in (f"{letter}  {side.name}", side.pace) if part),
            text=_whole(found.asked.prompt, marked(spans[i]), waiting),
            top=side.top,
            other=found.sides[1 - i].top,
            subtitle=notes[i],
            bars=view == "next",
            empty=waiting,
        )
        for i, (letter, side) in enumerate(zip("AB", found.sides, strict=True))
    )
    return a, b


def as_one(found: Comparison) -> SideView:
    """Both texts as one."""
    a, b = found.sides
    text = safe(found.asked.prompt, "dim", lines=True).append_text(diff_text(a.text, b.text))
    return SideView(f"{a.name} -> {b.name}   [-only A-] {{+only B+}}", text, b.top, a.top, found.apart())


def _whole(prompt: str, text: Text, waiting: str) -> Text:
    """The prompt and `text`, or why there is none."""
    return safe(prompt, "dim", lines=True).append_text(text) if text.plain else safe(waiting, "dim")
