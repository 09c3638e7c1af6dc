"""config.json before transformers sees it: numbers so large that making such a model would never end are refused.

transformers makes one entry or block for each layer that a configuration names, before it looks at a single weight.
"""

from __future__ import annotations

import json
from pathlib import Path

from workbench.errors import ModelError

MAX_BYTES = 16 * 1024**2
"""Largest configuration; real ones take kilobytes."""
COUNTS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
"""What configurations call the number of their layers."""
MOST = 10_000
"""Layers; the deepest models have some hundreds."""


def check_config(folder: Path, name: str) -> None:
    """Raises ModelError if the configuration in `folder` is of an absurd size, or of a model of one.

    What else may be wrong with it is for transformers to find.
    """
    path = folder / "config.json"
    hint = "Put the model's own config.json into the folder."
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"The configuration of '{name}' is larger than {MAX_BYTES // 1024**2} MiB.", hint)
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    parts = [document, *document.values()] if isinstance(document, dict) else []
    counts = [part.get(key) for part in parts if isinstance(part, dict) for key in COUNTS]
    if any(isinstance(count, (int, float)) and count > MOST for count in counts):
        raise ModelError(f"The configuration of '{name}' names more layers than any model has.", hint)
