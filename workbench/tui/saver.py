"""Writes a file in the background, newest content last, so that a slow disk never holds up the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.stack.files import make_folder, write_atomic


class Saver:
    """One file. Contents that are overtaken by newer ones before they are written are skipped.

    Args:
        path: the file; its folder is made if it is not there.
        tell: takes what went wrong, on the event loop.
    """

    def __init__(self, path: Path, tell: Callable[[WorkbenchError], None]) -> None:
        self._path, self._tell = path, tell
        self._newest: bytes | None = None
        self._writing: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def __call__(self, data: bytes) -> None:
        """`data` will be the file's content. To be called on the event loop."""
        self._newest = data
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._drain())

    async def close(self) -> None:
        """Returns when everything is on disk, or has been told that it is not."""
        if self._writing is not None:
            await self._writing
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    async def _drain(self) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue")
        while self._newest is not None:
            data, self._newest = self._newest, None
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, _write, self._path, data)
            except WorkbenchError as error:
                self._tell(error)


def _write(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    write_atomic(path, data)
