"""Where a model's stack lies unless one is named."""

from __future__ import annotations

import os
import re
from pathlib import Path

STACKS = Path("edits")
"""The folder of stacks, below the folder one works in."""


def default_stack(model: str) -> Path:
    """edits/<base>: edits/atlas, edits/openai-community--gpt2, and the folder's own name for a model in a folder."""
    name = Path(model).resolve().name if os.path.isdir(model) else model  # noqa: PTH112  False for what is no path
    return STACKS / (re.sub(r"[/\\]", "--", name) or "model")
