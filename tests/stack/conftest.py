"""The stack's tests do not wait for the disk: thousands of fsyncs take minutes and prove nothing here."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest

from tests.stack.making import Disk
from workbench.stack import files


@pytest.fixture(autouse=True)
def quick_disk() -> Iterator[Disk]:
    with mock.patch.object(files, "os", Disk()) as disk:
        yield disk
