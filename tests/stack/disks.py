"""Disks that are full or read-only for real, for tests that must not trust a stand-in."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import resource


def mounted(place: Path, size: str) -> bool:
    """Mounts a file system in memory of that size at `place`, if this process may."""
    return _ran("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))


def unmount(place: Path) -> None:
    """Takes it away."""
    assert _ran("umount", "-l", str(place))


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """The file system at `place` takes nothing; no file on it may be open for writing."""
    assert _ran("mount", "-o", "remount,ro", str(place))
    yield
    assert _ran("mount", "-o", "remount,rw", str(place))


@contextlib.contextmanager
def full(place: Path, left: int = 0) -> Iterator[None]:
    """The file system at `place` has `left` bytes left, rounded up to its blocks."""
    ballast = place / "ballast"
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    ballast.write_bytes(b"x" * max(0, free - left))
    yield
    ballast.unlink()


@contextlib.contextmanager
def longest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _ran(*command: str) -> bool:
    program = shutil.which(command[0])
    if program is None:
        return False
    return subprocess.run([program, *command[1:]], capture_output=True, check=False, timeout=20).returncode == 0
