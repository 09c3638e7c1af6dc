"""The safetensors container: matrices and text metadata, written in one spelling and read with suspicion.

Layout: 8 bytes little-endian length of the header, the header as JSON, then the matrices without gaps or overlaps.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from workbench.stack.limits import MAX_FILE as MAX_FILE
from workbench.stack.limits import MAX_HEADER, MAX_SIDE, MAX_TENSORS
from workbench.stack.strictjson import MalformedError, parse

ALIGN = 8
BYTES = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of one number, by the dtypes that are read; only F32 is written."""


@dataclass(frozen=True)
class Matrix:
    """Where one matrix lies; `start` and `end` count bytes from the end of the header."""

    name: str
    shape: tuple[int, int]
    start: int
    end: int
    dtype: str = "F32"


@dataclass(frozen=True)
class Head:
    """A header: what the file says about itself."""

    metadata: dict[str, str]
    matrices: tuple[Matrix, ...]
    """In the order in which they lie in the file."""
    start: int
    """Where the matrices' bytes start, in the file."""


def build(metadata: Mapping[str, str], matrices: Sequence[tuple[str, tuple[int, int], bytes]]) -> bytes:
    """The whole file, from metadata and (name, shape, little-endian float32 bytes) in the order they shall lie.

    Raises:
        MalformedError: the header would be longer than MAX_HEADER.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    for name, shape, data in matrices:
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % ALIGN)
    if len(text) > MAX_HEADER:
        raise MalformedError(f"has a record of {len(text)} bytes, and {MAX_HEADER} is the most")
    return b"".join([struct.pack("<Q", len(text)), text, *(data for _, _, data in matrices)])


def header_length(first: bytes, file_size: int) -> int:
    """Length of the header in bytes, from the file's first eight. Raises MalformedError."""
    if file_size > MAX_FILE:
        raise MalformedError(f"is larger than {MAX_FILE} bytes")
    if len(first) < 8:
        raise MalformedError("is truncated")
    length = int.from_bytes(first[:8], "little")
    if length > MAX_HEADER:
        raise MalformedError(f"has a header longer than {MAX_HEADER} bytes")
    if 8 + length > file_size:
        raise MalformedError("is truncated")
    return length


def parse_header(text: bytes, file_size: int, *, dtypes: Collection[str] = ("F32",), bare: bool = False) -> Head:
    """Reads a header and holds it against the size of the file, in bytes.

    Args:
        text: the header.
        file_size: of the whole file.
        dtypes: what a matrix may be stored in, of those in BYTES.
        bare: whether the file may come without metadata.

    Raises:
        MalformedError: it is not a header that may be trusted.
    """
    if not text.startswith(b"{"):
        raise MalformedError("has a header that is not a JSON object")
    document = parse(text)
    metadata = document.pop("__metadata__", {} if bare else None)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise MalformedError("has no metadata")
    if len(document) > MAX_TENSORS:
        raise MalformedError(f"holds more than {MAX_TENSORS} tensors")
    matrices = sorted(
        (_matrix(name, entry, dtypes) for name, entry in document.items()), key=lambda m: (m.start, m.end)
    )
    start = 8 + len(text)
    _check_cover(matrices, file_size - start)
    return Head(metadata, tuple(matrices), start)


def _matrix(name: str, entry: object, dtypes: Collection[str]) -> Matrix:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise MalformedError("describes a tensor in a form that is not safetensors")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in dtypes:
        raise MalformedError(f"holds a tensor that is not {' or '.join(dtypes).replace('F32', 'float32')}")
    rows, columns = _pair(entry["shape"], 1, MAX_SIDE, "holds a tensor that is not a matrix of a sensible shape")
    start, end = _pair(entry["data_offsets"], 0, MAX_FILE, "has tensor offsets out of range")
    if end - start != BYTES[dtype] * rows * columns:
        raise MalformedError("holds a tensor whose shape and size disagree")
    return Matrix(name, (rows, columns), start, end, dtype)


def _pair(value: object, low: int, high: int, otherwise: str) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int and low <= n <= high for n in value):
        return value[0], value[1]
    raise MalformedError(otherwise)


def _check_cover(matrices: Sequence[Matrix], size: int) -> None:
    at = 0
    for matrix in matrices:
        if matrix.start != at:
            raise MalformedError("has tensors that overlap or leave a gap")
        at = matrix.end
    if at > size:
        raise MalformedError("is truncated")
    if at < size:
        raise MalformedError("has bytes after its last tensor")
