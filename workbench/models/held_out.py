"""Held-out text beside a model, one text a line, for perplexity."""

from __future__ import annotations

from pathlib import Path

HELD_OUT = "held_out.txt"


def held_out_lines(folder: Path) -> tuple[str, ...]:
    """The model's held-out texts; empty if it has none."""
    path = folder / HELD_OUT
    return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()
