"""The edits that lie in a stack's folder, and the lines that their parents form. Headers only; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench.errors import StackError, StorageError
from workbench.stack.editfile import SUFFIX, file_name, read_header
from workbench.stack.files import storage
from workbench.stack.record import Edit


@dataclass
class Found:
    """What lies in a folder."""

    edits: dict[str, Edit] = field(default_factory=dict)
    """By id, as their headers say."""
    paths: dict[str, Path] = field(default_factory=dict)
    """By id."""
    broken: dict[str, str] = field(default_factory=dict)
    """File name to what is wrong with it: "It is truncated."."""

    def drop(self, edit: str, reason: str) -> None:
        """Counts an edit among the broken, for a reason that may name its file."""
        del self.edits[edit]
        self.blame(self.paths.pop(edit).name, reason)

    def blame(self, file: str, reason: str) -> None:
        """Notes what is wrong with a file; the reason may begin with its name."""
        self.broken[file] = of_itself(file, reason)


def of_itself(file: str, reason: str) -> str:
    """What is wrong with `file`, to stand beside its name: a reason that begins with the name begins with It."""
    return "It" + reason.removeprefix(file) if reason.startswith(file) else reason


def scan(folder: Path) -> Found:
    """Reads the headers of all edit files in `folder`. Raises StorageError if the folder cannot be listed."""
    found = Found()
    with storage("read", folder):
        paths = [p for p in folder.iterdir() if p.name.endswith(SUFFIX) and not p.name.startswith(".")]
    for path in sorted(paths, key=lambda path: path.name):
        try:
            edit = read_header(path)
        except (StackError, StorageError) as error:
            found.blame(path.name, error.message)
            continue
        if edit.id in found.edits:
            other = found.paths[edit.id]
            path, copy = (path, other) if path.name == file_name(edit) else (other, path)
            found.broken[copy.name] = f"It is a copy of {path.name}."
        found.edits[edit.id], found.paths[edit.id] = edit, path
    return found


def line_of(edits: Mapping[str, Edit], tip: str | None) -> tuple[str, ...] | None:
    """Ids from the first edit to `tip`; None if one on the way is not there, or parents go round in a circle."""
    line: list[str] = []
    seen: set[str] = set()
    while tip is not None:
        if tip in seen or tip not in edits:
            return None
        seen.add(tip)
        line.append(tip)
        tip = edits[tip].parent
    return tuple(reversed(line))


def longest_line(edits: Mapping[str, Edit]) -> tuple[str, ...]:
    """The longest whole line, among equals the one whose last edit is newest; empty if there is none."""
    depths = rooted(edits)
    tip = max(depths, key=lambda ident: (depths[ident], edits[ident].created, ident), default=None)
    return line_of(edits, tip) or ()


def rooted(edits: Mapping[str, Edit]) -> dict[str, int]:
    """The edits whose line is whole, each with the length of that line."""
    children: dict[str | None, list[str]] = {}
    for edit in edits.values():
        children.setdefault(edit.parent, []).append(edit.id)
    depths: dict[str, int] = {}
    level = children.get(None, [])
    depth = 1
    while level:
        depths |= dict.fromkeys(level, depth)
        level = [child for ident in level for child in children.get(ident, ())]
        depth += 1
    return depths


def reached(edits: Mapping[str, Edit], tips: Iterable[str | None]) -> set[str]:
    """`tips` and the edits before them, as far as they are there."""
    found: set[str] = set()
    for tip in tips:
        while tip is not None and tip in edits and tip not in found:
            found.add(tip)
            tip = edits[tip].parent
    return found
