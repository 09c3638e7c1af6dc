"""The devices. Nothing here is collected by a process that did not ask for them: it would have them for good."""

from __future__ import annotations

import os

import pytest

collect_ignore_glob = [] if os.environ.get("WORKBENCH_PRETEND") else ["test_*.py"]


@pytest.fixture(scope="session")
def device() -> str:
    """The first of the two devices: "pretend:0"."""
    from tests.device.pretend import plug_in

    plug_in()
    return "pretend:0"


@pytest.fixture(scope="session")
def other_device(device: str) -> str:
    """The second one."""
    return device.replace("0", "1")
