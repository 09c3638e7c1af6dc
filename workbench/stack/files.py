"""The one place that writes: a file is there whole or not at all, and what was written is on the disk.

Reading is here too, so that a folder, a link or a pipe in a file's place is refused before a byte is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from workbench.errors import StackError, StorageError

TEMPORARY = ".tmp"
"""Ending of a file that is not whole yet."""

_CAUSES = {
    errno.ENOSPC: ("the disk is full", "Make room and try again; nothing is half done."),
    errno.EDQUOT: ("the disk quota is used up", "Make room and try again; nothing is half done."),
    errno.EFBIG: ("the file would be too large for this disk", "Make room and try again; nothing is half done."),
    errno.EROFS: ("the file system is read-only", "Choose another folder with --stack."),
    errno.EACCES: ("permission is denied", "Check who owns the folder, or choose another with --stack."),
    errno.EPERM: ("permission is denied", "Check who owns the folder, or choose another with --stack."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one."),
    errno.ENOTDIR: ("a file stands where a folder should be", "Choose another folder with --stack."),
    errno.EEXIST: ("a file stands where a folder should be", "Choose another folder with --stack."),
    errno.ENOTEMPTY: ("it is there already, and holds files", "Choose another folder; what is there is unharmed."),
    errno.EIO: ("the disk reports an error", "Check the disk."),
}


@contextlib.contextmanager
def storage(verb: str, path: Path) -> Iterator[None]:
    """Turns an OSError into a StorageError in plain words: "Cannot write NAME: the disk is full."."""
    try:
        yield
    except OSError as error:
        cause, hint = _CAUSES.get(error.errno or 0, (str(error.strerror or error).lower(), ""))
        raise StorageError(f"Cannot {verb} {path.name}: {cause}.", hint) from error


def make_folder(folder: Path) -> None:
    """Makes `folder` and those above it, if they are not there. Raises StorageError."""
    with storage("make", folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Puts `data` at `path`: readers see all of it or what was there before, also after a power cut.

    Raises:
        StorageError: the disk would not take it; what was at `path` is unharmed.
    """
    write_parts(path, (data,))


def write_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """As `write_atomic`, for a file made piece by piece; what making a piece raises leaves `path` unharmed too."""
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}{TEMPORARY}")
    with storage("write", path):
        try:
            _write_new(temporary, parts)
            os.replace(temporary, path)  # noqa: PTH105  one place that writes, one module of calls
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def folder_atomic(folder: Path) -> Iterator[Path]:
    """A fresh folder to fill, which becomes `folder`, new or empty, when the block ends well, and else is removed.

    Raises:
        StorageError: the disk would not take it.
    """
    folder = folder.resolve()
    make_folder(folder.parent)
    unfinished = folder.with_name(f".{folder.name[:80]}.{secrets.token_hex(4)}{TEMPORARY}")
    with storage("write", folder):
        try:
            unfinished.mkdir()
            yield unfinished
            _sync_all(unfinished)
            if folder.exists():
                folder.rmdir()
            os.replace(unfinished, folder)  # noqa: PTH105
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync_folder(folder.parent)


def append_line(path: Path, line: bytes) -> None:
    """Adds `line` at the end of `path`, made if not there, and waits for the disk.

    A last line without a newline, left by a crash, is ended first.

    Raises:
        StorageError: the disk would not take it; the file is as long as before, if the disk allows that much.
    """
    with storage("write", path):
        fresh = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_FOLLOW | _NO_WAIT | _BINARY, 0o666)
        try:
            _append(descriptor, line)
        finally:
            os.close(descriptor)
        if fresh:
            sync_folder(path.parent)


def remove(path: Path) -> None:
    """Removes the file at `path`; none there is fine. Raises StorageError."""
    with storage("remove", path), contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
        sync_folder(path.parent)


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[tuple[int, int]]:
    """The descriptor and size in bytes of a regular file, open for reading.

    Raises:
        StackError: it is missing, or a folder, link, pipe or device stands in its place.
        StorageError: it may not be read.
    """
    with storage("read", path):
        try:
            if path.is_symlink():
                raise StackError(f"{path.name} is a link, not a file.", "Put the file itself there.")
            descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT | _BINARY)
        except FileNotFoundError as error:
            raise StackError(f"{path.name} is missing.", "Put it back, or go on without it.") from error
        except IsADirectoryError as error:
            raise StackError(f"{path.name} is a folder, not a file.") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StackError(f"{path.name} is not a regular file.", "Put the file itself there.")
            yield descriptor, status.st_size
        finally:
            os.close(descriptor)


def read_exactly(descriptor: int, count: int) -> bytes:
    """The next `count` bytes, or fewer at the end of the file. Raises OSError."""
    chunks: list[bytes] = []
    while count > 0:
        chunk = os.read(descriptor, min(count, 2**24))
        if not chunk:
            break
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def read_bytes(path: Path, limit: int) -> bytes:
    """All of a regular file of at most `limit` bytes.

    Raises:
        StackError: it is missing, not a regular file, or larger.
        StorageError: it may not be read.
    """
    with open_regular(path) as (descriptor, size):
        if size > limit:
            raise StackError(f"{path.name} is larger than {limit} bytes.", "It is not one that workbench wrote.")
        return read_exactly(descriptor, size)


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the folder's entries. Raises OSError."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(folder: Path) -> None:
    """Waits until the disk has `folder` and all that lies in it, whoever wrote it. Raises OSError."""
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(parent, name), os.O_RDWR | _BINARY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))


def _write_new(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o666)
    try:
        for part in parts:
            _write_all(descriptor, part)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _append(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size:
        os.lseek(descriptor, size - 1, os.SEEK_SET)
        line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line
    try:
        _write_all(descriptor, line)
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
_BINARY: int = getattr(os, "O_BINARY", 0)
