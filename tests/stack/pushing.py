"""Stacks that are pushed and pulled in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stack.making import base, edit, factors
from workbench.errors import WorkbenchError
from workbench.events import Pushed
from workbench.stack.pulling import pull
from workbench.stack.pushing import push
from workbench.stack.store import Stack

REPO = "ada/facts"


def add(folder: Path, *subjects: str) -> list[str]:
    """Appends an edit for each subject; returns the ids of the line."""
    with Stack.open(folder, write=True, base=base()) as stack:
        for subject in subjects:
            seed = len(stack.line) + len(stack.others) + sum(map(ord, subject))
            stack.append(edit(subject), factors(seed))
        return [one.id for one in stack.line]


def ids(folder: Path) -> list[str]:
    with Stack.open(folder) as stack:
        return [one.id for one in stack.line]


def pushed(folder: Path, repo: str = REPO, **more: Any) -> Pushed:
    with Stack.open(folder) as stack:
        return push(stack, repo, **more)


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def told(error: type[WorkbenchError], match: str, repo: str, folder: Path) -> None:
    with pytest.raises(error, match=match):
        pull(repo, folder)
    assert not folder.exists()
