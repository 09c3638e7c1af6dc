"""The screen goes first: it wants little of the processor, and wants it at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NICE = 5
"""How much the engine stands back behind its screen."""
_SESSION = Path("/proc/self/autogroup")


def stand_back() -> None:
    """Lowers the priority of this process and, if it has one of its own, of its session.

    Linux shares the processor between sessions first, and heeds nice values only within one of them (sched(7),
    autogroup); the engine has a session of its own. Where that may not be changed, as in some containers, the screen is
    a little less smooth and nothing else.
    """
    if not hasattr(os, "nice"):
        return
    os.nice(NICE)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            _SESSION.write_text(str(NICE))
