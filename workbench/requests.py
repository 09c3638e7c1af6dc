"""Reading request files: JSON, JSONL and CSV; all of the file or none of it, or what of it can be read. Free of torch.

The shapes of one record are in `requests_shapes`; here are the files around them and the limits that hold.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from workbench.edits import EditRequest
from workbench.errors import RequestError, UsageError
from workbench.requests_shapes import FIELDS, request_from

MAX_BYTES = 64 * 1024 * 1024
"""Largest request file, in bytes; the whole of CounterFact is 45 MB."""
MAX_REQUESTS = 50_000
"""Most requests in one file."""

MOST_REASONS = 5
"""Of so many records that cannot be read it is said why."""

QUOTES = 'Put cells that hold a comma in double quotes: "like, this".'
SHAPES = "See workbench apply --help for the shapes that are read."

Record = tuple[str, object]
"""Where a record stands ("record 3", "line 7"), and the record; a RequestError where the text holds none there."""


@dataclass(frozen=True)
class Readable:
    """What of a text can be read, in its order."""

    requests: tuple[EditRequest, ...]
    left_out: int = 0
    """How many records cannot be read."""
    reasons: tuple[str, ...] = ()
    """Where the first of these stand, and what is wrong there, each in a line: "record 3: there is no 'subject'."."""


def read_requests(path: Path) -> list[EditRequest]:
    """All requests of a file, in its order; `-` is standard input.

    A JSON list, one JSON object, an object with a list `requests`, JSON lines, or CSV with a header; what it is follows
    from the name's ending, and without one from how the text begins. A record that cannot be read refuses the file.

    Raises:
        RequestError: the file cannot be read, is too large, or a record is wrong: says which and why.
    """
    return [request for _, request in read_cases(path)]


def read_cases(path: Path) -> list[tuple[object, EditRequest]]:
    """As `read_requests`, each behind the record that it was read from."""
    name = _name(path)
    cases = [
        (record, _or_refused(name, where, _request(record)))
        for where, record in _records(_text(path, name), name, path.suffix.lower())
    ]
    if not cases:
        raise _no_requests(name)
    return cases


def read_readable(path: Path) -> Readable:
    """As `read_requests`, but a record that cannot be read is left out and told of.

    Raises:
        RequestError: the file cannot be read, is too large, holds no records, or where one ends cannot be told.
    """
    name = _name(path)
    return readable(_text(path, name), name, path.suffix.lower())


def readable(text: str, name: str, suffix: str = "") -> Readable:
    """As `read_readable`, of a text that is here already; `name` is what messages call it. Raises RequestError."""
    requests, left_out, reasons = list[EditRequest](), 0, list[str]()
    for where, record in _records(text, name, suffix):
        found = _request(record)
        if isinstance(found, EditRequest):
            requests.append(found)
            continue
        left_out += 1
        if len(reasons) < MOST_REASONS:
            reasons.append(f"{where}: {_lowered(found.message)}")
    if not requests and not left_out:
        raise _no_requests(name)
    return Readable(tuple(requests), left_out, tuple(reasons))


def _no_requests(name: str) -> RequestError:
    return RequestError(f"{name} holds no requests.", SHAPES)


def _name(path: Path) -> str:
    return "standard input" if str(path) == "-" else path.name


def _request(record: object) -> EditRequest | UsageError:
    """The request, or what is wrong with it."""
    if isinstance(record, RequestError):
        return record
    try:
        return request_from(record)
    except UsageError as error:
        return error


def _or_refused(name: str, where: str, found: EditRequest | UsageError) -> EditRequest:
    if isinstance(found, UsageError):
        raise RequestError(f"{name}, {where}: {_lowered(found.message)}", found.hint) from found
    return found


def _text(path: Path, name: str) -> str:
    try:
        if str(path) == "-":
            data = _bounded(sys.stdin.buffer, name)
        else:
            with path.open("rb") as file:
                data = _bounded(file, name)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise RequestError(f"{path} cannot be read: {reason}.", "Give a JSON, JSONL or CSV file.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{name} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}.", "Save it as UTF-8."
        ) from error


def _bounded(file: BinaryIO, name: str) -> bytes:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise RequestError(f"{name} is larger than {MAX_BYTES // 1024**2} MiB.", "Split it into several files.")
    return data


def _records(text: str, name: str, suffix: str) -> Iterator[Record]:
    for number, record in enumerate(_reader(text, suffix)(text, name), 1):
        if number > MAX_REQUESTS:
            raise RequestError(f"{name} holds more than {MAX_REQUESTS} requests.", "Split it into several files.")
        yield record


def _reader(text: str, suffix: str) -> Callable[[str, str], Iterator[Record]]:
    """What reads `text`: by the name's ending, else by its first character."""
    if suffix in (".csv", ".tsv"):
        return _csv
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines
    if suffix != ".json" and text.lstrip()[:1] not in ("", "[", "{"):
        return _json_lines if not suffix and _holds_lines(text) else _csv
    return _json


