"""Reading a stack: its line, its position, its branches, what is broken, and the factors of its edits."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from workbench.errors import UsageError, VerificationError
from workbench.stack import files
from workbench.stack.audit import Checked, audit
from workbench.stack.editfile import read_edit
from workbench.stack.journal import Entry
from workbench.stack.reconcile import Opened
from workbench.stack.record import Base, Edit, Factors

SHORTEST_PREFIX = 4
"""Fewest digits of an id that name an edit."""


class StackView:
    """A stack as it lies on the disk; `store.Stack` adds the changes."""

    def __init__(self, folder: Path, opened: Opened, given: Base | None) -> None:
        self._folder = folder
        self._index = opened.index
        self._found = opened.found
        self._journal = opened.journal
        self._findings = list(opened.findings)
        self._cut_short = opened.cut_short
        self._given = given

    @property
    def folder(self) -> Path:
        """Where the stack lies."""
        return self._folder

    @property
    def base(self) -> Base | None:
        """The base it belongs to, with every module edited so far; None: empty and not yet bound to one."""
        return self._index.base

    @property
    def dtype_mismatch(self) -> tuple[str, str] | None:
        """(recorded, given) dtype if they differ: weight hashes cannot be compared then; None if they agree."""
        if self._given is None or self.base is None or self._given.dtype == self.base.dtype:
            return None
        return self.base.dtype, self._given.dtype

    @property
    def line(self) -> tuple[Edit, ...]:
        """The current line, oldest first, as far as its files are there; those after `position` are undone."""
        there = itertools.takewhile(lambda edit: edit in self._found.edits, self._index.order)
        return tuple(self._noted(self._found.edits[edit]) for edit in there)

    @property
    def position(self) -> int:
        """How many edits of the line are applied."""
        return self._index.position

    @property
    def incomplete(self) -> str:
        """In words, that edits of the line are damaged or missing; empty if all are there."""
        count = len(self._index.order) - len(self.line)
        lost = f"of {len(self._index.order)} edits, those from number {len(self.line) + 1} on cannot be applied"
        return f"The stack is damaged: {lost}." if count else ""

    @property
    def cut_short(self) -> bool:
        """Whether the position is not where it was left, because an edit that was applied is damaged or missing."""
        return self._cut_short

    @property
    def applied(self) -> tuple[Edit, ...]:
        """The line up to the position."""
        return self.line[: self.position]

    @property
    def active(self) -> tuple[Edit, ...]:
        """The applied edits that are not toggled off: what a weight is materialised from."""
        return tuple(edit for edit in self.applied if edit.id not in self._index.off)

    @property
    def off(self) -> frozenset[str]:
        """Ids that are toggled off."""
        return frozenset(self._index.off)

    @property
    def others(self) -> tuple[Edit, ...]:
        """Edits on disk that are not on the line: other branches, by number, then time."""
        on_line = {edit.id for edit in self.line}
        rest = [self._noted(edit) for edit in self._found.edits.values() if edit.id not in on_line]
        return tuple(sorted(rest, key=lambda edit: (edit.number, edit.created, edit.id)))

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found and done on opening, in plain words."""
        return tuple(self._findings)

    @property
    def broken(self) -> dict[str, str]:
        """Files that cannot be used, with the reason."""
        return dict(self._found.broken)

    @property
    def journal(self) -> tuple[Entry, ...]:
        """Who did what when, oldest first."""
        return tuple(self._journal.entries)

    @property
    def size_bytes(self) -> int:
        """Size of all edit files that can be used."""
        with files.storage("read", self._folder):
            return sum(path.stat().st_size for path in self._found.paths.values())

    def path_of(self, edit: Edit | str) -> Path:
        """Where an edit, or the edit of an id, lies. Raises UsageError if it is not in this stack."""
        ident = edit if isinstance(edit, str) else edit.id
        if ident not in self._found.paths:
            raise UsageError(f"The edit {ident[:8]} is not in this stack.", "See workbench log.")
        return self._found.paths[ident]

    def find(self, prefix: str) -> Edit:
        """The one edit, on any branch, whose id starts with `prefix`. Raises UsageError."""
        prefix = prefix.lower()
        if len(prefix) < SHORTEST_PREFIX:
            raise UsageError(f"'{prefix}' is too short for an id.", f"Give at least {SHORTEST_PREFIX} of its digits.")
        matches = [edit for ident, edit in self._found.edits.items() if ident.startswith(prefix)]
        if len(matches) > 1:
            raise UsageError(f"There are {len(matches)} edits whose ids start with '{prefix}'.", "Give more digits.")
        if not matches:
            raise UsageError(f"There is no edit whose id starts with '{prefix}'.", "See workbench log.")
        return self._noted(matches[0])

    def note_of(self, edit: Edit) -> str:
        """The note on an edit: the last one written, else the one in its file."""
        return self._index.notes.get(edit.id, edit.note)

    def factors(self, edit: Edit) -> tuple[Factors, ...]:
        """The update of an edit, from its file, checked in full.

        Raises:
            StackError: the file is damaged.
            VerificationError: the file is not that edit.
        """
        path = self.path_of(edit)
        read, factors = read_edit(path)
        if read.id != edit.id:
            raise VerificationError(f"{path.name} is no longer the edit that it was.", "Get an intact copy.")
        return factors

    def verify(self) -> tuple[Checked, ...]:
        """Checks every file in full: schema, id, parent, number, and that weight hashes follow on each other."""
        return audit(self._found, self._index, self._journal.entries)

    def _noted(self, edit: Edit) -> Edit:
        note = self.note_of(edit)
        return edit if note == edit.note else dataclasses.replace(edit, note=note)
