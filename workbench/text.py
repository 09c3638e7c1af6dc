"""Text from files and models made fit to show: control characters are seen, never sent. Free of torch and textual."""

from __future__ import annotations

import json
import re

ELLIPSIS = "…"

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u00ad\u061c\u200b\u200e\u200f"  # soft hyphen, marks without width
    "\u2028-\u202e\u2060-\u206f"  # line separators, bidi embeddings and isolates, invisible operators
    "\ud800-\udfff\ufeff\ufff9-\ufffb"  # halves of surrogate pairs, byte order mark, annotations
    "\U000e0000-\U000e007f]"  # tags: whole sentences without a glyph
)


def visible(text: str, keep: str = "") -> str:
    """`text` with everything that a terminal would obey, or hide, written out.

    Control characters become their pictures (escape is ␛, newline ␊); characters without a picture become ⟨U+202E⟩.
    Joiners (U+200C, U+200D) stay: scripts and emoji need them.

    Args:
        text: from anywhere.
        keep: characters to let through, for instance a newline where the text may have several lines.
    """
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else _picture(found[0]), text)


def escaped(document: str) -> str:
    """A line of JSON with everything that `visible` would write out as JSON's own escape: the same document."""
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1] if found[0] > "\x7e" else found[0], document)


def shortened(text: str, width: int) -> str:
    """`text` cut to `width` characters at most, the last one … if it was longer."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + ELLIPSIS[:width]


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def and_more(requests: int) -> str:
    """What stands behind the first of so many requests: " and 99 more"; nothing behind the only one."""
    return f" and {requests - 1} more" if requests > 1 else ""
