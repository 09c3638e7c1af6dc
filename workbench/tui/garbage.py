"""The search for garbage, kept away from key presses: a search through all that the screen is made of takes 150 ms.

What is there when the screen stands stays for good, so it is never searched again. Only for a process of its own.
"""

from __future__ import annotations

import asyncio
import gc

SETTLED = 2.5
"""Seconds after which the screen stands."""
THRESHOLDS = (5_000, 20, 50)
"""New objects, and searches of the younger ages, before each age is searched; Python's own are (700, 10, 10)."""


def begin() -> None:
    """No search while the program is imported and the first screen made."""
    gc.disable()


async def settle_later() -> None:
    """Settles once the screen stands."""
    await asyncio.sleep(SETTLED)
    settle()


def settle() -> None:
    """What there is now is kept without being searched; what comes is searched, seldom."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
