"""What the model holds along a long line: each step costs its own update, and the bits are those of starting again."""

from __future__ import annotations

import time

import numpy as np
import pytest

from workbench.engine.weights import _ByModule
from workbench.stack.record import Factors

Update = tuple[Factors, ...]


def update(*modules: str) -> Update:
    return tuple(Factors(module, np.ones((1, 2), np.float32), np.ones((2, 1), np.float32)) for module in modules)


def test_updates_are_sorted_by_module_whatever_was_asked_before() -> None:
    found = _ByModule()
    updates = [update("a"), update("b", "a"), update("b"), update("c"), update("a")]
    paths = [updates[:2], updates[:4], updates, updates[:3], [], updates[1:], [*updates[:2], update("a")], updates]
    for path in paths:
        for module in ("a", "b", "c", "d"):
            assert found.of(module, path) == [one for edit in path for one in edit if one.module == module]


def test_an_interruption_leaves_no_half_list(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(tuple[Factors, ...]):
        __slots__ = ()

        def __iter__(self) -> object:  # type: ignore[override]
            raise KeyboardInterrupt

    found, one, two = _ByModule(), update("a"), update("a", "b")
    found.of("a", [one])
    with pytest.raises(KeyboardInterrupt):
        found.of("a", [one, two, Interrupting()])
    assert found.of("a", [one, two]) == [*one, two[0]]


def test_four_thousand_steps_do_not_cost_the_square_of_one() -> None:
    found, line, updates = _ByModule(), list[Update](), [update("a") for _ in range(4_000)]
    start = time.process_time()
    for one in updates:
        line.append(one)
        found.of("a", line)
    assert time.process_time() - start < 8
