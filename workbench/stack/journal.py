"""The journal of a stack: who did what when, one JSON object a line, only ever added to.

It is written after the edit file and before the index, so on opening it tells what was in flight. A line cut short by
a crash is passed over and said.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from workbench.edits import MAX_TEXT
from workbench.errors import StackError
from workbench.stack import files
from workbench.stack.limits import MAX_JOURNAL
from workbench.stack.marks import Marks, check_ids
from workbench.stack.record import check_id
from workbench.stack.strictjson import MalformedError, parse

NAME = "journal.jsonl"

What = Literal[
    "create", "apply", "undo", "redo", "travel", "toggle", "note",
    "switch", "branch", "unbranch", "tag", "untag",
    "begin", "reorder", "remove", "resolve", "import", "merge", "pull",
    "adopt", "rebuild", "settle", "failed",
]  # fmt: skip
WHATS: tuple[str, ...] = get_args(What)


SEVERAL = ("reorder", "remove", "resolve", "import", "merge", "pull", "rebuild")
"""What may set marks of several edits at once."""
UNFINISHED = "unfinished"
"""Text of a "settle" that says: the entry before it never reached the index."""
DAMAGED = "damaged lines"
"""Text of a "settle" that only says, as every "settle" does: damaged lines before it have been told of."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that was done."""

    what: What
    when: str = ""
    """UTC, ISO 8601."""
    who: str = ""
    edit: str | None = None
    """Id of the edit it was done to."""
    file: str = ""
    """The edit's file, where one was written."""
    edits: tuple[str, ...] = ()
    """Ids of all edits that a change of several saves."""
    tip: str | None = None
    """Id of the last edit of the line afterwards; None: an empty line."""
    position: int = 0
    """Position afterwards."""
    branch: str = ""
    """Name of the line afterwards; empty in journals that knew no branches."""
    index: str = ""
    """Digest of the index afterwards; empty in journals of old."""
    marks: Marks | None = None
    """What is off, notes, branches and tags afterwards, where a change of several set them."""
    text: str = ""
    """The note, "on" or "off", the name of a branch or tag, or what went wrong."""


class Journal:
    """The journal of one folder as it was when opened, and what this process adds."""

    def __init__(self, folder: Path, who: str = "") -> None:
        self._path = folder / NAME
        self._who = who or _user()
        self.found = False
        """Whether there was a journal that could be read."""
        self.unread = False
        """Whether something is there that could not be read."""
        self.findings: list[str] = []
        """What was wrong with it, in words."""
        self.damaged = False
        """Whether it has damaged lines that nobody has been told of."""
        self.entries: list[Entry] = self._read()

    @property
    def mentioned(self) -> set[str]:
        """Ids of all edits that it names."""
        return {found for entry in self.entries for found in (entry.edit, entry.tip, *entry.edits) if found}

    @property
    def effective(self) -> list[Entry]:
        """The entries without those that a later one says did not come to be."""
        kept: list[Entry] = []
        for entry in self.entries:
            if kept and (entry.what == "failed" or (entry.what == "settle" and entry.text == UNFINISHED)):
                kept.pop()
            kept.append(entry)
        return [entry for entry in kept if entry.what != "begin"]

    def add(self, entry: Entry) -> None:
        """Writes `entry` with the time and the user. Raises StorageError."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = dataclasses.replace(entry, when=now, who=self._who, text=entry.text[:MAX_TEXT])
        line = json.dumps(dataclasses.asdict(entry), ensure_ascii=True) + "\n"
        files.append_line(self._path, line.encode("ascii"))
        self.entries.append(entry)

    def _read(self) -> list[Entry]:
        try:
            data = files.read_bytes(self._path, MAX_JOURNAL)
        except StackError as error:
            if self._path.exists() or self._path.is_symlink():
                self.unread = True
                self.findings.append(self._unread(error))
            return []
        self.found = True
        *lines, last = data.split(b"\n")
        entries = [_entry(line) for line in lines if line.strip()]
        self._report(entries)
        if last:
            entries.append(_entry(last))
            if entries[-1] is None:
                self.damaged = True
                self.findings.append("The journal's last line was cut short by a crash; it is passed over.")
        return [entry for entry in entries if entry is not None]

    def _unread(self, error: StackError) -> str:
        """Why what is there could not be read, and what to do about it."""
        if not self._path.is_file() or self._path.stat().st_size <= MAX_JOURNAL:
            return f"The journal cannot be read: {error.message}"
        return (
            f"The journal is longer than {MAX_JOURNAL // 2**20} MiB and is not read; the stack is whole without it. "
            f"Move {NAME} elsewhere, and a new one begins."
        )

    def _report(self, entries: list[Entry | None]) -> None:
        """Says how many lines are damaged, of those that nobody has been told of."""
        told = [at for at, entry in enumerate(entries) if entry and entry.what == "settle"]
        damaged = entries[told[-1] if told else 0 :].count(None)
        if damaged:
            self.damaged = True
            self.findings.append(f"The journal has {damaged} damaged line{'s' * (damaged > 1)}, passed over.")


def _entry(line: bytes) -> Entry | None:
    """The entry on `line`; None if it is damaged. Fields it does not know are dropped."""
    try:
        document = parse(line)
        return _checked(document)
    except MalformedError:
        return None


def _checked(document: object) -> Entry:
    if not isinstance(document, dict) or document.get("what") not in WHATS:
        raise MalformedError("is not an entry")
    values: dict[str, Any] = {f.name: document[f.name] for f in dataclasses.fields(Entry) if f.name in document}
    values["edits"] = check_ids(values.get("edits", []))
    values["marks"] = None if values.get("marks") is None else Marks.from_json(values["marks"])
    for name, value in values.items():
        if name in ("edits", "marks"):
            good = True
        elif name in ("edit", "tip"):
            good = value is None or bool(check_id(value))
        else:
            good = type(value) is int and value >= 0 if name == "position" else isinstance(value, str)
        if not good:
            raise MalformedError("is not an entry")
    return Entry(**values)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
