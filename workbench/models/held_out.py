"""Held-out text beside a model, one text a line, for perplexity."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import ModelError

HELD_OUT = "held_out.txt"


def held_out_lines(folder: Path) -> tuple[str, ...]:
    """The model's held-out texts; empty if it has none. Raises ModelError if they cannot be read."""
    path = folder / HELD_OUT
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"The held-out text '{HELD_OUT}' cannot be read.", "It is UTF-8, one text a line.") from error
