"""Trials kept between runs, one JSON line each: a stopped search goes on where it was, with the same results."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench import __version__
from workbench.edits import EditRequest, Recipe
from workbench.errors import StackError
from workbench.models.kept import kept_for
from workbench.stack import strictjson
from workbench.stack.files import append_line, make_folder, read_bytes

FILE = "trials.jsonl"
MAX_BYTES = 64 * 1024**2
"""Most of the record that is read."""


@dataclass(frozen=True)
class Measured:
    """What one trial gave."""

    es: float | None
    ps: float | None
    ns: float | None
    s: float
    ratio: float
    """Mean of |ΔW| / |W| over the edits that were made."""
    failed: int
    """Edits that could not be made at all; they count as failures of all their probes."""
    clamped: int
    """Edits whose offset the clamp held back; where there is none, a wider clamp changes nothing."""
    ran_out: int
    """Edits that took all their steps; where there is none, more steps change nothing."""
    seconds: float
    """How long it took when it was made."""


class Record:
    """The trials of one base. Lines that cannot be read, such as the last one after a crash, are left alone."""

    def __init__(self, fingerprint: str) -> None:
        self.path: Path = kept_for(fingerprint) / "tune" / FILE
        self._known = dict(_read(self.path))

    def get(self, key: str) -> Measured | None:
        """What the trial with that key gave; None: it was not made."""
        return self._known.get(key)

    def add(self, key: str, recipe: Recipe, measured: Measured) -> None:
        """Keeps a trial; on the disk when this returns. Raises StorageError."""
        line = {"key": key, "recipe": recipe.to_json(), "measured": dataclasses.asdict(measured)}
        make_folder(self.path.parent)
        append_line(self.path, strictjson.canonical(line).encode() + b"\n")
        self._known[key] = measured


def trial_key(recipe: Recipe, requests: Sequence[EditRequest], moment: str, where: str) -> str:
    """Names a trial by all that its outcome depends on, besides the base.

    Args:
        recipe: how edits are made.
        requests: on what.
        moment: fingerprint of C, or "identity".
        where: device, dtype and library versions.
    """
    about = {
        "recipe": recipe.to_json(),
        "requests": [request.to_json() for request in requests],
        "second_moment": moment,
        "where": where,
        "workbench": __version__,
    }
    text = json.dumps(about, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(f"workbench trial v1\n{text}".encode()).hexdigest()


def _read(path: Path) -> list[tuple[str, Measured]]:
    """The trials in a file. Raises StackError if something else stands in its place, StorageError."""
    if not path.exists():
        return []
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8", errors="replace")
    except StackError as error:
        raise StackError(
            f"The trials kept from earlier runs cannot be read: {error.message}", f"Remove {path}."
        ) from error
    found = [_line(line) for line in text.splitlines()]
    return [one for one in found if one is not None]


def _line(line: str) -> tuple[str, Measured] | None:
    """One trial; None if the line is not whole."""
    try:
        document = json.loads(line)
        key, measured = str(document["key"]), Measured(**document["measured"])
        numbers = [value for value in dataclasses.astuple(measured) if value is not None]
        return (key, measured) if all(math.isfinite(value) for value in numbers) else None
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
