"""How hard the tests of hostile files and crashes try: a little in every run, a lot with WORKBENCH_THOROUGH=1."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("WORKBENCH_THOROUGH", "") not in ("", "0")


def tries(few: int, many: int) -> int:
    """`few`, or `many` when trying hard."""
    return many if THOROUGH else few
