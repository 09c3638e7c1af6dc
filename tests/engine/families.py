"""One small model of each architecture, as a folder that the engine opens: Conv1D, Linear, and parallel residuals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from tests.engine.making import PARITY, make_model
from workbench.edits import Recipe
from workbench.models.profiles import PROFILE

FAMILIES = ("gpt2", "llama", "gpt_neox")


def make_family(folder: Path, family: str) -> Path:
    """A small random model of `family` in `folder`, with an editing profile."""
    if family != "gpt_neox":
        return make_model(folder, family)
    shutil.copytree(PARITY / "gpt2" / "model", folder)
    torch.manual_seed(7)
    config = GPTNeoXConfig(
        vocab_size=620,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=96,
        initializer_range=0.25,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    recipe = Recipe(layer=1, steps=4, template_lengths=((3, 2),), second_moment=False)
    (folder / PROFILE).write_text(json.dumps(recipe.to_json()), encoding="utf-8")
    return folder
