"""Small models that many tests share; torch is imported by those that ask for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# Before torch is imported: threads that wait for each other cost more than these small models, ten times on a busy CPU.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from tests.parity.load import Parity


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that is kept between runs of the program is read or written by a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("WORKBENCH_CONFIG", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="session")
def parity_gpt2() -> Parity:
    """A GPT-2 of 4 layers (weights stored in, out; no BOS) and its golden numbers. Read only."""
    from tests.parity.load import load

    return load("gpt2")


@pytest.fixture(scope="session")
def parity_llama() -> Parity:
    """A Llama of 4 layers (weights stored out, in; BOS) and its golden numbers. Read only."""
    from tests.parity.load import load

    return load("llama")