def _holds_lines(text: str) -> bool:
    """Whether most of several lines are JSON objects: then the others are to be, too."""
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) > 1 and 2 * sum(map(_is_object, lines)) >= len(lines)


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(_loads(line), dict)
    except (json.JSONDecodeError, RequestError):
        return False


def _json(text: str, name: str) -> Iterator[Record]:
    if not text.strip():
        return
    try:
        document = _loads(text)
    except RequestError as error:
        raise RequestError(f"{name}: {_lowered(error.message)}", error.hint) from error
    except json.JSONDecodeError as error:
        if (error.msg == "Extra data" and text.lstrip().startswith("{")) or _holds_lines(text):
            yield from _json_lines(text, name)
            return
        raise RequestError(f"{name} is not JSON: line {error.lineno}, {_lowered(error.msg)}.", SHAPES) from error
    if isinstance(document, dict) and isinstance(document.get("requests"), list):
        document = document["requests"]
    for number, record in enumerate(document if isinstance(document, list) else [document], 1):
        yield f"record {number}", record


def _json_lines(text: str, name: str) -> Iterator[Record]:
    del name
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = _loads(line)
        except json.JSONDecodeError as error:
            record = RequestError(f"This is not JSON, {_lowered(error.msg)}.", "Each line is one JSON object.")
        except RequestError as error:
            record = error
        yield f"line {number}", record


def _loads(text: str) -> Any:
    """As json.loads, and what it raises for depth or digits is a RequestError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise RequestError("The JSON is nested too deeply, or a number is too long.", SHAPES) from error


def _csv(text: str, name: str) -> Iterator[Record]:
    header_line = text.lstrip("\r\n").split("\n", 1)[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(header_line), strict=True)
    header: list[str] = []
    try:
        for row in rows:
            where = f"line {rows.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = _header(row, name)
            else:
                yield where, _row(header, row)
    except csv.Error as error:
        raise RequestError(f"{name}, line {rows.line_num}: this is not CSV, {error}.", SHAPES) from error


def _delimiter(header: str) -> str:
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _header(row: list[str], name: str) -> list[str]:
    """The column names, lower case with underscores. Raises RequestError if one is missing or double."""
    names = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in row]
    for field in ("subject", "prompt", "target_new"):
        if not set(FIELDS[field]) & set(names):
            raise RequestError(
                f"{name} is neither JSON nor CSV with a column '{field}'.", "Its header is subject,prompt,target_new."
            )
    doubled = next((n for n in names if n and names.count(n) > 1), None)
    if doubled:
        raise RequestError(f"{name} has two columns '{doubled}'.", "Keep one of them.")
    return names


def _row(header: list[str], row: list[str]) -> dict[str, object] | RequestError:
    """A CSV row as the JSON record it stands for, or what is wrong with it."""
    if len(row) > len(header):
        return RequestError(f"There are {len(row)} cells and {len(header)} columns.", QUOTES)
    try:
        return _cells(header, row)
    except RequestError as error:
        return error


def _cells(header: list[str], row: list[str]) -> dict[str, object]:
    """The cells that hold something, by their column. Raises RequestError."""
    record: dict[str, object] = {}
    for column, cell in zip(header, row, strict=False):
        if cell.strip():
            several = column in FIELDS["paraphrases"] or column in FIELDS["neighbours"]
            record[column] = _several(cell, column) if several else cell
    return record


def _several(cell: str, column: str) -> list[object]:
    """The texts of a cell that lists several: `one | two`, with answers `prompt => answer | ...`; or a JSON list."""
    if cell.lstrip().startswith("["):
        try:
            listed = _loads(cell)
        except json.JSONDecodeError:
            listed = None
        if isinstance(listed, list):
            return listed
    items: list[object] = []
    for text in (part.strip() for part in cell.split("|")):
        prompt, arrow, answer = text.partition("=>")
        paired = arrow and column in FIELDS["neighbours"]
        items.append({"prompt": prompt.strip(), "expected": answer.strip()} if paired else text)
    return items


def _lowered(sentence: str) -> str:
    """A sentence as it goes on after a colon or a comma."""
    return sentence[:1].lower() + sentence[1:]
