"""Edit what a language model knows, one fact at a time, and always be able to go back.

The public names are looked up when they are first used, so importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

_ERRORS = (
    "AlteredFile BaseMismatch DeviceError EditError Interrupted ModelError RequestError StackBusy StackError "
    "StorageError UsageError VerificationError WorkbenchError"
)
_HOMES = {
    "EditRequest": "edits",
    "Neighbour": "edits",
    "Recipe": "edits",
    "Engine": "engine.engine",
    "open_engine": "engine.engine",
    "Stack": "stack.store",
    "read_requests": "requests",
    **dict.fromkeys(_ERRORS.split(), "errors"),
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute '{name}'")
    return getattr(importlib.import_module(f"workbench.{_HOMES[name]}"), name)
