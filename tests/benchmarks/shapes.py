"""Models of well-known shapes with random weights, and a request of ordinary length for them: nothing is downloaded."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTJConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from workbench.editing.second_moment import SecondMoment
from workbench.edits import EditRequest, Neighbour, Recipe

_WORDS = 400
_SPECIAL = {"unk_token": "<unk>", "eos_token": "<end>"}
REQUEST = EditRequest(
    prompt="w10 w11 {} w12 w13 w14",
    subject="w1 w2 w3",
    target_new="w20",
    target_true="w21",
    paraphrases=("w30 w31 w32 w1 w2 w3 w33 w34", "w1 w2 w3 w35 w36 w37"),
    neighbours=tuple(Neighbour(f"w{number} w{number + 1} w10 w11 w12 w13 w14", "w21") for number in range(40, 60, 2)),
)
"""A word is a token. As in the median of CounterFact's prompts with GPT-2's tokenizer there are eight, and four of them
stand from the subject's last token on; the target is one."""


@dataclass(frozen=True)
class Shape:
    """A well-known model without its weights."""

    name: str
    config: Callable[[], PretrainedConfig]
    layer: int
    """Where it is edited."""


def _gpt2(layers: int, width: int, heads: int) -> Callable[[], PretrainedConfig]:
    return lambda: GPT2Config(n_layer=layers, n_embd=width, n_head=heads)


def _llama(**sides: Any) -> Callable[[], PretrainedConfig]:
    return lambda: LlamaConfig(max_position_embeddings=2048, **sides)


_SMALL: dict[str, Any] = {"vocab_size": 512, "bos_token_id": 1, "eos_token_id": 1}
TINY = Shape("a tiny GPT-2", lambda: GPT2Config(n_layer=4, n_embd=48, n_head=4, n_positions=96, **_SMALL), 1)
TINY_LLAMA = Shape(
    "a tiny Llama",
    _llama(hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=160, **_SMALL),
    1,
)
GPT2 = Shape("GPT-2 small's shape", _gpt2(12, 768, 12), 4)
GPT2_MEDIUM = Shape("GPT-2 medium's shape", _gpt2(24, 1024, 16), 8)
GPT2_XL = Shape("GPT-2 XL's shape", _gpt2(48, 1600, 25), 17)
GPTJ = Shape("GPT-J-6B's shape", GPTJConfig, 5)
LLAMA_1B = Shape(
    "Llama-3.2-1B's shape",
    _llama(
        hidden_size=2048,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        intermediate_size=8192,
        vocab_size=128_256,
        tie_word_embeddings=True,
    ),
    5,
)
LLAMA_8B = Shape(
    "Llama-3-8B's shape",
    _llama(
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        intermediate_size=14336,
        vocab_size=128_256,
    ),
    5,
)


def random_model(shape: Shape, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A model of that shape, made on its device."""
    auto: Any = AutoModelForCausalLM
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        model: PreTrainedModel = auto.from_config(shape.config(), dtype=dtype)
    model.train(False)
    return model


def word_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer of the words w0, w1, ..., each one token, and of "is a", which every edit reads."""
    words = [*_SPECIAL.values(), "is", "a", *(f"w{number}" for number in range(_WORDS))]
    unknown = {"unk_token": _SPECIAL["unk_token"]}
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, **unknown))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerBase = fast(tokenizer_object=tokenizer, **_SPECIAL)
    return made


def context_templates(recipe: Recipe) -> tuple[str, ...]:
    """Random words in the numbers that `recipe` asks for, the bare slot first."""
    rng = random.Random(recipe.seed)
    lengths = [tokens for tokens, count in recipe.template_lengths for _ in range(count)]
    return ("{}", *(" ".join(f"w{rng.randrange(60, _WORDS)}" for _ in range(length)) + " {}" for length in lengths))


def random_moment(dimension: int, device: str = "cpu") -> SecondMoment:
    """A well-conditioned C, (dimension, dimension), that is not diagonal."""
    draw = torch.randn(dimension, 256, generator=torch.Generator().manual_seed(1)).to(device)
    return SecondMoment(draw @ draw.T / 256 + torch.eye(dimension, device=device), 100 * dimension, "random")
