"""Engines on small models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.batches import make_deep_model
from tests.engine.making import make_model, open_on
from workbench.engine.engine import Engine


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of 4 layers in a folder. Read only."""
    return make_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with C at three layers, for edits that are spread over them. Read only."""
    return make_deep_model(tmp_path_factory.mktemp("models") / "deep")


@pytest.fixture
def engine(small: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine on the small model with an empty stack."""
    opened = open_on(small, tmp_path / "stack")
    yield opened
    opened.close()
