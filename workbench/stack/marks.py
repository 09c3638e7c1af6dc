"""What a person has put on a stack besides its line: what is off, notes, branches, tags. No files, no torch.

The journal tells each change of them, and all of them after a change of several edits at once, so that they can be had
again without the index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from workbench.edits import MAX_TEXT
from workbench.stack.limits import MAX_NAMES, MAX_NUMBER
from workbench.stack.lineage import line_of
from workbench.stack.names import MAIN, check_name, is_name
from workbench.stack.record import Edit, check_id
from workbench.stack.strictjson import MalformedError

if TYPE_CHECKING:
    from workbench.stack.journal import Entry


@dataclass(frozen=True)
class Marks:
    """All of them, by id or by name."""

    off: tuple[str, ...] = ()
    """Ids that are toggled off."""
    notes: dict[str, str] = field(default_factory=dict)
    """By id."""
    branches: dict[str, str | None] = field(default_factory=dict)
    """Name to the id of the last edit; None: an empty line."""
    tags: dict[str, str] = field(default_factory=dict)
    """Name to id."""

    def to_json(self) -> dict[str, Any]:
        """A plain document; `from_json` reads it back."""
        return asdict(self) | {"off": [*self.off]}

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Reads what `to_json` wrote. Raises MalformedError."""
        if not isinstance(document, dict) or document.keys() != {"off", "notes", "branches", "tags"}:
            raise MalformedError("has marks that are none")
        tags = {name: check_id(edit) for name, edit in check_names(document["tags"]).items()}
        branches = check_names(document["branches"], empty=True)
        return cls(check_ids(document["off"]), check_notes(document["notes"]), branches, tags)


def retold(entries: Sequence[Entry], edits: Mapping[str, Edit]) -> tuple[str, Marks]:
    """The current branch, and the marks with the other branches, as the journal tells them; what is lost is left out.

    Args:
        entries: those that came to be, oldest first.
        edits: those that are there.
    """
    off: dict[str, bool] = {}
    notes: dict[str, str] = {}
    tips: dict[str, str | None] = {}
    tags: dict[str, str] = {}
    current = MAIN
    for entry in entries:
        if entry.marks:
            off = dict.fromkeys(entry.marks.off, True)
            notes, tips, tags = {**entry.marks.notes}, {**entry.marks.branches}, {**entry.marks.tags}
        if entry.what == "toggle" and entry.edit:
            off.pop(entry.edit, None)
            off |= {entry.edit: True} if entry.text == "off" else {}
        if entry.what == "note" and entry.edit:
            notes[entry.edit] = entry.text
        if entry.what == "tag" and entry.edit and is_name(entry.text):
            tags[entry.text] = entry.edit
        if entry.what == "untag":
            tags.pop(entry.text, None)
        if entry.what == "unbranch":
            tips.pop(entry.text, None)
        if is_name(entry.branch):
            current, tips[entry.branch] = entry.branch, entry.tip
    tips.pop(current, None)
    there = {name: tip for name, tip in tips.items() if tip is None or line_of(edits, tip)}
    return current, Marks((*off,), notes, there, {name: ident for name, ident in tags.items() if ident in edits})


def check_ids(value: object) -> tuple[str, ...]:
    """`value` as ids, none of them twice. Raises MalformedError."""
    if not isinstance(value, list) or len(value) > MAX_NUMBER:
        raise MalformedError("has no proper list of edits")
    ids = tuple(check_id(item) for item in value)
    if len(set(ids)) != len(ids):
        raise MalformedError("lists an edit twice")
    return ids


def check_names(value: object, *, empty: bool = False) -> dict[str, str | None]:
    """`value` as names and the ids they stand for; with `empty` also for nothing. Raises MalformedError."""
    if not isinstance(value, dict) or len(value) > MAX_NAMES:
        raise MalformedError("has no proper list of names")
    return {check_name(name): None if empty and edit is None else check_id(edit) for name, edit in value.items()}


def check_notes(value: object) -> dict[str, str]:
    """`value` as notes by id. Raises MalformedError."""
    if not isinstance(value, dict):
        raise MalformedError("has no proper notes")
    for key, text in value.items():
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise MalformedError("has a note that is not text")
        check_id(key)
    return value
