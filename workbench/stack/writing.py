"""Writing to a stack: every change in one order, edit files, journal, index, then memory; all of it or nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from workbench.errors import AlteredFile, BaseMismatch, EditError, StackError, StorageError, UsageError
from workbench.stack.commit import Writer
from workbench.stack.editfile import encode_edit, file_name
from workbench.stack.index import Index
from workbench.stack.journal import Entry, What
from workbench.stack.names import new_name
from workbench.stack.reconcile import belongs, extended, leaving
from workbench.stack.record import Base, Edit, Factors
from workbench.stack.view import StackView


class StackWriter(StackView):
    """A stack's folder with, while the lock is held, the ways to save edits in it."""

    _writer: Writer | None = None

    def close(self) -> None:
        """Lets the lock go; a second time does nothing."""
        if self._writer:
            self._writer.close()

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
        self,
        keep: int,
        additions: Iterable[tuple[Edit, Sequence[Factors]]],
        what: What,
        *,
        branch: str = "",
        off: Collection[str] | None = None,
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
            off: ids of those among `additions` whose copies are toggled off; None: those that are off themselves.

        Raises:
            UsageError: the branch's name is taken.
            BaseMismatch, EditError, StorageError: as `append`; nothing has changed.
        """
        name = new_name(branch, self._taken) if branch else ""
        return self._add(leaving(self._index, keep, name=name), additions, what, self.off if off is None else off)

    def _add(
        self,
        start: Index,
        additions: Iterable[tuple[Edit, Sequence[Factors]]],
        what: What,
        off_sources: Collection[str] = (),
    ) -> tuple[Edit, ...]:
        """Commits `start` with `additions` after its line, everything applied."""
        saved: list[Edit] = []
        fresh: dict[str, tuple[Edit, bytes]] = {}
        order, off, notes, base = [*start.order], [*start.off], {**start.notes}, start.base
        for edit, factors in additions:
            if base is not None and not belongs(base, edit):
                raise BaseMismatch(other_base(base, edit.base), "Nothing was saved.")
            parent = order[-1] if order else None
            placed, data = encode_edit(dataclasses.replace(edit, id="", parent=parent, number=len(order) + 1), factors)
            if edit.id in off_sources and placed.id not in off:
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
            AlteredFile: the content of an edit is not that of its id.
            StackError, EditError, StorageError: an edit cannot be taken; nothing has changed.
        """
        fresh: dict[str, tuple[Edit, bytes]] = {}
        for edit, factors in additions:
            if self.base is not None and not belongs(self.base, edit):
                raise BaseMismatch(other_base(self.base, edit.base), "Nothing was saved.")
            fresh[edit.id] = encode_edit(edit, factors)
            if fresh[edit.id][0].id != edit.id:
                raise AlteredFile(f"The edit {edit.id[:8]} is not what it says it is.", "Nothing was saved.")
        self._check_fresh(index, fresh)
        self._save(index, fresh, what, edit=index.applied_tip, text=text)

    def _save(
        self, new: Index, fresh: Mapping[str, tuple[Edit, bytes]], what: What, *, edit: str | None, text: str = ""
    ) -> None:
        """Commits `new` with those of the edits `fresh` that are not on the disk yet, or damaged there."""
        known = self._found.paths
        wanted = {ident: one for ident, one in fresh.items() if ident not in known or not self._holds(ident, one[1])}
        paths = {ident: known.get(ident) or self._new_path(one) for ident, (one, _) in wanted.items()}
        new_files = [(paths[ident], data) for ident, (_, data) in wanted.items()]
        saved = tuple(ident for ident in wanted if ident not in known and what != "apply")
        self._commit(new, what, edit=edit, text=text, new_files=new_files, saved=saved)
        for ident, (one, _) in wanted.items():
            self._found.edits[ident], self._found.paths[ident] = one, paths[ident]
            self._found.broken.pop(paths[ident].name, None)

    def _holds(self, ident: str, data: bytes) -> bool:
        """Whether the file of an edit that is there is still what it was saved as."""
        try:
            return self.data(self._found.edits[ident]) == data
        except (StackError, StorageError):
            return False

    def _new_path(self, edit: Edit) -> Path:
        """Where `edit` shall lie. Raises EditError if that is the file of another, whose id begins alike."""
        path = self._folder / file_name(edit)
        if path.exists() and path in self._found.paths.values():
            raise EditError(f"The file {path.name} is another edit's, with an id that begins alike.", "It is kept.")
        return path

    @property
    def _taken(self) -> set[str]:
        """Names that branches and tags have."""
        return {*self._index.tips, *self._index.tags}

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

    def _check_fresh(self, new: Index, known: Collection[str] = ()) -> None:
        """Raises StackError, VerificationError if an edit active in `new`, neither applied now nor `known`, is damaged.

        One that is sound counts no longer among the broken.
        """
        passed = {*self._index.order[: self.position], *known, *new.off}
        for ident in new.order[: new.position]:
            if ident not in passed:
                self.factors(self._found.edits[ident])
                self._found.broken.pop(self.path_of(ident).name, None)

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


def other_base(recorded: Base, given: Base) -> str:
    """Says that a stack belongs to another base than the one at hand."""
    names = [f"{base.name} ({base.fingerprint[:12]})" for base in (recorded, given)]
    return f"This stack belongs to {names[0]}, not to {names[1]}."
