"""Where things that can be computed again are kept between runs: second moments, context templates, fingerprints."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

VARIABLE = "WORKBENCH_CACHE"


def cache_root() -> Path:
    """$WORKBENCH_CACHE, else $XDG_CACHE_HOME/workbench, else ~/.cache/workbench; it need not exist."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "workbench"


def kept_for(fingerprint: str) -> Path:
    """The folder of what is kept for the base with that fingerprint."""
    return cache_root() / fingerprint[:32]


def keep(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, whole or not at all. Where the disk does not take it, it is computed again next time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(unfinished).replace(path)
