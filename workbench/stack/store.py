"""A stack on disk: an ordered line of edits on one base, with a position that can move, and branches beside it.

Nothing is ever deleted by going back.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.edits import MAX_TEXT
from workbench.errors import BaseMismatch, UsageError
from workbench.stack import files
from workbench.stack.commit import Writer
from workbench.stack.journal import What
from workbench.stack.names import BASE, new_name, next_name
from workbench.stack.observe import observe
from workbench.stack.reconcile import Opened, reconcile
from workbench.stack.record import Base, same_matrix
from workbench.stack.view import SHORTEST_PREFIX
from workbench.stack.writing import StackWriter, other_base


class Stack(StackWriter):
    """One stack's folder, open for reading or, with the lock held, for writing. Made by `Stack.open`."""

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
            opened = reconcile(folder, who) if write else observe(folder, who)
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
            raise BaseMismatch(other_base(self.base, base), "Load that model, or name another folder with --stack.")
        known = self.base.modules if self.base else {}
        if base and any(not same_matrix(base.modules[m], info) for m, info in known.items() if m in base.modules):
            raise BaseMismatch(f"The modules of {base.name} have other shapes than this stack's.", "Check the model.")
        if writer:
            self._findings += writer.settle(opened)
        if base and not self.base:
            self._index = dataclasses.replace(self._index, base=base)
            if writer:
                writer.begin(self._index, self._journal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
                f"There {_are(len(self.line) - self.position)} to redo.",
                f"The line has {len(self.line)}; other lines: workbench branch.",
            )
        self._move(self.position + count, "redo")

    def travel(self, to: int | str) -> None:
        """Goes to a position of the line, or to an edit by its id or the start of it, on any branch.

        An edit off the line is reached by going over to its branch; one that no branch leads to begins one. `to` may
        also be a tag, a branch or "base".

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
        if to == BASE:
            return self._move(0, "travel")
        edit = self.find(to)
        if edit.id in self._index.order:
            return self._move(self._index.order.index(edit.id) + 1, "travel", edit.id)
        return self._go_over(self._home_of(to, edit.id), edit.id, "travel")

    def switch(self, name: str) -> None:
        """Makes another branch the line, all of it applied.

        Raises:
            UsageError: there is no such branch.
            StackError, VerificationError: an edit of it is missing or damaged; nothing has moved.
        """
        if name not in self._index.tips:
            raise UsageError(f"There is no branch '{name}'.", f"There is {', '.join(sorted(self._index.tips))}.")
        self._go_over(name, self._index.tips[name], "switch")

    def start_branch(self, name: str, at: str | None = None) -> None:
        """Begins a branch at the position, or where `at` says, and makes it the line.

        Args:
            name: of the branch.
            at: a branch, a tag, an edit's id or "base".

        Raises:
            UsageError: the name cannot be, or is taken; there is no such place.
            StackError, VerificationError: an edit on the way there is missing or damaged; nothing has moved.
        """
        name = new_name(name, self._taken)
        order = self._index.order[: self.position] if at is None else tuple(edit.id for edit in self.line_at(at))
        self._make_line(name, order, len(order), "branch", text=name)

    def delete_branch(self, name: str) -> int:
        """Forgets the name of a branch; returns how many of its edits no branch leads to now. They stay on disk.

        Raises:
            UsageError: there is no such branch, or it is the current one.
        """
        if name == self.branch:
            raise UsageError(f"'{name}' is the current branch.", "Switch to another one first.")
        if name not in self._index.branches:
            raise UsageError(f"There is no branch '{name}'.", "See workbench branch.")
        before = len(self.loose)
        rest = {other: tip for other, tip in self._index.branches.items() if other != name}
        self._commit(dataclasses.replace(self._index, branches=rest), "unbranch", edit=None, text=name)
        return len(self.loose) - before

    def tag(self, name: str, ident: str) -> None:
        """Gives an edit a name. Raises UsageError: the name cannot be, or is taken; there is no such edit."""
        edit = self.find(ident)
        tags = {**self._index.tags, new_name(name, self._taken): edit.id}
        self._commit(dataclasses.replace(self._index, tags=tags), "tag", edit=edit.id, text=name)

    def untag(self, name: str) -> None:
        """Takes a name from an edit. Raises UsageError: there is no such tag."""
        if name not in self._index.tags:
            raise UsageError(f"There is no tag '{name}'.", "See workbench tag.")
        tags = {other: ident for other, ident in self._index.tags.items() if other != name}
        self._commit(dataclasses.replace(self._index, tags=tags), "untag", edit=None, text=name)

    def _home_of(self, word: str, ident: str) -> str:
        """The branch to be on for an edit off the line: one that leads to it, else a new one."""
        if word in self._index.branches:
            return word
        homes = [name for name, tip in sorted(self._index.branches.items()) if ident in self._ids_to(tip, strict=False)]
        return homes[0] if homes else next_name(self.branch, self._taken)

    def _go_over(self, name: str, to: str | None, what: What) -> None:
        """Makes `name` the line, or begins it there, and goes to its edit `to`; None: to the base."""
        tip = self._index.tips.get(name, to)
        order = self._ids_to(tip)
        self._make_line(name, order, order.index(to) + 1 if to else 0, what)

    def _make_line(self, name: str, order: tuple[str, ...], position: int, what: What, text: str = "") -> None:
        others = {other: tip for other, tip in self._index.tips.items() if other != name}
        changed = dataclasses.replace(self._index, order=order, position=position, branch=name, branches=others)
        self._check_fresh(changed)
        self._commit(changed, what, edit=changed.applied_tip, text=text)

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

    def _move(self, position: int, what: What, edit: str | None = None) -> None:
        changed = dataclasses.replace(self._index, position=position)
        self._check_fresh(changed)
        self._commit(changed, what, edit=edit)


def _check_count(count: int) -> None:
    if count < 1:
        raise UsageError(f"{count} is not a number of edits.", "Give 1 or more.")


def _are(count: int) -> str:
    return {0: "is nothing", 1: "is only 1 edit"}.get(count, f"are only {count} edits")
