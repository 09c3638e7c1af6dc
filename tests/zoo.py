"""A tiny random model of every family that people edit, with a tokenizer and a folder that the engine opens.

Weights are drawn anew, large and without zeros, so that attention, MLPs, biases and norms all matter.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from workbench.edits import Recipe
from workbench.models.profiles import PROFILE

_MODEL = Path(__file__).parent / "parity" / "gpt2" / "model"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")

_IDS: dict[str, Any] = {"vocab_size": 620, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
_PLAIN: dict[str, Any] = {
    **_IDS,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 96,
}
_GROUPED: dict[str, Any] = {**_PLAIN, "num_key_value_heads": 2}
GROUPED_HEADS: dict[str, Any] = {**_GROUPED, "head_dim": 8}
"""Settings that most families since Llama share."""
EXPERTS: dict[str, Any] = {
    **GROUPED_HEADS,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 48,
    "decoder_sparse_step": 1,
}
"""The same of mixtures of experts, by the names that one or another of them has for them."""
_LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "head_dim": 4,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
}
_GPT2: dict[str, Any] = {**_IDS, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 96}
_FALCON: dict[str, Any] = {**_PLAIN, "ffn_hidden_size": 48}
_OPT: dict[str, Any] = {**_PLAIN, "ffn_dim": 48, "word_embed_proj_dim": 32}
_SLIDING: dict[str, Any] = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}

_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {**_GPT2, "n_inner": 48}),
    "gpt_bigcode": ("gpt_bigcode", {**_GPT2, "n_inner": 48}),
    "gptj": ("gptj", {**_GPT2, "n_inner": 48, "rotary_dim": 4}),
    "codegen": ("codegen", {**_GPT2, "n_inner": 48, "rotary_dim": 4}),
    "gpt_neo": (
        "gpt_neo",
        {
            **_IDS,
            "hidden_size": 32,
            "num_layers": 4,
            "num_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 96,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 8,
        },
    ),
    "gpt_neox": ("gpt_neox", _PLAIN),
    "gpt_neox_sequential": ("gpt_neox", {**_PLAIN, "use_parallel_residual": False}),
    "opt": ("opt", _OPT),
    "opt_post_norm": ("opt", {**_OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "bloom": ("bloom", {**_IDS, "hidden_size": 32, "n_layer": 4, "n_head": 4}),
    "mpt": ("mpt", {**_IDS, "d_model": 32, "n_layers": 4, "n_heads": 4, "max_seq_len": 96}),
    "falcon": ("falcon", _FALCON),
    "falcon_grouped": ("falcon", {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon_sequential": (
        "falcon",
        {**_FALCON, "parallel_attn": False, "alibi": True, "bias": True, "multi_query": False},
    ),
    "llama": ("llama", GROUPED_HEADS),
    "mistral": ("mistral", {**GROUPED_HEADS, "sliding_window": 8}),
    "ministral": ("ministral", {**GROUPED_HEADS, **_SLIDING}),
    "qwen2": ("qwen2", _GROUPED),
    "qwen3": ("qwen3", GROUPED_HEADS),
    "gemma": ("gemma", GROUPED_HEADS),
    "gemma2": (
        "gemma2",
        {
            **GROUPED_HEADS,
            **_SLIDING,
            "query_pre_attn_scalar": 8,
            "final_logit_softcapping": 2.0,
            "attn_logit_softcapping": 2.0,
        },
    ),
    "gemma3": ("gemma3_text", {**GROUPED_HEADS, **_SLIDING, "query_pre_attn_scalar": 8}),
    "phi": ("phi", {**_PLAIN, "partial_rotary_factor": 0.5}),
    "phi3": ("phi3", _GROUPED),
    "stablelm": ("stablelm", {**_GROUPED, "use_qkv_bias": True}),
    "olmo": ("olmo", _GROUPED),
    "olmo2": ("olmo2", _GROUPED),
    "olmo3": ("olmo3", {**_GROUPED, **_SLIDING}),
    "granite": ("granite", {**_GROUPED, "residual_multiplier": 0.5, "logits_scaling": 2.0}),
    "starcoder2": ("starcoder2", _GROUPED),
    "cohere": ("cohere", {**_GROUPED, "logit_scale": 0.5}),
    "cohere2": ("cohere2", {**GROUPED_HEADS, **_SLIDING, "logit_scale": 0.5}),
    "glm": ("glm", GROUPED_HEADS),
    "glm4": ("glm4", GROUPED_HEADS),
    "smollm3": ("smollm3", _GROUPED),
    "nemotron": ("nemotron", GROUPED_HEADS),
    "persimmon": ("persimmon", _PLAIN),
    "ernie4_5": ("ernie4_5", GROUPED_HEADS),
    "exaone4": ("exaone4", {**GROUPED_HEADS, **_SLIDING}),
    "hunyuan": ("hunyuan_v1_dense", GROUPED_HEADS),
    "helium": ("helium", GROUPED_HEADS),
    "arcee": ("arcee", GROUPED_HEADS),
    "apertus": ("apertus", _GROUPED),
    "seed_oss": ("seed_oss", GROUPED_HEADS),
    "xglm": (
        "xglm",
        {**_IDS, "d_model": 32, "ffn_dim": 48, "num_layers": 4, "attention_heads": 4, "max_position_embeddings": 96},
    ),
    "biogpt": ("biogpt", _PLAIN),
    "qwen3_5": (
        "qwen3_5_text",
        {
            **GROUPED_HEADS,
            "layer_types": ["linear_attention", "full_attention"] * 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
        },
    ),
    "gemma4": (
        "gemma4_text",
        {
            **GROUPED_HEADS,
            **_SLIDING,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 620,
            "num_kv_shared_layers": 0,
            "global_head_dim": 8,
        },
    ),
    "deepseek_v3": ("deepseek_v3", {**EXPERTS, **_LATENT, "first_k_dense_replace": 2, "n_group": 1, "topk_group": 1}),
    "qwen2_moe": ("qwen2_moe", EXPERTS),
}
"""What a family is to transformers, and the settings that make it small; variants of one have names of their own."""

_MAMBA: dict[str, Any] = {
    **GROUPED_HEADS,
    "mamba_d_state": 8,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
_HYBRIDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bamba": ("bamba", {**_MAMBA, "attn_layer_indices": [1, 3]}),
    "falcon_h1": ("falcon_h1", {**_MAMBA, "mamba_d_ssm": 64}),
    "granite_hybrid": (
        "granitemoehybrid",
        {**_MAMBA, "layer_types": ["mamba", "attention"] * 2, "shared_intermediate_size": 48, "num_local_experts": 0},
    ),
    "nemotron_h": (
        "nemotron_h",
        {
            **GROUPED_HEADS,
            "layers_block_type": ["mamba", "mlp", "attention", "mlp"],
            "ssm_state_size": 8,
            "mamba_num_heads": 8,
            "mamba_head_dim": 8,
            "n_groups": 1,
            "chunk_size": 8,
        },
    ),
    "lfm2": (
        "lfm2",
        {**GROUPED_HEADS, "layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False},
    ),
    "olmo_hybrid": (
        "olmo_hybrid",
        {
            **GROUPED_HEADS,
            "layer_types": ["linear_attention", "full_attention"] * 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 4,
            "linear_num_value_heads": 4,
        },
    ),
}
"""The same for models whose layers are in part no attention, and whose MLPs can be edited all the same."""


def _known(configs: dict[str, tuple[str, dict[str, Any]]]) -> tuple[str, ...]:
    return tuple(family for family, (kind, _) in configs.items() if kind in CONFIG_MAPPING)


FAMILIES: tuple[str, ...] = _known(_CONFIGS)
"""Every family that the installed transformers has; deepseek_v3 and qwen2_moe have experts beside what is edited."""
HYBRIDS: tuple[str, ...] = _known(_HYBRIDS)
"""State spaces, convolutions and linear attention between the layers of attention."""


def tiny(family: str, *, seed: int = 7, dtype: torch.dtype = torch.float32, **changes: Any) -> PreTrainedModel:
    """A random model of `family` in evaluation mode: 4 layers, d = 32, a context of 96 tokens.

    `changes` are settings of its configuration in place of the zoo's.
    """
    kind, settings = (_CONFIGS | _HYBRIDS)[family]
    return built(kind, {**settings, **changes}, seed, dtype)


def built(kind: str, settings: dict[str, Any], seed: int = 7, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The same for any `kind` of model that transformers knows, with these `settings` alone."""
    auto: Any = AutoModelForCausalLM  # which transformers leaves untyped
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = auto.from_config(AutoConfig.for_model(kind, **settings), dtype=dtype)
        _draw(model)
    model.train(False)
    return model


def tokenizer(family: str = "gpt2") -> PreTrainedTokenizerBase:
    """The tokenizer of the tests, which every model of the zoo has: byte-level, 620 tokens, no BOS in front."""
    if family not in _CONFIGS | _HYBRIDS:
        raise KeyError(family)
    loaded: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(_MODEL)
    return loaded


def save(folder: Path, family: str) -> Path:
    """Writes `tiny(family)`, its tokenizer and an editing profile into `folder`, and returns it."""
    tiny(family).save_pretrained(folder)
    for name in _TOKENIZER:
        shutil.copyfile(_MODEL / name, folder / name)
    recipe = Recipe(layer=1, steps=4, template_lengths=((3, 2),), second_moment=False)
    (folder / PROFILE).write_text(json.dumps(recipe.to_json()), encoding="utf-8")
    return folder


@torch.no_grad()
def _draw(model: PreTrainedModel) -> None:
    """Draws matrices with a deviation of 0.25 and moves vectors (biases, norms) by 0.1, away from zeros and ones.

    Drawn in float32 and rounded: one seed is one model in every dtype.
    """
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape)
        parameter.copy_(drawn * 0.25 if parameter.dim() == 2 else parameter.float() + drawn * 0.1)
