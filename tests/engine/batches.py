"""Edits of many requests for the tests of the engine: a small model with C at three layers, and what to ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.engine.making import OTHER, PARITY, REQUEST, make_model
from workbench.edits import EditRequest
from workbench.models.families import edit_site
from workbench.models.fingerprint import base_fingerprint
from workbench.models.second_moment import MomentRecord, write_second_moment

THIRD = EditRequest("{} is", "Clara", "a river of stone", paraphrases=("Everybody says that Clara is",))
REQUESTS = (REQUEST, OTHER, THIRD)
UNMAKEABLE = EditRequest("{} is " + "very " * 400, "Vienna", "old")
"""Longer than the small model reads."""

EMMET: dict[str, Any] = {"method": "emmet"}
MEMIT: dict[str, Any] = {"method": "memit", "moment_weight": 1.0}
SPREAD: dict[str, Any] = {**MEMIT, "layers": [0, 1, 2]}
CHANGES = {"emmet": EMMET, "memit": MEMIT, "memit over three layers": SPREAD}


def make_deep_model(folder: Path) -> Path:
    """The small GPT-2 with C at layers 0 to 2."""
    make_model(folder, moment=False)
    moments = load_file(PARITY / "gpt2" / "expected.safetensors")
    model, base = AutoModelForCausalLM.from_pretrained(folder), base_fingerprint(folder)
    for layer in (0, 1, 2):
        site = edit_site(model, layer)
        write_second_moment(folder, site, moments[f"second_moment/{layer}"], MomentRecord(site.module, 6279, base))
    return folder
