"""What becomes of a file of the screen's own that cannot be understood: it is moved aside, never overwritten."""

from __future__ import annotations

import secrets
from pathlib import Path

from workbench.stack.files import storage


def moved_aside(path: Path) -> str:
    """Gives the file in `path` another name beside it, and returns that. Raises StorageError."""
    aside = path.with_name(f"{path.stem}-damaged-{secrets.token_hex(3)}{path.suffix}")
    with storage("move aside", path):
        path.rename(aside)
    return aside.name
