"""Files that were good, changed in ways that a stranger or a bad disk might: JSON values, bytes, pieces."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63, 2**70, -(2**63), 10**400, 0.0, -0.0, 0.5, 1e308, 1e-320,
    float("inf"), float("nan"), "", " ", "x", "0", "{}", "{} {}", "../../etc/passwd", "/etc/passwd", "C:\\x", "a" * 64,
    "0" * 64, "f" * 64, "\x1b[2J", "\x00", "\u202e", "\ud800", "\U0001f600", "x" * 5_000, [], {}, [[]], [{}], [None],
    ["x"], [1, 2], [2**40, 2**40], [0, 4], {"": 0}, {"x": []}, ["a" * 64, "a" * 64], [0] * 1000,
)  # fmt: skip
"""What stands in for a value."""

DEEP = '{"a":' * 60 + "1" + "}" * 60

Draw = Callable[[st.SearchStrategy[Any]], Any]


def changed_json(draw: Draw, document: Any) -> Any:
    """A copy of `document` with one to three values replaced, left out, added, moved or nested deeply."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = _place(draw, document)
        if holder is None:
            return _hostile(draw)
        _change(draw, holder, key)
    return document


def _hostile(draw: Draw) -> Any:
    """One of HOSTILE, as an object of its own: what is put in may be changed in its turn."""
    return copy.deepcopy(draw(st.sampled_from(HOSTILE)))


def _place(draw: Draw, document: Any) -> tuple[Any, Any]:
    """A container somewhere in `document`, and a key of it; (None, None) for the document itself."""
    places: list[tuple[Any, Any]] = [(None, None)]
    waiting = [document]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        places += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return places[draw(st.integers(0, len(places) - 1))]


def _change(draw: Draw, holder: Any, key: Any) -> None:
    kind = draw(st.sampled_from(["replace", "replace", "replace", "leave out", "add", "swap", "nest", "number"]))
    if kind == "leave out":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        holder[draw(st.sampled_from(["", "x", "version", "../x", "\x1b", "id"]))] = _hostile(draw)
    elif kind == "add":
        holder.insert(key, _hostile(draw))
    elif kind == "swap":
        other = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        holder[key], holder[other] = holder[other], holder[key]
    elif kind == "nest":
        holder[key] = json.loads(DEEP)
    elif kind == "number" and isinstance(holder[key], int):
        holder[key] += draw(st.integers(-9, 9))
    else:
        holder[key] = _hostile(draw)


def spelled(draw: Draw, document: Any) -> bytes:
    """`document` as JSON: in the one spelling of records, or in another; half of a surrogate pair as it is."""
    plain = draw(st.booleans())
    text = json.dumps(
        document, sort_keys=plain or draw(st.booleans()), separators=(",", ":") if plain else None, ensure_ascii=False
    )
    return text.encode("utf-8", "surrogatepass")


def changed_bytes(draw: Draw, data: bytes) -> bytes:
    """`data` with one to four of its pieces changed, doubled, moved, or left out, and sometimes cut short."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(changed))), draw(st.integers(0, 12))
        kind = draw(st.sampled_from(["put in", "leave out", "overwrite", "double", "flip", "cut"]))
        if kind == "put in":
            changed[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif kind == "leave out":
            del changed[at : at + length]
        elif kind == "overwrite":
            changed[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "double":
            changed[at:at] = changed[at : at + length * 20]
        elif kind == "cut" and draw(st.booleans()):
            del changed[at:]
        elif at < len(changed):
            changed[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def changed_edit(draw: Draw, data: bytes) -> bytes:
    """An edit file with its bytes, its header or its record changed."""
    kind = draw(st.sampled_from(["bytes", "header", "record", "record"]))
    if kind == "bytes":
        return changed_bytes(draw, data)
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    if kind == "record":
        record = changed_json(draw, json.loads(header["__metadata__"]["workbench"]))
        header["__metadata__"]["workbench"] = spelled(draw, record).decode("utf-8", "surrogatepass")
    else:
        header = changed_json(draw, header)
    text = spelled(draw, header)
    return struct.pack("<Q", len(text)) + text + body
