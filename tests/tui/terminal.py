"""The real program in a real terminal: a pseudo-terminal, a program in it, and what a person would see."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import secrets
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte

KEYS = {
    "enter": "\r", "escape": "\x1b", "tab": "\t", "up": "\x1b[A", "down": "\x1b[B", "f1": "\x1bOP", "f2": "\x1bOQ",
    "f3": "\x1bOR", "f4": "\x1bOS", "f5": "\x1b[15~", "f8": "\x1b[19~", "space": " ",
    **{f"ctrl+{letter}": chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"},
}  # fmt: skip
MARK = "WORKBENCH_TEST_TERMINAL"
_PRIVATE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\", re.DOTALL)
"""What the screen reader does not know: the keyboard protocol and questions to the terminal."""


class Terminal:
    """A terminal with `arguments` of the workbench running in it, as in a person's shell."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        size: tuple[int, int] = (100, 30),
        *,
        ignore: int = 0,
        patience: float = 60,
        **env: str,
    ) -> None:
        self.columns, self.lines = size
        self.patience = patience
        """Seconds that something may take."""
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        """All that the program wrote."""
        self.mark = secrets.token_hex(8)
        """In the environment of every process of this terminal."""
        self.master, self._slave = pty.openpty()
        self._set_size()
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workbench", *arguments],
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "NO_COLOR": "1", MARK: self.mark, **env},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            preexec_fn=lambda: _own_terminal(ignore),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pid in self.engines():
            os.kill(pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """The terminal's window is closed."""
        for descriptor in (self._slave, self.master):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def text(self) -> str:
        """What is on the screen."""
        self._read(0)
        return "\n".join(self.screen.display)

    def press(self, *keys: str) -> None:
        """Presses keys, by name, or types what is no name."""
        for key in keys:
            os.write(self.master, KEYS.get(key, key).encode())

    def paste(self, text: str) -> None:
        """Pastes text, as a terminal does that was asked to mark what is pasted."""
        os.write(self.master, b"\x1b[200~" + text.encode() + b"\x1b[201~")

    def resize(self, columns: int, lines: int) -> None:
        """The window has another size."""
        self.columns, self.lines = columns, lines
        self.screen.resize(lines, columns)
        self._set_size()
        os.kill(self.process.pid, signal.SIGWINCH)

    def until(self, met: Callable[[str], Any]) -> str:
        """Waits until `met` holds for what is on the screen."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            self._read(0.01)
            text = self.text()
            if met(text):
                return text
            if self.process.poll() is not None:
                break
        raise AssertionError(f"waited in vain, exit code {self.process.poll()}:\n{self.text()}")

    def until_said(self, *words: str) -> str:
        """Waits until all of `words` are on the screen."""
        return self.until(lambda text: all(word in text for word in words))

    def until_written(self, *words: bytes) -> None:
        """Waits until all of `words` were written, and draws nothing of it: `text` does not know it."""
        end = time.monotonic() + self.patience
        while not all(word in self.written for word in words):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"waited in vain, exit code {self.process.poll()}:\n{self.written!r}")
            if select.select([self.master], [], [], 0.5)[0]:
                self.written += os.read(self.master, 65_536)

    def wait(self, seconds: float = 30.0) -> int:
        """Waits until the program has ended, and reads its last words; the exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self._read(0.05)
        code = self.process.wait(timeout=0.1)
        self._read(0.05)
        return code

    def is_sane(self) -> bool:
        """As a shell wants it: the ordinary screen, the cursor shown, no mouse, echo as before."""
        ends = {b"\x1b[?1049": b"l", b"\x1b[?25": b"h", b"\x1b[?1000": b"l", b"\x1b[?1003": b"l", b"\x1b[?2004": b"l"}
        last = {code: self.written[self.written.rfind(code) + len(code) :][:1] for code in ends}
        return last == ends and termios.tcgetattr(self._slave)[3] == self.before[3]

    def engines(self) -> list[int]:
        """Processes that the program started and that still run."""
        return [pid for pid in _descendants_of(self) if pid != self.process.pid]

    def _read(self, wait: float) -> None:
        while select.select([self.master], [], [], wait)[0]:
            try:
                data = os.read(self.master, 65_536)
            except OSError:
                return
            self.written += data
            self._stream.feed(_PRIVATE.sub(b"", data))
            wait = 0

    def _set_size(self) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))


def _own_terminal(ignore: int) -> None:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # under nohup the tests themselves do not hear the first
    if ignore:
        signal.signal(ignore, signal.SIG_IGN)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _descendants_of(terminal: Terminal) -> list[int]:
    """Processes that carry the terminal's own mark in their environment, wherever their parent is."""
    mark = f"{MARK}={terminal.mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
