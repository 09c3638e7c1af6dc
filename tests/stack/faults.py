"""A disk that dies at the n-th call that changes it, for the tests of crash safety.

    for step, folder in every_step(prepared, change): ...

`Machine` stands in for `os` in every module that writes. It counts calls, and at one of them the machine dies: the
process is killed, or the power goes and what was not yet on the disk is lost, names and data or data alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn
from unittest import mock

from workbench.stack import files, lock
from workbench.stack.store import Stack

Mode = Literal["killed", "power", "data"]
"""killed: what was written stays. power: all that was not synced is gone. data: its names stay, its data is gone."""
MODES: tuple[Mode, ...] = ("killed", "power", "data")
CHANGING = frozenset({"open", "write", "fsync", "replace", "rename", "unlink", "ftruncate", "mkdir", "rmdir"})
WRITERS = (files, lock)
"""The modules that call the system to change files."""

Change = Callable[[Stack], object]


class CrashError(BaseException):
    """The machine is gone; nothing catches this."""


@dataclass
class _Volatile:
    """What is not on the disk yet."""

    data: dict[str, bytes] = field(default_factory=dict)
    """By path: a file's content when it was last synced."""
    names: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    """Folder, and how to take back what changed in it, oldest first."""


class Machine:
    """Stands in for `os`: counts the calls that change the disk and dies at call number `at`, from 0.

    A write at which it dies has written half.
    """

    def __init__(self, at: int = -1, mode: Mode = "killed", die: Callable[[], NoReturn] | None = None) -> None:
        self.at, self.mode, self.die = at, mode, die
        self.log: list[str] = []
        self.dead = False
        self._open: dict[int, str] = {}
        self._volatile = _Volatile()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name == "close":
            return self._close
        return self._counted(name, real) if name in CHANGING else real

    def bury(self) -> None:
        """What the system does when the process is gone: closes its files, and with them its locks."""
        for descriptor in list(self._open):
            self._close(descriptor)

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise CrashError
            if name != "open" or args[1] & os.O_CREAT:
                self.log.append(name)
                if len(self.log) - 1 == self.at:
                    if name == "write":
                        self._note(name, args)
                        real(args[0], bytes(args[1])[: len(args[1]) // 2])
                    self._perish()
            self._note(name, args)
            result: Any = None if name == "fsync" else real(*args, **kwargs)
            if name == "open":
                self._open[result] = str(args[0])
            return result

        return call

    def _close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        os.close(descriptor)

    def _perish(self) -> NoReturn:
        self.dead = True
        if self.die is not None:
            self.die()
        if self.mode == "power":
            for _, take_back in reversed(self._volatile.names):
                take_back()
        if self.mode != "killed":
            for path, content in self._volatile.data.items():
                if Path(path).exists():
                    Path(path).write_bytes(content)
        raise CrashError

    def _note(self, name: str, args: tuple[Any, ...]) -> None:
        """Remembers how to take back what `name` is about to do, until it is synced."""
        if name in ("write", "ftruncate"):
            path = self._open[args[0]]
            self._volatile.data.setdefault(path, Path(path).read_bytes())
        elif name == "fsync":
            self._synced(args[0])
        elif name == "open" and args[1] & os.O_CREAT and not os.path.lexists(args[0]):
            self._later(args[0], lambda: Path(args[0]).unlink(missing_ok=True))
        elif name in ("replace", "rename"):
            self._note_replace(*map(str, args[:2]))
        elif name == "unlink" and os.path.lexists(args[0]):
            self._later(args[0], _writer_of(args[0]))

    def _note_replace(self, source: str, target: str) -> None:
        before = Path(target).read_bytes() if Path(target).exists() else None

        def take_back() -> None:
            Path(target).replace(source)
            if before is not None:
                Path(target).write_bytes(before)

        self._later(target, take_back)
        if source in self._volatile.data:
            self._volatile.data[target] = self._volatile.data.pop(source)

    def _later(self, path: str | Path, take_back: Callable[[], None]) -> None:
        self._volatile.names.append((str(Path(path).parent), take_back))

    def _synced(self, descriptor: int) -> None:
        path = self._open[descriptor]
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._volatile.names = [one for one in self._volatile.names if one[0] != path]
        self._volatile.data.pop(path, None)


def _writer_of(path: str) -> Callable[[], None]:
    """Puts back what lies at `path` now."""
    content = Path(path).read_bytes()

    def put_back() -> None:
        Path(path).write_bytes(content)

    return put_back


@contextlib.contextmanager
def running(machine: Machine) -> Iterator[Machine]:
    """Everything that writes does so on `machine`, which is buried in the end."""
    with contextlib.ExitStack() as stack:
        for module in WRITERS:
            stack.enter_context(mock.patch.object(module, "os", machine))
        stack.callback(machine.bury)
        yield machine


def change_on(machine: Machine, folder: Path, change: Change) -> None:
    """Opens the stack in `folder` on `machine`, makes `change`, closes it."""
    with running(machine), Stack.open(folder, write=True) as stack:
        change(stack)


def count(folder: Path, change: Change) -> int:
    """How many calls `change` makes that change the disk, opening and closing included; makes it."""
    machine = Machine()
    change_on(machine, folder, change)
    return len(machine.log)


def crash(folder: Path, change: Change, at: int, mode: Mode) -> None:
    """Makes `change` on a machine that dies at call `at`: in a child that is gone at once, or with the power."""
    if mode != "killed":
        with contextlib.suppress(CrashError):
            change_on(Machine(at, mode), folder, change)
        return
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            change_on(Machine(at, mode, lambda: os._exit(9)), folder, change)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def every_step(prepared: Path, change: Change, mode: Mode) -> Iterator[tuple[int, Path]]:
    """For each call that `change` makes: its number, and a copy of `prepared` in which it died there."""
    counted = prepared.with_name(f"{prepared.name}-count")
    shutil.copytree(prepared, counted)
    for step in range(count(counted, change)):
        folder = prepared.with_name(f"{prepared.name}-{mode}-{step}")
        shutil.copytree(prepared, folder)
        crash(folder, change, step, mode)
        yield step, folder
        shutil.rmtree(folder)
    shutil.rmtree(counted)
