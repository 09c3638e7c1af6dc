"""Reading a stack: its line, its position, its branches, what is broken, and the factors of its edits."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from workbench.errors import AlteredFile, StackError, UsageError
from workbench.stack import container, files
from workbench.stack.audit import Checked, audit
from workbench.stack.editfile import decode_edit
from workbench.stack.index import Index
from workbench.stack.journal import Entry
from workbench.stack.lineage import line_of, reached
from workbench.stack.names import BASE
from workbench.stack.reconcile import Opened
from workbench.stack.record import Base, Edit, Factors

SHORTEST_PREFIX = 4
"""Fewest digits of an id that name an edit."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """A named line."""

    name: str
    tip: str | None
    """Id of its last edit; None: an empty line."""
    length: int
    """Number of its edits, the undone ones of the current line included."""
    current: bool


class StackView:
    """A stack as it lies on the disk; `store.Stack` adds the changes."""

    _line: tuple[Index, tuple[Edit, ...]] | None = None
    """The line of an index, kept for as long as the index is the same."""

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
    def index(self) -> Index:
        """The whole state: line, position, branches, tags, notes, and what is toggled off."""
        return self._index

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
        if self._line is None or self._line[0] is not self._index:
            there = itertools.takewhile(lambda edit: edit in self._found.edits, self._index.order)
            self._line = self._index, tuple(self._noted(self._found.edits[edit]) for edit in there)
        return self._line[1]

    def line_at(self, word: str) -> tuple[Edit, ...]:
        """All edits from the first to the one that `word` means, oldest first; none for "base" or an empty branch.

        Raises:
            UsageError: `word` is no edit, branch or tag.
            StackError: an edit on the way there is missing.
        """
        if word == BASE or self._tip_named(word) is None:
            return ()
        return tuple(self._noted(self._found.edits[ident]) for ident in self._ids_to(self.find(word).id))

    @property
    def branch(self) -> str:
        """Name of the current line."""
        return self._index.branch

    @property
    def branches(self) -> tuple[Branch, ...]:
        """All branches by name."""
        return tuple(
            Branch(name, tip, len(self._ids_to(tip, strict=False)), name == self.branch)
            for name, tip in sorted(self._index.tips.items())
        )

    @property
    def loose(self) -> tuple[Edit, ...]:
        """Edits that no branch leads to, by number, then time."""
        held = reached(self._found.edits, self._index.tips.values())
        return tuple(edit for edit in self.others if edit.id not in held)

    @property
    def tags(self) -> dict[str, str]:
        """Names of edits: name to id."""
        return dict(self._index.tags)

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

    def blame(self, edit: Edit, reason: str) -> None:
        """Counts the file of an edit among those that cannot be used; the edit stays where it is on its line."""
        self._found.blame(self.path_of(edit).name, reason)

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

    def find(self, word: str) -> Edit:
        """The one edit, on any branch, that `word` means: a tag, a branch (its last edit), or how an id starts.

        Raises:
            UsageError: there is none, or more than one.
        """
        named = self._tip_named(word)
        if named is None:
            raise UsageError(f"The branch '{word}' has no edits yet.", "It is the base.")
        prefix = named.lower()
        if len(prefix) < SHORTEST_PREFIX:
            raise UsageError(f"'{word}' is too short for an id.", f"Give at least {SHORTEST_PREFIX} of its digits.")
        matches = [edit for ident, edit in self._found.edits.items() if ident.startswith(prefix)]
        if len(matches) > 1:
            raise UsageError(f"There are {len(matches)} edits whose ids start with '{prefix}'.", "Give more digits.")
        if not matches:
            raise UsageError(f"There is no edit, branch or tag '{word}'.", "See workbench log and workbench branch.")
        return self._noted(matches[0])

    def begins_id(self, word: str) -> bool:
        """Whether `word` is long enough to name an edit, and the id of one begins so."""
        return len(word) >= SHORTEST_PREFIX and any(ident.startswith(word.lower()) for ident in self._found.edits)

    def _tip_named(self, word: str) -> str | None:
        """The id that a tag or branch stands for, None for an empty branch, and anything else as it is."""
        return self._index.tags.get(word) or self._index.tips.get(word, word)

    def _ids_to(self, tip: str | None, *, strict: bool = True) -> tuple[str, ...]:
        """Ids from the first edit to `tip`. Raises StackError if strict and one is missing off the current line."""
        if tip is None:
            return ()
        if tip == self._index.tip:
            return self._index.order
        line = line_of(self._found.edits, tip)
        if line is None and strict:
            raise StackError(f"An edit before {tip[:8]} is missing.", "Put its file back; see workbench verify.")
        return line or ()

    def as_saved(self, edit: Edit) -> Edit:
        """An edit of this stack as its file has it, without the notes written since."""
        return self._found.edits[edit.id]

    def note_of(self, edit: Edit) -> str:
        """The note on an edit: the last one written, else the one in its file."""
        return self._index.notes.get(edit.id, edit.note)

    def factors(self, edit: Edit) -> tuple[Factors, ...]:
        """The update of an edit, from its file, checked in full. Raises as `read`."""
        return self.read(edit)[1]

    def read(self, edit: Edit) -> tuple[Edit, tuple[Factors, ...]]:
        """An edit as its file has it, without later notes, and its update, checked in full.

        Raises:
            StackError: the file is damaged.
            AlteredFile: the file is not that edit.
        """
        name = self.path_of(edit).name
        read, factors = decode_edit(self.data(edit), name)
        if read.id != edit.id:
            raise AlteredFile(f"{name} is no longer the edit that it was.", "Get an intact copy.")
        return read, factors

    def data(self, edit: Edit) -> bytes:
        """The file of an edit as it is, unchecked. Raises StackError, StorageError."""
        return files.read_bytes(self.path_of(edit), container.MAX_FILE)

    def verify(self) -> tuple[Checked, ...]:
        """Checks every file in full: schema, id, parent, number, and that weight hashes follow on each other."""
        return audit(self._found, self._index)

    def _noted(self, edit: Edit) -> Edit:
        note = self.note_of(edit)
        return edit if note == edit.note else dataclasses.replace(edit, note=note)
