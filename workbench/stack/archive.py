"""The zip container of a bundle: stored members in one spelling, which any unzip reads, and read with suspicion.

Every byte between the members is checked against what `build` would write, so nothing can hide: no compression, no
links, no second name, no comment, no gap, nothing before or behind. A file that says less than it holds is refused.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from workbench.stack import files
from workbench.stack.strictjson import MalformedError

MAX_FILE = 2**31 - 1
"""Largest archive, in bytes; beyond it zip changes its format."""
MAX_MEMBERS = 65_000
"""Most members; beyond 65,535 zip changes its format."""
MAX_NAME = 128
"""Longest name of a member, in characters, all ASCII."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION = 20
_UNIX = 3 << 8
_NEW_YEAR_1980 = 33
_REGULAR_FILE = 0o100644 << 16


@dataclass(frozen=True)
class Member:
    """Where one member lies."""

    name: str
    size: int
    """Bytes."""
    crc: int
    """CRC-32 of them."""
    start: int
    """Offset of its local header; the bytes follow it."""

    @property
    def data(self) -> int:
        """Offset of its bytes."""
        return self.start + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Offset behind its bytes."""
        return self.data + self.size


def build(members: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The archive piece by piece, from (name, bytes) in the order they shall lie.

    Raises:
        MalformedError: there are too many members, or too large ones.
    """
    listed: list[Member] = []
    at, behind = 0, _END.size
    for name, data in members:
        member = Member(name, len(data), zlib.crc32(data), at)
        at, behind = member.end, behind + _CENTRAL.size + len(name)
        listed.append(member)
        if len(listed) > MAX_MEMBERS:
            raise MalformedError(f"would hold more than {MAX_MEMBERS} files")
        if at + behind > MAX_FILE:
            raise MalformedError(f"would be larger than {MAX_FILE} bytes")
        yield _local(member)
        yield data
    yield _directory(listed)


def read_directory(descriptor: int, size: int) -> tuple[Member, ...]:
    """The members of an open archive of `size` bytes, in the order they lie; all but their bytes is checked.

    Raises:
        MalformedError: it is not an archive that `build` wrote.
        OSError: it cannot be read.
    """
    if size > MAX_FILE:
        raise MalformedError(f"is larger than {MAX_FILE} bytes")
    start, count = _end(_read(descriptor, max(0, size - _END.size), _END.size), size)
    members = _members(_read(descriptor, start, size - start), count)
    if (members[-1].end if members else 0) != start:
        raise MalformedError("has bytes that belong to no file in it")
    for member in members:
        header = _local(member)
        if _read(descriptor, member.start, len(header)) != header:
            raise MalformedError("says one thing at its end and another where the files lie")
    return members


def read_member(descriptor: int, member: Member) -> bytes:
    """The bytes of one member. Raises MalformedError if they are not those of its checksum, OSError."""
    data = _read(descriptor, member.data, member.size)
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise MalformedError(f"holds {member.name}, which is damaged")
    return data


def _local(member: Member) -> bytes:
    name = member.name.encode("ascii")
    fixed = (_VERSION, 0, 0, 0, _NEW_YEAR_1980, member.crc, member.size, member.size, len(name), 0)
    return _LOCAL.pack(b"PK\3\4", *fixed) + name


def _central(member: Member) -> bytes:
    name = member.name.encode("ascii")
    sizes = (member.crc, member.size, member.size)
    fixed = (_UNIX | _VERSION, _VERSION, 0, 0, 0, _NEW_YEAR_1980, *sizes, len(name), 0, 0, 0, 0)
    return _CENTRAL.pack(b"PK\1\2", *fixed, _REGULAR_FILE, member.start) + name


def _directory(members: Sequence[Member]) -> bytes:
    entries = b"".join(_central(member) for member in members)
    start = members[-1].end if members else 0
    return entries + _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(entries), start, 0)


def _end(record: bytes, size: int) -> tuple[int, int]:
    """Where the directory starts, and how many members it lists."""
    if len(record) < _END.size or not record.startswith(b"PK\5\6"):
        raise MalformedError("is not a zip file, is truncated, or has bytes after its end")
    _, *disks, here, count, length, start, comment = _END.unpack(record)
    if any(disks) or here != count or comment or start + length + _END.size != size:
        raise MalformedError("is a zip file whose end does not fit the rest")
    if count > MAX_MEMBERS or length > count * (_CENTRAL.size + MAX_NAME):
        raise MalformedError(f"lists more than {MAX_MEMBERS} files, or longer names than {MAX_NAME} characters")
    return start, count


def _members(directory: bytes, count: int) -> tuple[Member, ...]:
    """The members that `directory`, with the end record, lists."""
    members: list[Member] = []
    names: set[str] = set()
    at = offset = 0
    for _ in range(count):
        member = _member(directory, at, offset)
        if member.name in names:
            raise MalformedError("holds two files of one name")
        names.add(member.name)
        members.append(member)
        at, offset = at + _CENTRAL.size + len(member.name), member.end
    if directory != _directory(members):
        raise MalformedError("lists its files in a way that workbench does not write")
    return tuple(members)


def _member(directory: bytes, at: int, offset: int) -> Member:
    """The member listed at `at`, which must lie at `offset`; says what is special about one that is refused."""
    if len(directory) < at + _CENTRAL.size + _END.size:
        raise MalformedError("lists more files than it has")
    fields = _CENTRAL.unpack_from(directory, at)
    flags, method, crc, packed, size, length, kind, start = (fields[i] for i in (3, 4, 7, 8, 9, 10, 15, 16))
    if flags & 1:
        raise MalformedError("holds a file that is encrypted")
    if method or packed != size:
        raise MalformedError("holds a file that is compressed")
    if kind >> 28 not in (0, 0o10):
        raise MalformedError("holds a link or a folder")
    name = directory[at + _CENTRAL.size : at + _CENTRAL.size + length]
    if not name.isascii() or not 0 < length <= MAX_NAME:
        raise MalformedError("holds a file whose name is not plain and short")
    if start != offset:
        raise MalformedError("has files that overlap or leave a gap")
    return Member(name.decode("ascii"), size, crc, start)


def _read(descriptor: int, start: int, count: int) -> bytes:
    os.lseek(descriptor, start, os.SEEK_SET)
    return files.read_exactly(descriptor, count)
