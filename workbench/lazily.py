"""Names of a module that are imported when they are first asked for (PEP 562): nobody waits for what is not used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of module `package`; for type checkers it imports the same names under TYPE_CHECKING.

    Args:
        package: the full name of the module that has the names.
        homes: the names by the full name of the module that defines them. Any other is an AttributeError.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def found(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return found
