"""Opening a stack to read while others may write to it: no waiting, and no word of what is only on its way.

The index is the commit point, and whatever it names is on the disk before it. So beside a writer the index is believed
and what is newer is left out; without one, what a dead writer left is told as `reconcile` tells it.
"""

from __future__ import annotations

from pathlib import Path

from workbench.stack.files import storage
from workbench.stack.index import NAME as INDEX
from workbench.stack.lock import is_held
from workbench.stack.reconcile import Opened, reconcile

_TRIES = 20
"""How often reading begins again because a writer came and went meanwhile."""


def observe(folder: Path, who: str = "") -> Opened:
    """As `reconcile`, for a reader. Raises StackError, StorageError."""
    for _ in range(_TRIES):
        before = _stamp(folder)
        opened = reconcile(folder, who)
        if not opened.findings:
            return opened
        if is_held(folder):
            return reconcile(folder, who, beside=True)
        if _stamp(folder) == before:
            break
    return opened


def _stamp(folder: Path) -> tuple[int, int]:
    """Another one for every index that was put in place; (0, 0) without one."""
    with storage("read", folder):
        try:
            status = (folder / INDEX).stat()
        except FileNotFoundError:
            return 0, 0
    return status.st_ino, status.st_mtime_ns
