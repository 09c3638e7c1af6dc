"""Where a queue is kept, and the draft in the form: in the stack's folder, by one screen at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from workbench.errors import StackBusy, StorageError, WorkbenchError
from workbench.stack.files import make_folder
from workbench.stack.lock import WriterLock
from workbench.tui.kept_draft import FILE as DRAFT
from workbench.tui.kept_draft import KeptDraft, read_draft
from workbench.tui.queue import FILE, Queue, read_queue
from workbench.tui.saver import Saver

T = TypeVar("T")

UNREAD = "It is left as it is; what is new is not saved."
LOCK = "queue.lock"
"""Held by the screen that keeps the queue; the stack's own lock is the engine's."""


class QueuePlace:
    """A queue, read from a stack's folder and saved there. If another screen keeps it, it is neither read nor saved.

    Args:
        folder: the stack's.
        tell: takes what went wrong, now and later, on the event loop.
    """

    def __init__(self, folder: Path, tell: Callable[[WorkbenchError], None]) -> None:
        self.folder = folder
        self.found = ""
        """What is to be said about the files, or ""."""
        self.kept = True
        """False: another screen keeps the queue of this stack."""
        self._tell = tell
        self._saver = Saver(folder / FILE, tell)
        self._lock: WriterLock | None = None
        self._take_lock()
        self.queue = self._read() if self.kept else Queue()

    async def close(self) -> None:
        """Returns when the queue is on disk; then another screen may keep it."""
        await self.queue.written.close()
        await self._saver.close()
        if self._lock is not None:
            self._lock.release()

    def _take_lock(self) -> None:
        try:
            make_folder(self.folder)
            self._lock = WriterLock(self.folder, LOCK)
        except StackBusy as busy:
            self.kept = False
            self.found = f"{busy.message} What you queue here is not saved."
        except StorageError as error:
            self._tell(error)

    def _read(self) -> Queue:
        items, draft = self._found(read_queue), self._found(read_draft)
        written = KeptDraft() if draft is None else KeptDraft(Saver(self.folder / DRAFT, self._tell), draft)
        if items is not None:
            return Queue(self._saver, items, written)
        queue = Queue(written=written)
        queue.unsaved = "its file cannot be read"
        return queue

    def _found(self, read: Callable[[Path], tuple[T, str]]) -> T | None:
        """What is there; None, with the reason told, where it cannot be read. Then it is not written over either."""
        try:
            found, said = read(self.folder)
        except WorkbenchError as error:
            self._tell(StorageError(error.message, f"{error.hint} {UNREAD}".strip()))
            return None
        self.found = f"{self.found} {said}".strip()
        return found
