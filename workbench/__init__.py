"""Edit what a language model knows, one fact at a time, and always be able to go back.

The public names are looked up when they are first used, so importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.lazily import lazily

if TYPE_CHECKING:
    from workbench.edits import EditRequest, Neighbour, Recipe
    from workbench.engine.engine import Engine, open_engine
    from workbench.errors import (
        AlteredFile,
        BaseMismatch,
        DeviceError,
        EditError,
        Interrupted,
        ModelError,
        RequestError,
        StackBusy,
        StackError,
        StorageError,
        UsageError,
        VerificationError,
        WorkbenchError,
    )
    from workbench.requests import read_requests
    from workbench.stack.store import Stack

__version__ = "0.1.0"

_HOMES = {
    "workbench.edits": ("EditRequest", "Neighbour", "Recipe"),
    "workbench.engine.engine": ("Engine", "open_engine"),
    "workbench.errors": (
        "AlteredFile",
        "BaseMismatch",
        "DeviceError",
        "EditError",
        "Interrupted",
        "ModelError",
        "RequestError",
        "StackBusy",
        "StackError",
        "StorageError",
        "UsageError",
        "VerificationError",
        "WorkbenchError",
    ),
    "workbench.requests": ("read_requests",),
    "workbench.stack.store": ("Stack",),
}

__all__ = [
    "AlteredFile",
    "BaseMismatch",
    "DeviceError",
    "EditError",
    "EditRequest",
    "Engine",
    "Interrupted",
    "ModelError",
    "Neighbour",
    "Recipe",
    "RequestError",
    "Stack",
    "StackBusy",
    "StackError",
    "StorageError",
    "UsageError",
    "VerificationError",
    "WorkbenchError",
    "__version__",
    "open_engine",
    "read_requests",
]

if not TYPE_CHECKING:  # else a name that is not there would be of any type
    __getattr__ = lazily(__name__, _HOMES)
