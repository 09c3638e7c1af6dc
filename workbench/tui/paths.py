"""What there is to choose from where a person types the path of a file: the folder's entries that begin so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
"""Files that may hold requests."""
MOST_LOOKED_AT = 20_000
MOST_SHOWN = 500


@dataclass(frozen=True)
class Entry:
    """A folder or a file in it."""

    name: str
    folder: bool
    size: int = 0
    """Bytes."""


@dataclass(frozen=True)
class Listing:
    """What fits what is typed."""

    typed: str
    entries: tuple[Entry, ...] = ()
    problem: str = ""
    """Why there is nothing to choose from."""


def listing(typed: str) -> Listing:
    """The entries of the folder that `typed` is in, that begin with its last part; folders first, by name.

    Hidden ones are there where the last part begins with a dot.
    """
    start, beginning = _parts(typed)
    try:
        folder = Path(start or ".").expanduser()
        found = []
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= MOST_LOOKED_AT:
                    break
                if fits(entry.name, beginning):
                    found.append(_entry(entry))
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Listing(typed, (), f"{start or '.'}: {reason.lower()}")
    kept = [entry for entry in found if entry.folder or entry.name.lower().endswith(ENDINGS)]
    kept.sort(key=lambda entry: (not entry.folder, entry.name.casefold()))
    return Listing(typed, tuple(kept[:MOST_SHOWN]), "" if kept else "no folder and no JSON or CSV file begins so")


def fits(name: str, beginning: str) -> bool:
    """A name that goes on from what is typed; hidden only where a dot is typed."""
    return name.casefold().startswith(beginning.casefold()) and (not name.startswith(".") or beginning.startswith("."))


def completed(typed: str, entry: Entry) -> str:
    """What is typed, with the entry as its last part."""
    return _parts(typed)[0] + entry.name + ("/" if entry.folder else "")


def file_of(typed: str) -> Path | None:
    """The file that is typed; None if there is none."""
    if not typed.strip() or "\0" in typed:
        return None
    try:
        path = Path(typed.strip()).expanduser().absolute()
        return path if path.is_file() else None
    except (OSError, RuntimeError):
        return None


def _parts(typed: str) -> tuple[str, str]:
    """The folder, with its slash, and what comes after."""
    before, slash, last = typed.rpartition("/")
    return before + slash, last


def _entry(entry: os.DirEntry[str]) -> Entry:
    try:
        folder = entry.is_dir()
        return Entry(entry.name, folder, 0 if folder else entry.stat().st_size)
    except OSError:
        return Entry(entry.name, False)
