"""Runs the tests in inside/ in a process of their own, for a process that was given a device keeps it.

To run them by hand: WORKBENCH_PRETEND=1 pytest tests/device/inside
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.device.building import NoCompilerError, library

INSIDE = Path(__file__).parent / "inside"
SECONDS = 600


def test_everything_works_on_another_device_than_the_cpu() -> None:
    try:
        library()
    except NoCompilerError as error:
        pytest.skip(str(error))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(INSIDE)],
        env={**os.environ, "WORKBENCH_PRETEND": "1", "PYTEST_ADDOPTS": ""},
        cwd=INSIDE.parents[2],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
