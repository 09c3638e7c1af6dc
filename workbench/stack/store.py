"""A stack on disk: an ordered line of edits on one base, with a position that can move, and branches beside it.

Every change is written in one order: edit file, journal, index, then memory. Nothing is ever deleted by going back.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.edits import MAX_TEXT
from workbench.errors import BaseMismatch, StackError, UsageError
from workbench.stack import files
from workbench.stack.commit import Writer
from workbench.stack.editfile import SUFFIX, encode_edit, file_name
from workbench.stack.index import NAME as INDEX
from workbench.stack.index import Index
from workbench.stack.journal import Entry, What
from workbench.stack.lineage import line_of
from workbench.stack.reconcile import Opened, belongs, extended, reconcile
from workbench.stack.record import Base, Edit, Factors
from workbench.stack.view import SHORTEST_PREFIX, StackView


class Stack(StackView):
    """One stack's folder, open for reading or, with the lock held, for writing. Made by `Stack.open`."""

    _writer: Writer | None = None

    @classmethod
    def open(cls, folder: Path | str, *, write: bool = False, base: Base | None = None, who: str = "") -> Self:
        """Opens the stack in `folder`; with `write` and `base` the folder is made if it is not there.

        Args:
            folder: Where the edit files lie; an empty folder is an empty stack.
            write: Take the writer's lock, and repair the index if need be.
            base: The model at hand; it must be the stack's.
            who: Name for the journal; empty: the user's.

        Raises:
            UsageError: there is no such folder.
            BaseMismatch: the stack belongs to another base.
            StackBusy: another process writes to it.
            StackError: a newer workbench wrote it.
            StorageError: the disk does not take or give it.
        """
        folder = Path(folder)
        if write and base is not None:
            files.make_folder(folder)
        if not folder.is_dir():
            raise UsageError(f"There is no stack at {folder}.", "Name its folder with --stack.")
        writer = Writer(folder) if write else None
        try:
            opened = reconcile(folder, who)
            stack = cls(folder, opened, base)
            stack._bind(opened, base, writer)
        except BaseException:
            if writer:
                writer.close()
            raise
        return stack

    def _bind(self, opened: Opened, base: Base | None, writer: Writer | None) -> None:
        """Holds the stack against the model at hand, and settles what opening found."""
        self._writer = writer
        if base and self.base and base.fingerprint != self.base.fingerprint:
            raise BaseMismatch(_other_base(self.base, base), "Load that model, or name another folder with --stack.")
        if base and self.base and any(base.modules[m] != i for m, i in self.base.modules.items() if m in base.modules):
            raise BaseMismatch(f"The modules of {base.name} have other shapes than this stack's.", "Check the model.")
        if writer:
            self._findings += writer.settle(opened)
        if base and not self.base:
            self._index = dataclasses.replace(self._index, base=base)
            if writer:
                writer.begin(self._index, self._journal)

    def close(self) -> None:
        """Lets the lock go; a second time does nothing."""
        if self._writer:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, edit: Edit, factors: Sequence[Factors]) -> Edit:
        """Saves `edit` after the position and applies it; parent, number and id are set here.

        Undone edits leave the line but stay on disk, as a branch.

        Raises:
            BaseMismatch: it was made on another base.
            EditError: it cannot be saved as it is.
            StorageError: the disk would not take it; nothing has changed.
        """
        if self.base is not None and not belongs(self.base, edit):
            raise BaseMismatch(_other_base(self.base, edit.base), "Nothing was saved.")
        kept = self._index.order[: self.position]
        placed = dataclasses.replace(edit, id="", parent=self._index.applied_tip, number=self.position + 1)
        saved, data = encode_edit(placed, factors)
        order = (*kept, saved.id)
        changed = dataclasses.replace(
            self._index, order=order, position=len(order), base=extended(self._index.base, saved)
        )
        path = self._folder / file_name(saved)
        self._commit(changed, "apply", edit=saved.id, file=(path, data))
        self._found.edits[saved.id], self._found.paths[saved.id] = saved, path
        self._found.broken.pop(path.name, None)
        return saved

    def undo(self, count: int = 1) -> None:
        """Moves the position back. Raises UsageError if so many are not applied, StorageError."""
        _check_count(count)
        if count > self.position:
            raise UsageError(f"There {_are(self.position)} to undo.", "The base is reached by then.")
        self._move(self.position - count, "undo")

    def redo(self, count: int = 1) -> None:
        """Moves the position forward.

        Raises:
            UsageError: so many are not undone.
            StackError, VerificationError: one of them is damaged; nothing has moved.
            StorageError: the disk would not take it.
        """
        _check_count(count)
        if count > len(self.line) - self.position:
            raise UsageError(
                f"There {_are(len(self.line) - self.position)} to redo.", "The newest edit is applied then."
            )
        self._move(self.position + count, "redo")

    def travel(self, to: int | str) -> None:
        """Goes to a position of the line, or to an edit by its id or the start of it, on any branch.

        An edit off the line makes its own ancestors the line.

        Raises:
            UsageError: there is no such position or edit.
            StackError, VerificationError: an edit on the way there is missing or damaged; nothing has moved.
        """
        if isinstance(to, str) and to.isdecimal() and len(to) < SHORTEST_PREFIX:
            to = int(to)
        if isinstance(to, int):
            if not 0 <= to <= len(self.line):
                raise UsageError(f"There is no position {to}.", f"The line goes from 0 to {len(self.line)}.")
            return self._move(to, "travel")
        edit = self.find(to)
        line = line_of(self._found.edits, edit.id)
        if line is None:
            raise StackError(f"An edit before {edit.id[:8]} is missing.", "Put its file back; see workbench verify.")
        order = self._index.order if self._index.order[: len(line)] == line else line
        changed = dataclasses.replace(self._index, order=order, position=len(line))
        self._check_fresh(changed)
        return self._commit(changed, "travel", edit=edit.id)

    def toggle(self, ident: str, *, off: bool) -> None:
        """Leaves an edit out of what is active, or takes it in again. Raises UsageError, StorageError."""
        edit = self.find(ident)
        rest = tuple(one for one in self._index.off if one != edit.id)
        changed = dataclasses.replace(self._index, off=(*rest, edit.id) if off else rest)
        self._commit(changed, "toggle", edit=edit.id, text="off" if off else "on")

    def note(self, ident: str, text: str) -> None:
        """Writes a note on an edit, in place of the one it had; its file stays as it is.

        Raises:
            UsageError: there is no such edit, or the text is too long or not valid Unicode.
            StorageError: the disk would not take it.
        """
        edit = self.find(ident)
        if len(text) > MAX_TEXT or any("\ud800" <= c <= "\udfff" for c in text):
            raise UsageError(f"A note is valid Unicode of at most {MAX_TEXT} characters.", "Write a shorter one.")
        changed = dataclasses.replace(self._index, notes={**self._index.notes, edit.id: text})
        self._commit(changed, "note", edit=edit.id, text=text)

    @contextlib.contextmanager
    def or_back(self) -> Iterator[None]:
        """What changes within is taken back, and the journal says so, if the block ends with an error."""
        before = self._index
        try:
            yield
        except BaseException as error:
            if self._index is not before:
                self._commit(before, "failed", edit=None, text=str(error))
            raise

    def _move(self, position: int, what: What) -> None:
        changed = dataclasses.replace(self._index, position=position)
        self._check_fresh(changed)
        self._commit(changed, what, edit=None)

    def _check_fresh(self, new: Index) -> None:
        """Raises StackError or VerificationError if an edit that is not applied now, but in `new`, is damaged."""
        applied = set(self._index.order[: self.position])
        for ident in new.order[: new.position]:
            if ident not in applied:
                self.factors(self._found.edits[ident])

    def _commit(
        self, new: Index, what: What, *, edit: str | None, text: str = "", file: tuple[Path, bytes] | None = None
    ) -> None:
        if self._writer is None:
            raise UsageError("The stack is open for reading only.", "Open it for writing.")
        entry = Entry(what=what, edit=edit, text=text, file=file[0].name if file else "")
        self._writer.commit(self._index, new, entry, self._journal, file)
        self._index = new


def discover(folder: Path) -> tuple[Path, ...]:
    """The stacks at `folder` and right below it, by name: folders with an index or with edit files.

    Raises:
        StorageError: the folder may not be read.
    """
    if not folder.is_dir():
        return ()
    with files.storage("read", folder):
        below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return tuple(path for path in (folder, *below) if _is_stack(path))


def _is_stack(folder: Path) -> bool:
    return (folder / INDEX).is_file() or any(path.name.endswith(SUFFIX) for path in folder.glob("[0-9]*"))


def _other_base(recorded: Base, given: Base) -> str:
    names = [f"{base.name} ({base.fingerprint[:12]})" for base in (recorded, given)]
    return f"This stack belongs to {names[0]}, not to {names[1]}."


def _check_count(count: int) -> None:
    if count < 1:
        raise UsageError(f"{count} is not a number of edits.", "Give 1 or more.")


def _are(count: int) -> str:
    return {0: "is nothing", 1: "is only 1 edit"}.get(count, f"are only {count} edits")
