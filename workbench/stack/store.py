"""A stack on disk: an ordered line of edits on one base, with a position that can move, and branches beside it.

Every change is written in one order: edit file, journal, index, then memory. Nothing is ever deleted by going back.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.edits import MAX_TEXT
from workbench.errors import BaseMismatch, EditError, UsageError, VerificationError
from workbench.stack import files
from workbench.stack.commit import Writer
from workbench.stack.editfile import SUFFIX, encode_edit, file_name
from workbench.stack.index import NAME as INDEX
from workbench.stack.index import Index
from workbench.stack.journal import Entry, What
from workbench.stack.names import BASE, new_name, next_name
from workbench.stack.observe import observe
from workbench.stack.reconcile import Opened, belongs, extended, leaving, reconcile
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

        Where edits are undone, a new branch begins; they stay on the old one.

        Raises:
            BaseMismatch: it was made on another base.
            EditError: it cannot be saved as it is.
            StorageError: the disk would not take it; nothing has changed.
        """
        (saved,) = self._add(leaving(self._index, self.position), [(edit, factors)], "apply")
        return saved

    def graft(
        self, keep: int, additions: Iterable[tuple[Edit, Sequence[Factors]]], what: What, *, branch: str = ""
    ) -> tuple[Edit, ...]:
        """Makes the line its first `keep` edits followed by copies of `additions`, all or nothing.

        Parents, numbers and ids are set here; an edit that already stands where it is put keeps its id, if it is given
        `as_saved`. A copy of an edit that is toggled off is off, and a copy takes the notes along. What the line was
        stays on its branch.

        Args:
            keep: how many edits of the line stay.
            additions: edits and their updates, in order.
            what: for the journal.
            branch: name of the new line; empty: the next free one, or the present one if it only grows.

        Raises:
            UsageError: the branch's name is taken.
            BaseMismatch, EditError, StorageError: as `append`; nothing has changed.
        """
        name = new_name(branch, self._taken) if branch else ""
        return self._add(leaving(self._index, keep, name=name), additions, what)

    def _add(self, start: Index, additions: Iterable[tuple[Edit, Sequence[Factors]]], what: What) -> tuple[Edit, ...]:
        """Commits `start` with `additions` after its line, everything applied."""
        saved: list[Edit] = []
        fresh: dict[str, tuple[Edit, bytes]] = {}
        order, off, notes, base = [*start.order], [*start.off], {**start.notes}, start.base
        for edit, factors in additions:
            if base is not None and not belongs(base, edit):
                raise BaseMismatch(_other_base(base, edit.base), "Nothing was saved.")
            parent = order[-1] if order else None
            placed, data = encode_edit(dataclasses.replace(edit, id="", parent=parent, number=len(order) + 1), factors)
            if edit.id in off and placed.id not in off:
                off.append(placed.id)
            if edit.id in notes:
                notes.setdefault(placed.id, notes[edit.id])
            base = extended(base, placed)
            order.append(placed.id)
            saved.append(placed)
            fresh[placed.id] = placed, data
        changed = dataclasses.replace(
            start, order=tuple(order), off=tuple(off), notes=notes, position=len(order), base=base
        )
        self._save(changed, fresh, what, edit=saved[-1].id if saved else None)
        return tuple(saved)

    def adopt(
        self, index: Index, additions: Iterable[tuple[Edit, Sequence[Factors]]], what: What, *, text: str = ""
    ) -> None:
        """Makes `index` the stack's, with edits from elsewhere that keep their ids, all or nothing.

        Raises:
            BaseMismatch: an edit was made on another base.
            VerificationError: the content of an edit is not that of its id.
            StackError, EditError, StorageError: an edit cannot be taken; nothing has changed.
        """
        fresh: dict[str, tuple[Edit, bytes]] = {}
        for edit, factors in additions:
            if self.base is not None and not belongs(self.base, edit):
                raise BaseMismatch(_other_base(self.base, edit.base), "Nothing was saved.")
            fresh[edit.id] = encode_edit(edit, factors)
            if fresh[edit.id][0].id != edit.id:
                raise VerificationError(f"The edit {edit.id[:8]} is not what it says it is.", "Nothing was saved.")
        self._check_fresh(index, fresh)
        self._save(index, fresh, what, edit=index.applied_tip, text=text)

    def _save(
        self, new: Index, fresh: Mapping[str, tuple[Edit, bytes]], what: What, *, edit: str | None, text: str = ""
    ) -> None:
        """Commits `new` with those of the edits `fresh` that are not on the disk yet."""
        wanted = {ident: one for ident, one in fresh.items() if ident not in self._found.edits}
        paths = {ident: self._new_path(one) for ident, (one, _) in wanted.items()}
        new_files = [(paths[ident], data) for ident, (_, data) in wanted.items()]
        self._commit(new, what, edit=edit, text=text, new_files=new_files, saved=tuple(wanted) * (what != "apply"))
        for ident, (one, _) in wanted.items():
            self._found.edits[ident], self._found.paths[ident] = one, paths[ident]
            self._found.broken.pop(paths[ident].name, None)

    def _new_path(self, edit: Edit) -> Path:
        """Where `edit` shall lie. Raises EditError if that is the file of another, whose id begins alike."""
        path = self._folder / file_name(edit)
        if path.exists() and path in self._found.paths.values():
            raise EditError(f"The file {path.name} is another edit's, with an id that begins alike.", "It is kept.")
        return path

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

    @property
    def _taken(self) -> set[str]:
        """Names that branches and tags have."""
        return {*self._index.tips, *self._index.tags}

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

    def _move(self, position: int, what: What, edit: str | None = None) -> None:
        changed = dataclasses.replace(self._index, position=position)
        self._check_fresh(changed)
        self._commit(changed, what, edit=edit)

    def _check_fresh(self, new: Index, known: Collection[str] = ()) -> None:
        """Raises StackError, VerificationError if an edit applied in `new`, but neither now nor `known`, is damaged."""
        applied = {*self._index.order[: self.position], *known}
        for ident in new.order[: new.position]:
            if ident not in applied:
                self.factors(self._found.edits[ident])

    def _commit(
        self,
        new: Index,
        what: What,
        *,
        edit: str | None,
        text: str = "",
        new_files: Sequence[tuple[Path, bytes]] = (),
        saved: tuple[str, ...] = (),
    ) -> None:
        if self._writer is None:
            raise UsageError("The stack is open for reading only.", "Open it for writing.")
        entry = Entry(what=what, edit=edit, text=text, file=new_files[-1][0].name if new_files else "", edits=saved)
        self._writer.commit(self._index, new, entry, self._journal, new_files)
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
