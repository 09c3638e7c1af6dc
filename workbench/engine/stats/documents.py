"""Where ordinary text comes from: files, the standard input, a data set. One document after the other, never all.

A line of a .txt file is a document, empty lines are none; so is the field "text" of a line of a .jsonl file.
"""

from __future__ import annotations

import glob
import hashlib
import importlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Protocol

from workbench.errors import StorageError, UsageError
from workbench.text import shortened

STDIN = "-"
LONGEST = 2**22
"""Bytes of a line of .txt at most: a longer one is read as several documents. Of a line of .jsonl: refused."""
_SHOWN, _WORD = 3, 30
_SILENT = logging.CRITICAL
"""What datasets may say for itself: what goes wrong is said here."""
_NAMING = "NAME:CONFIGURATION@SPLIT, of the Hub or a folder; --text FILES needs no network."
PUBLISHED = {
    "wikitext": ("Salesforce/wikitext", "wikitext-103-raw-v1"),
    "wikipedia": ("wikimedia/wikipedia", "20231101.en"),
}
"""Where the two data sets that the papers read C over lie now, and their configurations: the papers' own of the first;
English of the only date that is kept of the second, whose old name was a script that datasets runs no more."""


class Documents(Protocol):
    """Some text, and what is to be recorded of it."""

    @property
    def again(self) -> bool:
        """Whether it can be read more than once."""

    def read(self) -> Iterator[str]:
        """The documents in order, the same at every call unless the source has changed."""

    def about(self) -> dict[str, Any]:
        """Kind, words for people, and what names the source."""


class TextFiles:
    """Files as they were named: paths, patterns, and "-" for the standard input."""

    def __init__(self, named: Sequence[str]) -> None:
        """Raises UsageError for a name that no file has, and for one of another kind."""
        self.paths = tuple(path for name in named for path in _matching(name))
        self.again = STDIN not in self.paths

    def read(self) -> Iterator[str]:
        """The documents of all files, one file after the other. Raises UsageError or StorageError."""
        for path in self.paths:
            with ExitStack() as stack:
                yield from _documents(path, stack)

    def about(self) -> dict[str, Any]:
        """Their names, without the folders they lie in."""
        names = ["standard input" if path == STDIN else Path(path).name for path in self.paths]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return {"kind": "files", "names": names[:1000], "words": ", ".join(names[:_SHOWN]) + more}


class DataSet:
    """A data set of the Hugging Face Hub or a folder, streamed: NAME or NAME:CONFIGURATION, and @SPLIT, else "train".

    PUBLISHED says what the papers' names for two of them mean.
    """

    again = True

    def __init__(self, name: str) -> None:
        """Raises UsageError where nothing is named."""
        path, _, split = name.partition("@")
        path, _, configuration = path.partition(":")
        if not path:
            raise UsageError(f"'{name}' names no data set.", _NAMING)
        self.path, usual = (path, "") if Path(path).is_dir() else PUBLISHED.get(path, (path, ""))
        self.configuration = configuration or usual
        self.split = split or "train"
        self.name = ":".join(filter(None, (self.path, self.configuration))) + (f"@{split}" if split else "")

    def read(self) -> Iterator[str]:
        """The field "text" of every row.

        Raises:
            UsageError: the package is not there, there is no such data set, or its rows have no text.
        """
        try:
            datasets = importlib.import_module("datasets")
        except ImportError as error:
            raise UsageError(
                "Reading a data set needs the package datasets, which is not installed.",
                "pip install 'rome-workbench[datasets]', or give files with --text.",
            ) from error
        yield from _texts(self._rows(datasets), f"The data set '{self.name}'")

    def _rows(self, datasets: Any) -> Iterator[Any]:
        """The rows as they come; a bad file or a lost connection is met at any of them."""
        try:
            datasets.disable_progress_bars()
            datasets.logging.set_verbosity(_SILENT)
            yield from datasets.load_dataset(self.path, self.configuration or None, split=self.split, streaming=True)
        except Exception as error:  # the package lets through whatever a strange data set makes happen
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise UsageError(f"The data set '{self.name}' cannot be read: {reason}", _NAMING) from error

    def about(self) -> dict[str, Any]:
        """Its whole name."""
        return {"kind": "dataset", "name": self.name, "words": f"the data set {self.name}"}


