"""The index of a stack, `stack.json`: which edits form the current line, how far it is applied, and on which base.

The edit files alone are enough to rebuild it; it is the commit point of every change.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from workbench.errors import StackError, UsageError
from workbench.stack import files
from workbench.stack.limits import MAX_INDEX, MAX_MODULES, MAX_NAMES, MAX_NUMBER
from workbench.stack.marks import Marks, check_ids
from workbench.stack.names import MAIN, check_name
from workbench.stack.record import Base, check_version
from workbench.stack.strictjson import MalformedError, NewerError, parse

NAME = "stack.json"
FORMAT = 2
"""Version of the index. 1 had no branches and no tags; it is still read."""
MAX_BYTES = MAX_INDEX
"""Most that is read."""


@dataclass(frozen=True)
class Index:
    """The state of a stack."""

    order: tuple[str, ...] = ()
    """Ids of the current line, oldest first."""
    position: int = 0
    """How many of them are applied."""
    off: tuple[str, ...] = ()
    """Ids that are toggled off, on this line or another."""
    notes: dict[str, str] = field(default_factory=dict)
    """Notes written after the edit was made, by id."""
    base: Base | None = None
    """None: not known yet, the stack is empty."""
    branch: str = MAIN
    """Name of the current line."""
    branches: dict[str, str | None] = field(default_factory=dict)
    """The other branches: name to the id of the last edit; None: an empty line."""
    tags: dict[str, str] = field(default_factory=dict)
    """Names of edits."""

    @property
    def marks(self) -> Marks:
        """All but the line, its position and its base."""
        return Marks(self.off, self.notes, self.branches, self.tags)

    @property
    def tips(self) -> dict[str, str | None]:
        """All branches, the current one included: name to the id of the last edit."""
        return {**self.branches, self.branch: self.tip}

    @property
    def tip(self) -> str | None:
        """Id of the last edit of the line."""
        return self.order[-1] if self.order else None

    @property
    def applied_tip(self) -> str | None:
        """Id of the last applied edit; None: the base."""
        return self.order[self.position - 1] if self.position else None

    def encode(self) -> bytes:
        """The file's bytes."""
        return self._encoded

    @functools.cached_property
    def _encoded(self) -> bytes:
        document: dict[str, Any] = {"version": FORMAT, **dataclasses.asdict(self)}
        return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")

    def check(self) -> None:
        """Raises UsageError if it holds more than `decode` would read."""
        counted = {
            "edits": (len(self.order), MAX_NUMBER),
            "branches": (len(self.branches), MAX_NAMES),
            "tags": (len(self.tags), MAX_NAMES),
            "modules": (len(self.base.modules) if self.base else 0, MAX_MODULES),
            "bytes of notes and names": (len(self.encode()), MAX_BYTES),
        }
        for what, (count, most) in counted.items():
            if count > most:
                raise UsageError(f"The stack would have {count} {what}, and {most} is the most.", "Nothing was saved.")

    @property
    def digest(self) -> str:
        """Says in 16 hex digits which index it is."""
        return hashlib.sha256(self.encode()).hexdigest()[:16]

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads what `encode` wrote. Raises MalformedError."""
        document = parse(data)
        check_version(document, FORMAT)
        if document["version"] == 1:
            document = {**document, "branch": MAIN, "branches": {}, "tags": {}}
        if document.keys() != {"version", *(f.name for f in dataclasses.fields(cls))}:
            raise MalformedError("has fields that are not those of an index")
        order, position = check_ids(document["order"]), document["position"]
        if type(position) is not int or not 0 <= position <= len(order):
            raise MalformedError("has a position that is not on its line")
        base = None if document["base"] is None else Base.from_json(document["base"])
        branch = check_name(document["branch"])
        marks = Marks.from_json({name: document[name] for name in ("off", "notes", "branches", "tags")})
        if branch in marks.branches:
            raise MalformedError("names a branch twice")
        return cls(order, position, marks.off, marks.notes, base, branch, marks.branches, marks.tags)


def read_index(folder: Path) -> tuple[Index | None, str]:
    """The index and nothing to say, or None and in words why: missing (said as "") or damaged.

    Raises:
        StackError: a newer workbench wrote it.
        StorageError: it may not be read.
    """
    path = folder / NAME
    if not path.exists() and not path.is_symlink():
        return None, ""
    try:
        return Index.decode(files.read_bytes(path, MAX_BYTES)), ""
    except NewerError as error:
        raise StackError(f"{NAME} {error}.", "Update workbench.") from error
    except MalformedError as error:
        return None, f"{NAME} {error}"
    except StackError as error:
        return None, error.message.rstrip(".")


def write_index(folder: Path, index: Index) -> None:
    """Puts `index` in place, whole or not at all. Raises StorageError."""
    files.write_atomic(folder / NAME, index.encode())
