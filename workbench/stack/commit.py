"""How a change reaches the disk: edit file, journal, index, in this order; if one of them fails, back to before.

The index is the commit point. A process that dies on the way leaves what `reconcile` puts in order.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from workbench.errors import UsageError, WorkbenchError
from workbench.stack import files
from workbench.stack.index import Index, read_index, write_index
from workbench.stack.journal import Entry, Journal
from workbench.stack.lock import WriterLock
from workbench.stack.reconcile import Opened

_LEFTOVER = re.compile(r"\.(stack\.json|\d{4,}-.*)\.[0-9a-f]{8}\.tmp", re.DOTALL)


class Writer:
    """Writes one stack's folder while it holds the lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = WriterLock(folder)

    @property
    def finding(self) -> str:
        """In words, that a dead process's lock was taken over; empty otherwise."""
        return self._lock.finding

    def close(self) -> None:
        """Lets the lock go; a second time does nothing."""
        self._lock.release()

    def commit(
        self, old: Index, new: Index, entry: Entry, journal: Journal, file: tuple[Path, bytes] | None = None
    ) -> None:
        """Makes `new` the index, after `file` and the journal's `entry`.

        Raises:
            UsageError: the stack was closed.
            StorageError: the disk would not take it; the folder is as before.
        """
        if not self._lock.held:
            raise UsageError("The stack is closed.", "Open it again.")
        fresh = file[0] if file and not file[0].exists() else None
        entry = dataclasses.replace(entry, tip=new.tip, position=new.position)
        told = len(journal.entries)
        try:
            if file:
                files.write_atomic(*file)
            journal.add(entry)
            write_index(self._folder, new)
        except BaseException as error:
            self._roll_back(error, old, fresh)
            if len(journal.entries) > told:
                self._retract(error, old, entry, journal)
            raise

    def settle(self, opened: Opened) -> list[str]:
        """Writes what opening put in order, and removes files that were never finished; says what it did.

        Raises:
            StorageError: the disk would not take it.
        """
        findings = [self._lock.finding] if self._lock.finding else []
        with files.storage("read", self._folder):
            leftovers = [path for path in self._folder.iterdir() if _LEFTOVER.fullmatch(path.name)]
        for path in leftovers:
            files.remove(path)
        if leftovers:
            findings.append(f"Files never finished were removed: {len(leftovers)}.")
        state, told = opened.index, opened.journal
        if opened.rebuilt:
            told.add(Entry(what="rebuild", tip=state.tip, position=state.position))
        for edit in opened.adopted:
            file = opened.found.paths[edit.id].name
            told.add(Entry(what="adopt", edit=edit.id, file=file, tip=state.tip, position=state.position))
        if opened.unfinished:
            told.add(Entry(what="settle", tip=state.tip, position=state.position))
        if opened.rebuilt or opened.adopted:
            write_index(self._folder, state)
        return findings

    def begin(self, index: Index, journal: Journal) -> None:
        """Writes the first index of a folder. Raises StorageError."""
        journal.add(Entry(what="create", tip=index.tip, position=index.position))
        write_index(self._folder, index)

    def _roll_back(self, error: BaseException, old: Index, fresh: Path | None) -> None:
        """Best effort; what it cannot undo, opening puts in order, so a second failure is noted on the first."""
        try:
            if read_index(self._folder)[0] not in (old, None):
                write_index(self._folder, old)
            if fresh:
                files.remove(fresh)
        except WorkbenchError as second:
            error.add_note(f"Going back failed too: {second}")

    def _retract(self, error: BaseException, old: Index, entry: Entry, journal: Journal) -> None:
        """Says in the journal that its last entry did not come to be; best effort."""
        text = str(error) or type(error).__name__
        try:
            journal.add(Entry(what="failed", edit=entry.edit, tip=old.tip, position=old.position, text=text))
        except WorkbenchError as second:
            error.add_note(f"The journal could not be corrected: {second}")
