"""Where what a person has set lies: settings, and their own editing profiles."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "WORKBENCH_CONFIG"


def config_root() -> Path:
    """$WORKBENCH_CONFIG, else workbench in $XDG_CONFIG_HOME or ~/.config; it need not exist."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "workbench"
