"""The benchmarks by name. Each is a function `rows(quick)` of a module that yields its lines as they are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

from tests.benchmarks.measuring import Row

BENCHMARKS = {
    "edit-atlas": "edit:atlas",
    "edit-gpt2": "edit:gpt2",
    "edit-gpt2-medium": "edit:gpt2_medium",
    "edit-llama-1b": "edit:llama_1b",
    "edit-cuda": "edit_cuda:rows",
    "together": "together:rows",
    "materialise": "materialise:rows",
    "parity": "parity:rows",
    "probes": "probes:rows",
    "stats": "stats:rows",
    "startup": "startup:rows",
    "screen": "screen:rows",
    "memory": "memory:rows",
}
"""Module of this package and function. The order is that in which they run."""


def named(names: list[str]) -> list[str]:
    """The benchmarks that are meant by `names`, each a name or the beginning of some; all of them if there is none.

    Raises:
        KeyError: a name means nothing.
    """
    chosen = []
    for name in names or [""]:
        found = [one for one in BENCHMARKS if one == name] or [one for one in BENCHMARKS if one.startswith(name)]
        if not found:
            raise KeyError(name)
        chosen += [one for one in found if one not in chosen]
    return chosen


def benchmark(name: str) -> Callable[[bool], Iterator[Row]]:
    """The function of that benchmark."""
    module, function = BENCHMARKS[name].split(":")
    found: Callable[[bool], Iterator[Row]] = getattr(import_module(f"tests.benchmarks.{module}"), function)
    return found
