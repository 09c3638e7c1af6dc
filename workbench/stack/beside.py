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
    words: str
    """How many edits it has, on which base, or what is wrong with it."""
    problem: str = ""
    """Why it cannot be opened on the present model, or ""."""


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
        index, problem = None, error.message
    if index is None:
        return StackFolder(folder, f"✗ {problem}", problem)
    other = index.base is not None and fingerprint and index.base.fingerprint != fingerprint
    problem = "made on another model" if other else ""
    return StackFolder(folder, _words(index) + (f"   ✗ {problem}" if problem else ""), problem)


def _words(index: Index) -> str:
    edits, position = len(index.order), index.position
    count = f"{position} of {edits} edits applied" if position < edits else f"{edits} edit{'' if edits == 1 else 's'}"
    return count + (f" on {visible(index.base.name)}" if index.base else "")
