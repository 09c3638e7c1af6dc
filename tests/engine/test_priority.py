"""The engine stands back behind its screen, in its own session too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.engine.priority import NICE

SAID = """
import os
from pathlib import Path
from workbench.engine.priority import stand_back
before = os.nice(0)
stand_back()
print(os.nice(0) - before)
print(Path("/proc/self/autogroup").read_text().split()[-1])
"""
AUTOGROUP = Path("/proc/self/autogroup")


def shares_by_session() -> bool:
    """Whether this kernel has autogroups and lets them be changed: in some containers the file is there, and empty."""
    return os.access(AUTOGROUP, os.W_OK) and bool(AUTOGROUP.read_text().strip())


by_session = pytest.mark.skipif(not shares_by_session(), reason="this kernel does not share by session")


def nice_after(*, own_session: bool) -> tuple[int, int]:
    """Of the process, by how much it rose; and of its session."""
    ran = subprocess.run(
        [sys.executable, "-c", SAID], start_new_session=own_session, capture_output=True, text=True, check=True
    )
    process, session = map(int, ran.stdout.split())
    return process, session


@by_session
def test_process_and_session_stand_back() -> None:
    assert nice_after(own_session=True) == (NICE, NICE)


@by_session
def test_a_session_that_others_are_in_is_left_alone() -> None:
    ours = int(AUTOGROUP.read_text().split()[-1])
    assert nice_after(own_session=False) == (NICE, ours)
