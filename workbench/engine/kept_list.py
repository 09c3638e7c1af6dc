"""The list of a long stack kept between runs: good for as long as no file of its folder came, went or changed.

Files are not read to know that: their names, sizes, inodes and times say it. A list is kept only of a stack in order,
and anything odd about a kept one means that the stack is read again. No torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.errors import StackError, StorageError
from workbench.events import EditRow
from workbench.models.kept import kept_for
from workbench.stack.files import make_folder, read_bytes, storage, write_atomic
from workbench.stack.index import read_index
from workbench.stack.strictjson import MalformedError, canonical, parse

FEWEST = 100
"""Requests of a line that is worth keeping, in as many edits or fewer."""
STATES = ("applied", "undone", "off")
"""What an edit of a line in order can be."""
LARGEST = 2**26
"""Bytes of a kept list, at most."""
SETTLED = 2 * 10**9
"""Nanoseconds after which a file that changes again is sure to have another time, whatever the disk."""


@dataclass(frozen=True)
class Listing:
    """What a list of a stack shows."""

    rows: tuple[EditRow, ...]
    """Of the line, oldest first."""
    position: int
    base: str
    """Name of the model; empty: none yet."""
    others: int
    """Edits that are not on the line."""


def stamp(folder: Path) -> str:
    """Another one whenever a file of `folder` came, went or changed; empty while one is too new to be sure of that.

    Raises:
        StorageError: the folder may not be read.
    """
    with storage("read", folder):
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in os.scandir(folder)]
    told = sorted((name, s.st_mode, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in found)
    newest = max((moment for one in told for moment in one[-2:]), default=0)
    if time.time_ns() - newest < SETTLED:
        return ""
    return hashlib.sha256(repr(told).encode("utf-8", "backslashreplace")).hexdigest()


def keep_list(folder: Path, seen: str, listing: Listing) -> None:
    """Keeps what was read of `folder` after its stamp was `seen`, unless it has changed since."""
    if sum(row.requests for row in listing.rows) < FEWEST:
        return
    with contextlib.suppress(StackError, StorageError, MalformedError):  # it is then read in every run
        path = _path(folder)
        if path and seen and stamp(folder) == seen:
            document = {**vars(listing), "rows": [vars(row) for row in listing.rows], "about": _about(seen)}
            make_folder(path.parent)
            with storage("write", path.parent):
                path.parent.chmod(0o700)  # the stack's own folder may be nobody else's to read
            write_atomic(path, canonical(document).encode())


def kept_list(folder: Path) -> Listing | None:
    """What is kept of `folder`; None if there is nothing, or it has changed since. Raises StackError, StorageError."""
    path = _path(folder)
    if path is None or not path.exists() or not (seen := stamp(folder)):
        return None
    try:
        document = parse(read_bytes(path, LARGEST))
    except (MalformedError, StackError, StorageError):
        return None
    if not isinstance(document, dict) or document.pop("about", None) != _about(seen):
        return None
    return _listing(document)


def _about(seen: str) -> dict[str, Any]:
    return {"format_version": 1, "workbench": __version__, "stamp": seen}


def _path(folder: Path) -> Path | None:
    index, _ = read_index(folder)
    if index is None or index.base is None:
        return None
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return kept_for(index.base.fingerprint) / "lists" / f"{name}.json"


_NAMES = {field.name for field in dataclasses.fields(Listing)}
_NOTHING = type(None)
_PAIR = (tuple, _NOTHING)
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, _NOTHING),
    "int": (int,),
    "float": (float,),
    "float | None": (float, _NOTHING),
    "bool": (bool,),
    "bool | None": (bool, _NOTHING),
    "tuple[int, int] | None": _PAIR,
    "tuple[str, ...]": (tuple,),
}
_FIELDS = {field.name: _KINDS.get(str(field.type), (str,)) for field in dataclasses.fields(EditRow)}


def _listing(document: dict[str, Any]) -> Listing | None:
    if document.keys() != _NAMES or not isinstance(document["rows"], list) or type(document["base"]) is not str:
        return None
    rows = [_row(row) for row in document["rows"]]
    if None in rows or not all(type(document[name]) is int for name in ("position", "others")):
        return None
    return Listing(tuple(row for row in rows if row), document["position"], document["base"], document["others"])


def _row(document: object) -> EditRow | None:
    if not isinstance(document, dict) or document.keys() != _FIELDS.keys():
        return None
    values: dict[str, Any] = {name: tuple(value) if type(value) is list else value for name, value in document.items()}
    if not all(type(values[name]) in kinds for name, kinds in _FIELDS.items()):
        return None
    pairs = [values[name] for name, kinds in _FIELDS.items() if kinds is _PAIR]
    whole = all(pair is None or [type(n) for n in pair] == [int, int] for pair in pairs)
    known = values["state"] in STATES and all(type(name) is str for name in values["names"])
    return EditRow(**values) if whole and known else None
