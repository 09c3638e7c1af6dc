"""An adapter made by hand, for tests that read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from workbench.stack.adapter import CONFIG, WEIGHTS

MODULE = "transformer.h.1.mlp.c_proj"
KEY = f"base_model.model.{MODULE}"
D_IN, D_OUT = 128, 32


def write(folder: Path, config: Mapping[str, Any] | None = None, **tensors: torch.Tensor) -> Path:
    """An adapter by hand: rank 2 on one module, with changes."""
    folder.mkdir(exist_ok=True)
    document = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", **(config or {})}
    (folder / CONFIG).write_text(json.dumps(document))
    torch.manual_seed(1)
    a, b = torch.randn(2, D_IN) / 50, torch.randn(D_OUT, 2) / 50
    save_file({f"{KEY}.lora_A.weight": a, f"{KEY}.lora_B.weight": b, **tensors}, folder / WEIGHTS)
    return folder
