"""The module that an edit changes is found by structure, in both orientations, or refused in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from workbench.errors import ModelError
from workbench.models.families import EditSite, decoder_blocks, edit_site, layer_count

LLAMA_LIKE: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "head_dim": 8,
    "pad_token_id": 0,
}
SMALL = {key: value for key, value in LLAMA_LIKE.items() if key not in ("num_key_value_heads", "head_dim")}
GPT_LIKE: dict[str, Any] = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 24}

FAMILIES: dict[str, tuple[Any, Any, str, str]] = {
    "gpt2": (GPT2LMHeadModel, GPT2Config(**GPT_LIKE), "transformer.h.1.mlp.c_proj", "in,out"),
    "gptj": (GPTJForCausalLM, GPTJConfig(**GPT_LIKE, rotary_dim=4), "transformer.h.1.mlp.fc_out", "out,in"),
    "llama": (LlamaForCausalLM, LlamaConfig(**LLAMA_LIKE), "model.layers.1.mlp.down_proj", "out,in"),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**LLAMA_LIKE), "model.layers.1.mlp.down_proj", "out,in"),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config(**LLAMA_LIKE), "model.layers.1.mlp.down_proj", "out,in"),
    "neox": (GPTNeoXForCausalLM, GPTNeoXConfig(**SMALL), "gpt_neox.layers.1.mlp.dense_4h_to_h", "out,in"),
    "phi": (PhiForCausalLM, PhiConfig(**SMALL), "model.layers.1.mlp.fc2", "out,in"),
    "opt": (
        OPTForCausalLM,
        OPTConfig(**{**SMALL, "ffn_dim": 24, "word_embed_proj_dim": 16}),
        "model.decoder.layers.1.fc2",
        "out,in",
    ),
    "falcon": (
        FalconForCausalLM,
        FalconConfig(**SMALL, ffn_hidden_size=24),
        "transformer.h.1.mlp.dense_4h_to_h",
        "out,in",
    ),
}


def build(name: str) -> nn.Module:
    kind, config, _, _ = FAMILIES[name]
    model: nn.Module = kind(config).eval()
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_the_down_projection_is_found_and_reached_by_the_forward_pass(name: str) -> None:
    model, (_, _, module, layout) = build(name), FAMILIES[name]
    site = edit_site(model, 1)
    assert site == EditSite(1, module, layout, 24, 16)  # type: ignore[arg-type]
    assert site.weight(model).shape == ((24, 16) if layout == "in,out" else (16, 24))
    assert layer_count(model) == len(decoder_blocks(model)) == 2
    seen: list[tuple[int, int]] = []
    handle = site.linear(model).register_forward_hook(lambda _, i, o: seen.append((i[0].shape[-1], o.shape[-1])))
    with torch.no_grad():
        model(input_ids=torch.tensor([[1, 2, 3]]))
    handle.remove()
    assert seen == [(24, 16)]


@pytest.mark.parametrize("layer", [-1, 2, 99])
def test_a_layer_that_is_not_there_is_said_with_the_range(layer: int) -> None:
    with pytest.raises(ModelError, match=f"no layer {layer}") as caught:
        edit_site(build("gpt2"), layer)
    assert "0 to 1" in caught.value.hint


def test_a_mixture_of_experts_is_refused_in_words() -> None:
    model = MixtralForCausalLM(MixtralConfig(**LLAMA_LIKE, num_local_experts=2))
    assert layer_count(model) == 2
    with pytest.raises(ModelError, match="mixture of experts"):
        edit_site(model, 0)


def test_an_encoder_decoder_is_refused_in_words() -> None:
    config = BartConfig(vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=24)
    with pytest.raises(ModelError, match="several stacks of blocks"):
        edit_site(BartForConditionalGeneration(config), 0)


def test_an_unknown_structure_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match="Sequential has no decoder blocks of a known kind"):
        edit_site(nn.Sequential(nn.Linear(2, 2)), 0)


def test_a_quantised_weight_is_refused_in_words() -> None:
    model = build("llama")
    linear = edit_site(model, 0).linear(model)
    linear.weight = nn.Parameter(torch.zeros(16, 24, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match="quantised"):
        edit_site(model, 0)


def test_a_site_of_another_model_is_refused_in_words() -> None:
    site = edit_site(build("llama"), 1)
    with pytest.raises(ModelError, match="no module"):
        site.weight(build("gpt2"))
    other = LlamaForCausalLM(LlamaConfig(**{**LLAMA_LIKE, "intermediate_size": 32}))
    with pytest.raises(ModelError, match="is not 16 x 24"):
        site.weight(other)