class Counted:
    """Documents as they pass by, counted and hashed."""

    def __init__(self, documents: Iterator[str]) -> None:
        self._documents = documents
        self._digest = hashlib.sha256(b"workbench text v1\n")
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for document in self._documents:
            data = document.encode("utf-8", "surrogatepass")
            self._digest.update(len(data).to_bytes(8, "little") + data)
            self.count += 1
            yield document

    def about(self) -> dict[str, Any]:
        """How many there were, and sha256 over the length and the UTF-8 of each."""
        return {"documents": self.count, "sha256": self._digest.hexdigest()}


def _matching(name: str) -> list[str]:
    if name == STDIN:
        return [STDIN]
    found = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) and not Path(name).exists() else [name]  # noqa: PTH207
    files = [path for path in found if Path(path).is_file()]
    if not files and name and Path(name).is_dir():
        raise UsageError(f"'{name}' is a folder.", f"Name its files: {Path(name) / '*.txt'}")
    if not files:
        raise UsageError(f"There is no text file '{name}'.", "Name .txt or .jsonl files, a pattern, or - for stdin.")
    for path in files:
        if Path(path).suffix.lower() not in (".txt", ".jsonl"):
            raise UsageError(f"'{path}' is neither .txt nor .jsonl.", "One document a line; in .jsonl its field text.")
    return files


def _documents(path: str, stack: ExitStack) -> Iterator[str]:
    name = "standard input" if path == STDIN else Path(path).name
    try:
        file = sys.stdin.buffer if path == STDIN else stack.enter_context(_open(path))
        lines = iter(lambda: file.readline(LONGEST), b"")
        yield from _records(lines, name) if path.lower().endswith(".jsonl") else _plain(lines, name)
    except OSError as error:
        raise StorageError(f"Cannot read {name}: {error.strerror or error}.", "Check who may read it.") from error


def _open(path: str) -> IO[bytes]:
    return Path(path).open("rb")


def _plain(lines: Iterator[bytes], name: str) -> Iterator[str]:
    number, cut = 1, b""
    for number, line in enumerate(lines, 1):
        whole = cut + line
        cut = _unfinished(whole) if len(line) == LONGEST else b""
        text = _decoded(whole.removesuffix(cut), name, number).strip()
        if text:
            yield text
    _decoded(cut, name, number)


def _unfinished(line: bytes) -> bytes:
    """The first bytes of a UTF-8 character that `line`, cut anywhere, ends within."""
    for count in (1, 2, 3):
        first = line[-count : len(line) - count + 1]
        if first >= b"\xc0":
            needed = 4 if first >= b"\xf0" else 3 if first >= b"\xe0" else 2
            return line[-count:] if needed > count else b""
    return b""


def _records(lines: Iterator[bytes], name: str) -> Iterator[str]:
    def rows() -> Iterator[Any]:
        for number, line in enumerate(lines, 1):
            if len(line) == LONGEST:
                raise UsageError(f"Line {number} of {name} is longer than {LONGEST} bytes.", "Split the document.")
            if line.strip():
                try:
                    yield json.loads(_decoded(line, name, number))
                except (ValueError, RecursionError) as error:
                    raise UsageError(f"Line {number} of {name} is not JSON.", 'One {"text": ...} a line.') from error

    yield from _texts(rows(), name)


def _texts(rows: Iterable[Any], name: str) -> Iterator[str]:
    for number, row in enumerate(rows, 1):
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise UsageError(f"{name} has no text in its row {number}.", f'Every row needs a field "text"{_has(row)}.')
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{name} is not valid Unicode in its row {number}.", "It holds half of a surrogate pair."
            ) from error
        if text.strip():
            yield text.strip()


def _has(row: Any) -> str:
    """Which fields there are in place of the one that is needed."""
    fields = [shortened(str(field), _WORD) for field in list(row)[:_SHOWN]] if isinstance(row, dict) else []
    more = " and more" if fields and len(row) > _SHOWN else ""
    return f"; this one has {', '.join(fields)}{more}" if fields else ""


def _decoded(line: bytes, name: str, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"Line {number} of {name} is not UTF-8.", "Convert the file to UTF-8.") from error
