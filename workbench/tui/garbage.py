"""The search for garbage, kept away from key presses: a search through all that the screen is made of takes 150 ms.

What is there when the screen stands stays for good, so it is never searched again. What comes is searched while it is
young, in searches too short to be felt; what has grown old is searched when nobody has touched anything for a while.
Only for a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

SETTLED = 2.5
"""Seconds after which the screen stands."""
THRESHOLDS = (5_000, 4, 1_000)
"""New objects, and searches of the younger ages, before each age is searched; Python's own are (700, 10, 10).

On a slow machine the first takes 4 ms then and the second 11, where (5_000, 20, 50) had 60; the third takes 250.
"""
DUE = 50
"""Searches of the second age after which one of the third is due; it comes by itself only after THRESHOLDS[2]."""
LOOK, QUIET = 1.0, 5.0
"""Seconds between two looks at whether it is due, and without a key or a click before it is made."""


def begin() -> None:
    """No search while the program is imported and the first screen made."""
    gc.disable()


async def tend(untouched: Callable[[], float]) -> None:
    """Settles once the screen stands, and from then on searches what is old while it is quiet; never returns.

    Args:
        untouched: seconds since a person did something.
    """
    await asyncio.sleep(SETTLED)
    settle()
    while True:
        await asyncio.sleep(LOOK)
        if gc.get_count()[2] >= DUE and untouched() >= QUIET:
            gc.collect()


def settle() -> None:
    """What there is now is kept without being searched; what comes is searched as THRESHOLDS has it."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
