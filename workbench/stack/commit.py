"""How a change reaches the disk: edit file, journal, index, in this order; if one of them fails, back to before.

The index is the commit point. A process that dies on the way leaves what `reconcile` puts in order.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import UsageError, WorkbenchError
from workbench.stack import files
from workbench.stack.index import Index, read_index, write_index
from workbench.stack.journal import DAMAGED, SEVERAL, Entry, Journal
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
        self, old: Index, new: Index, entry: Entry, journal: Journal, new_files: Sequence[tuple[Path, bytes]] = ()
    ) -> None:
        """Makes `new` the index, after `new_files` and the journal's `entry`; all or nothing.

        Raises:
            UsageError: the stack was closed, or `new` is beyond the limits of an index.
            StorageError: the disk would not take it; the folder is as before.
        """
        if not self._lock.held:
            raise UsageError("The stack is closed.", "Open it again.")
        new.check()
        fresh = [path for path, _ in new_files if not path.exists()]
        told = len(journal.entries)
        try:
            if entry.edits:
                journal.add(told_of(Entry(what="begin", edits=entry.edits), old))
            for path, data in new_files:
                files.write_atomic(path, data)
            journal.add(told_of(entry, new))
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
        leftovers += opened.abandoned
        for path in leftovers:
            files.remove(path)
        if leftovers:
            findings.append(f"Files never finished were removed: {len(leftovers)}.")
        state, told = opened.index, opened.journal
        if opened.rebuilt:
            told.add(told_of(Entry(what="rebuild"), state))
        for edit in opened.adopted:
            file = opened.found.paths[edit.id].name
            told.add(told_of(Entry(what="adopt", edit=edit.id, file=file), state))
        whole = all(ident in opened.found.edits for ident in state.order)
        if settled := opened.unfinished or (DAMAGED if told.damaged and whole else ""):
            told.add(told_of(Entry(what="settle", text=settled), state))
        if opened.rebuilt or opened.adopted:
            write_index(self._folder, state)
        return findings

    def begin(self, index: Index, journal: Journal) -> None:
        """Writes the first index of a folder. Raises StorageError."""
        journal.add(told_of(Entry(what="create"), index))
        write_index(self._folder, index)

    def _roll_back(self, error: BaseException, old: Index, fresh: Sequence[Path]) -> None:
        """Best effort; what it cannot undo, opening puts in order, so a second failure is noted on the first."""
        try:
            if read_index(self._folder)[0] not in (old, None):
                write_index(self._folder, old)
            for path in fresh:
                files.remove(path)
        except WorkbenchError as second:
            error.add_note(f"Going back failed too: {second}")

    def _retract(self, error: BaseException, old: Index, entry: Entry, journal: Journal) -> None:
        """Says in the journal that its last entry did not come to be; best effort."""
        text = str(error) or type(error).__name__
        try:
            journal.add(told_of(Entry(what="failed", edit=entry.edit, text=text), old))
        except WorkbenchError as second:
            error.add_note(f"The journal could not be corrected: {second}")


def told_of(entry: Entry, state: Index) -> Entry:
    """`entry` with the state afterwards."""
    return dataclasses.replace(
        entry,
        tip=state.tip,
        position=state.position,
        branch=state.branch,
        index=state.digest,
        marks=state.marks if entry.what in SEVERAL else None,
    )
