"""What is being written in the form, kept in a small file beside the queue's, so that it is there again after leaving.

It is on disk soon after the last key, not after each: the queue, which takes the edit over, is on disk before that.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from workbench.errors import StorageError, UsageError, WorkbenchError
from workbench.stack.files import read_bytes
from workbench.tui.aside import moved_aside
from workbench.tui.draft import Draft
from workbench.tui.saver import Saver

FILE = "draft.json"
FORMAT = 1
MAX_BYTES = 256 * 1024
PAUSE = 0.5
"""Seconds after which what was typed is on its way to the disk."""


class KeptDraft:
    """The draft of one stack.

    Args:
        save: takes the file's content; None keeps it in memory only.
        draft: what was typed last.
    """

    def __init__(self, save: Saver | None = None, draft: Draft | None = None) -> None:
        self.draft = draft or Draft()
        """What is typed now."""
        self._saver = save
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, draft: Draft) -> None:
        """`draft` is what is typed now. To be called on the event loop."""
        if draft == self.draft:
            return
        self.draft = draft
        if self._saver is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._save)

    async def close(self) -> None:
        """Returns when it is on disk; nothing is written from then on."""
        if self._timer is not None:
            self._timer.cancel()
            self._save()
        saver, self._saver = self._saver, None
        if saver is not None:
            await saver.close()

    def _save(self) -> None:
        self._timer = None
        if self._saver is not None:
            document = {"format": FORMAT, "draft": self.draft.to_json()}
            self._saver(json.dumps(document, ensure_ascii=True, indent=1).encode())


def read_draft(folder: Path) -> tuple[Draft, str]:
    """The draft kept in `folder`, and what is to be said about it. Raises StorageError."""
    path = folder / FILE
    if not path.exists():
        return Draft(), ""
    try:
        document = json.loads(read_bytes(path, MAX_BYTES))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise UsageError("it is not a draft of this version")
        return Draft.from_json(document.get("draft")), ""
    except StorageError:
        raise
    except (WorkbenchError, ValueError, RecursionError) as error:
        return Draft(), f"What was in the form could not be read ({error}) and was moved to {moved_aside(path)}."
