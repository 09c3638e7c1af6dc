"""Small models that many tests share; torch is imported by those that ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.parity.load import Parity


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
