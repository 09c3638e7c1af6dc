"""Text from strangers in Markdown: it is read as it is, and can neither end a cell nor become a link, image or tag."""

from __future__ import annotations

import re

from workbench.stack.record import Base
from workbench.text import shortened, visible

CELL = 100
"""Characters of a cell."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_MARKUP = re.compile(r"[\\`*_\[\]|~$<>&@:#]|(?<=www)\.", re.IGNORECASE)


def plain(text: str, most: int = CELL) -> str:
    """`text`, of at most `most` characters, as it is to be read, whatever Markdown would make of it."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", shortened(visible(text), most))


def on_hub(base: Base) -> bool:
    """Whether `base` was loaded from the Hub, so that its name means the same to everybody."""
    return bool(base.revision) and _HUB_NAME.fullmatch(base.name) is not None


def public_name(base: Base) -> str:
    """What to call `base` before others: its name on the Hub, or its folder's own name, without where that lies."""
    return base.name if on_hub(base) else re.split(r"[/\\]", base.name.rstrip("/\\"))[-1] or "base"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table; the cells are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
