"""Layers as a command line names them: "3-8" or "3,5,7-9"."""

from __future__ import annotations

import re

from workbench.errors import UsageError

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_WIDEST = 1000


def layers_of(ranges: str) -> tuple[int, ...]:
    """All layers that `ranges` names, each once, in order. Raises UsageError."""
    found: set[int] = set()
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= last - first < _WIDEST:
            raise UsageError(f"'{part}' is no range of layers.", "Write it as in 3-8 or 3,5,7-9.")
        found.update(range(first, last + 1))
    return tuple(sorted(found))
