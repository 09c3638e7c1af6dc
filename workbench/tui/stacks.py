"""The stacks that lie beside one another: what there is to switch to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.stack.files import storage
from workbench.stack.index import NAME, Index, read_index
from workbench.text import visible

MOST = 200
"""Folders that are looked into."""


@dataclass(frozen=True)
class StackFolder:
    """A folder that holds a stack."""

    folder: Path
    index: Index | None = None
    """None: it cannot be read."""
    problem: str = ""
    """Why it cannot be opened on the present model, or ""."""

    @property
    def words(self) -> str:
        """How many edits it has, on which base, or what is wrong with it."""
        if self.index is None:
            return f"✗ {self.problem}"
        edits, position = len(self.index.order), self.index.position
        count = (
            f"{position} of {edits} edits applied" if position < edits else f"{edits} edit{'' if edits == 1 else 's'}"
        )
        base = f" on {visible(self.index.base.name)}" if self.index.base else ""
        return f"{count}{base}" + (f"   ✗ {self.problem}" if self.problem else "")


def stacks_beside(present: Path, fingerprint: str) -> tuple[StackFolder, ...]:
    """The stacks in the folder that `present` is in, without it, by name.

    Args:
        present: the open stack's folder.
        fingerprint: the loaded model's.

    Raises:
        StorageError: the folder above cannot be read.
    """
    here = present.resolve()
    with storage("look into", here.parent):
        found = sorted(path for path in here.parent.iterdir() if path != here and (path / NAME).is_file())
    return tuple(_look(path, fingerprint) for path in found[:MOST])


def _look(folder: Path, fingerprint: str) -> StackFolder:
    try:
        index, problem = read_index(folder)
    except WorkbenchError as error:
        return StackFolder(folder, None, error.message)
    if index is None:
        return StackFolder(folder, None, problem)
    other = index.base is not None and fingerprint and index.base.fingerprint != fingerprint
    return StackFolder(folder, index, "made on another model" if other else "")
