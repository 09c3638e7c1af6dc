"""Holding the logits of an edited model against those of its base with an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from workbench.engine.engine import Engine

PROMPTS = ("The mother tongue of Naguib Mahfouz is", "Knut Hamsun plays the", "Vienna is the old")
RELATIVE = {"float32": 3e-6, "float16": 3e-3, "bfloat16": 2e-2}
"""Largest difference of logits over the largest logit. The adapter is added unrounded, the weight is rounded."""


@torch.no_grad()
def logits(model: torch.nn.Module, tokenizer: object, prompts: Sequence[str]) -> list[torch.Tensor]:
    assert callable(tokenizer)
    return [model(**tokenizer(prompt, return_tensors="pt")).logits.double() for prompt in prompts]


def difference(engine: Engine, adapter: Path, dtype: str, prompts: Sequence[str] = PROMPTS) -> tuple[float, float]:
    """Largest difference of logits over the largest logit: of the adapter on the base, and of the base alone."""
    from peft import PeftModel

    loaded = engine.core.loaded
    base = AutoModelForCausalLM.from_pretrained(loaded.folder, dtype=getattr(torch, dtype))
    edited, before = (logits(model, loaded.tokenizer, prompts) for model in (loaded.model, base))
    found = logits(PeftModel.from_pretrained(base, adapter).eval(), loaded.tokenizer, prompts)
    largest = max(float(one.abs().max()) for one in edited)
    apart = [max(float((a - b).abs().max()) for a, b in zip(edited, other, strict=True)) for other in (found, before)]
    return apart[0] / largest, apart[1] / largest


def merged_difference(engine: Engine, folder: Path, prompts: Sequence[str] = PROMPTS) -> float:
    """The same of the merged checkpoint in `folder`, loaded anew; 0 if every logit has the same bits."""
    loaded = engine.core.loaded
    merged = AutoModelForCausalLM.from_pretrained(folder)
    ours, theirs = (logits(model, loaded.tokenizer, prompts) for model in (loaded.model, merged))
    apart = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    return apart / max(float(one.abs().max()) for one in ours)
