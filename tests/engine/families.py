"""One small model of each architecture, as a folder that the engine opens: Conv1D, Linear, and parallel residuals."""

from __future__ import annotations

from pathlib import Path

from tests import zoo
from tests.engine.making import make_model

FAMILIES = ("gpt2", "llama", "gpt_neox")


def make_family(folder: Path, family: str) -> Path:
    """A small random model of `family` in `folder`, with an editing profile."""
    return make_model(folder, family) if family != "gpt_neox" else zoo.save(folder, family)
