"""Stopping an edit half way: asked before every piece of work, and nothing has moved when it happens."""

from __future__ import annotations

from collections.abc import Callable

from workbench.errors import Interrupted


class Cancelled(Interrupted):
    """The edit in flight was stopped; no weight has moved."""


def check(cancelled: Callable[[], bool]) -> None:
    """Raises Cancelled if `cancelled()`."""
    if cancelled():
        raise Cancelled("The edit was stopped.", "No weight has changed.")
