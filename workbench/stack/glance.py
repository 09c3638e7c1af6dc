"""A page of a stack's line without opening all of it: the index, the folder's listing, and the page's headers.

Files off the page are counted and not read. Where the folder may be other than the index says, there is no page: it
must be opened in full.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import StackError, StorageError
from workbench.stack.editfile import SUFFIX, read_header
from workbench.stack.files import TEMPORARY, storage
from workbench.stack.index import NAME as INDEX
from workbench.stack.index import Index, read_index
from workbench.stack.journal import NAME as JOURNAL
from workbench.stack.reconcile import belongs
from workbench.stack.record import Base, Edit

SHORT = 8
"""Digits of an id in a file's name."""


class Glance:
    """A stack whose index and listing agree; headers are read when a page is asked for. Made by `glance`."""

    def __init__(self, folder: Path, index: Index, paths: dict[str, Path]) -> None:
        self._folder, self._index, self._paths = folder, index, paths

    @property
    def index(self) -> Index:
        """Line, position, branches, tags, notes, and what is toggled off."""
        return self._index

    @property
    def length(self) -> int:
        """Number of edits of the line."""
        return len(self._index.order)

    @property
    def others(self) -> int:
        """Number of edit files that are not of the line."""
        return len(self._paths) - self.length

    @property
    def position(self) -> int:
        """How many edits of the line are applied."""
        return self._index.position

    @property
    def off(self) -> frozenset[str]:
        """Ids that are toggled off."""
        return frozenset(self._index.off)

    @property
    def base(self) -> Base | None:
        """The base it belongs to."""
        return self._index.base

    @property
    def broken(self) -> dict[str, str]:
        """None that is known of."""
        return {}

    def path_of(self, edit: Edit | str) -> Path:
        """Where an edit, or the edit of an id, lies."""
        return self._paths[(edit if isinstance(edit, str) else edit.id)[:SHORT]]

    def page(self, numbers: Sequence[int]) -> list[Edit] | None:
        """The edits at these numbers of the line, from 1; None if one of them is not what the index says."""
        edits = [self._read(number) for number in numbers]
        return None if None in edits else [edit for edit in edits if edit]

    def _read(self, number: int) -> Edit | None:
        ident = self._index.order[number - 1]
        try:
            edit = read_header(self._paths[ident[:SHORT]])
        except (StackError, StorageError):
            return None
        base = self._index.base
        told = (edit.id, edit.number, edit.parent) == (ident, number, self._parent(number))
        if not told or base is None or not belongs(base, edit):
            return None
        return dataclasses.replace(edit, note=self._index.notes.get(ident, edit.note))

    def _parent(self, number: int) -> str | None:
        return self._index.order[number - 2] if number > 1 else None


def glance(folder: Path) -> Glance | None:
    """The stack in `folder`, or None if it must be opened in full: no index, files missing, doubled or newer than it.

    Raises:
        StackError: a newer workbench wrote the index.
        StorageError: the folder may not be read.
    """
    index, _ = read_index(folder)
    if index is None:
        return None
    paths: dict[str, Path] = {}
    with storage("read", folder):
        settled = (folder / INDEX).stat().st_mtime_ns
        for entry in os.scandir(folder):
            if entry.name.endswith(TEMPORARY) or (_counts(entry.name) and entry.stat().st_mtime_ns > settled):
                return None
            if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                if (short := entry.name.removesuffix(SUFFIX)[-SHORT:]) in paths:
                    return None
                paths[short] = Path(entry.path)
    return Glance(folder, index, paths) if {ident[:SHORT] for ident in index.order} <= paths.keys() else None


def _counts(name: str) -> bool:
    return name.endswith(SUFFIX) or name == JOURNAL
