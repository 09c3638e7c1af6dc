"""One writer a stack: the file `lock`, held by the operating system and naming who holds it.

The system drops the lock of a process that dies, so a stale one is taken over without a race; what the dead process
left written says whose it was. Readers need no lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.errors import StackBusy, StorageError
from workbench.stack.files import storage
from workbench.stack.limits import MAX_LOCK
from workbench.stack.strictjson import MalformedError, parse

NAME = "lock"

_TRIES = 100
_PATIENCE = 5
"""How often a lock that is taken is tried again, for a reader may have asked about it just then."""
_PAUSE = 0.01
"""Seconds between."""

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        """Whether the lock was free; a byte far behind the text is locked, so that others can read the text."""
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    _try_shared = _try_lock
else:
    import fcntl

    def _try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
        """Whether the lock was free. Raises OSError where the file system knows no locks."""
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _try_shared(descriptor: int) -> bool:
        """As `_try_lock`, for one of many readers."""
        return _try_lock(descriptor, fcntl.LOCK_SH)


def is_held(folder: Path, name: str = NAME) -> bool:
    """Whether a living writer holds the lock of `folder`; where that cannot be asked, no."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # there is none, or it is not for this reader to open
        return False
    try:
        return not _try_shared(descriptor)
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)


class WriterLock:
    """Held from construction to `release`.

    Args:
        folder: the stack's.
        name: the lock's file; another one than the stack's own guards something else in the folder.

    Raises:
        StackBusy: on construction, if another writer holds it.
        StorageError: on construction, if the folder cannot be written or locked.
    """

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self._path = folder / name
        self._pid = os.getpid()
        self._descriptor: int | None = None
        self.finding = ""
        """In words, that a dead process's lock was taken over; empty otherwise."""
        with storage("lock", folder):
            for attempt in range(_TRIES):
                if self._acquire(patient=attempt < _PATIENCE):
                    return
        raise StackBusy("Other processes keep opening and closing this stack.", "Try again in a moment.")

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._descriptor is not None and self._pid == os.getpid()

    def release(self) -> None:
        """Lets go; a second time does nothing, and neither does a forked child."""
        if self._descriptor is None or not self.held:
            return
        descriptor, self._descriptor = self._descriptor, None
        with contextlib.suppress(OSError):  # Windows keeps a file that somebody reads; an empty one says the same
            os.ftruncate(descriptor, 0)
            os.unlink(self._path)  # noqa: PTH108  as in files: one module of calls
        os.close(descriptor)

    def _acquire(self, *, patient: bool) -> bool:
        """False: try again, for the file was removed by its last holder just now, or it is taken and one is patient."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StorageError(f"{self._path.name} is not a regular file.", "Remove what stands in its place.")
            if not _try_lock(descriptor):
                if patient:
                    os.close(descriptor)
                    time.sleep(_PAUSE)
                    return False
                raise StackBusy(_busy(_read(descriptor)), "Wait until it is done; reading needs no lock.")
            if not _same_file(descriptor, self._path):
                os.close(descriptor)
                return False
            self.finding = _took_over(_read(descriptor))
            _write(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write(descriptor: int) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, json.dumps(holder).encode())


def _read(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, MAX_LOCK)


def _holder(text: bytes) -> str:
    """As "process 12 on lab", from what a holder wrote, which may have been cut short."""
    try:
        document: Any = parse(text)
    except MalformedError:
        return ""
    if not isinstance(document, dict) or type(document.get("pid")) is not int:
        return ""
    return f"process {document['pid']} on {str(document.get('host', 'this machine'))[:100]}"


def _busy(text: bytes) -> str:
    return f"Another writer has this stack open: {_holder(text) or 'a process that has just started'}."


def _took_over(text: bytes) -> str:
    if not text:
        return ""
    return f"The lock of {_holder(text) or 'a process'}, which has ended without letting go, was taken over."
