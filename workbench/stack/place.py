"""Where a model's stack lies unless one is named."""

from __future__ import annotations

import re
from pathlib import Path

STACKS = Path("edits")
"""The folder of stacks, below the folder one works in."""


def default_stack(model: str) -> Path:
    """edits/<base>: edits/atlas, edits/openai-community--gpt2, and the folder's own name for a model in a folder."""
    name = Path(model).resolve().name if Path(model).is_dir() else model
    return STACKS / (re.sub(r"[/\\]", "--", name) or "model")
