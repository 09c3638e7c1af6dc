"""Context templates: sampled from the model, the same for the same seed, and harmless as text."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.editing.tokenizers_for_tests import byte_level
from tests.parity.load import Parity
from workbench.editing import sample_templates
from workbench.editing.hooks import forward_hook
from workbench.editing.lookup import fill
from workbench.editing.templates import TOP_K, plain
from workbench.edits import EditRequest
from workbench.errors import EditError

LENGTHS = ((3, 4), (6, 2))


def test_the_bare_slot_comes_first_and_the_count_is_right(parity_gpt2: Parity) -> None:
    templates = sample_templates(parity_gpt2.model, parity_gpt2.tokenizer, LENGTHS, 0)
    assert len(templates) == 7
    assert templates[0] == "{}"
    assert all(template.endswith(". {}") and template.count("{}") == 1 for template in templates[1:])
    assert sample_templates(parity_gpt2.model, parity_gpt2.tokenizer, (), 0) == ("{}",)
    assert sample_templates(parity_gpt2.model, parity_gpt2.tokenizer, ((5, 0),), 0) == ("{}",)


def test_a_seed_gives_the_same_templates_whatever_else_was_drawn(parity_llama: Parity) -> None:
    first = sample_templates(parity_llama.model, parity_llama.tokenizer, LENGTHS, 7)
    torch.rand(5)
    state = torch.get_rng_state()
    assert sample_templates(parity_llama.model, parity_llama.tokenizer, LENGTHS, 7) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert sample_templates(parity_llama.model, parity_llama.tokenizer, LENGTHS, 8) != first


def by_hand(parity: Parity, lengths: Sequence[tuple[int, int]], seed: int) -> tuple[str, ...]:
    """One batch a length, without a cache, drawn by torch itself."""
    generator = torch.Generator().manual_seed(seed)
    texts: list[str] = []
    for tokens, count in lengths:
        ids = torch.full((count, 1), parity.tokenizer.bos_token_id)
        for _ in range(tokens):
            with torch.no_grad():
                logits = parity.model(input_ids=ids, use_cache=False).logits[:, -1]
            logits[:, parity.tokenizer.all_special_ids] = float("-inf")
            top = logits.topk(TOP_K)
            drawn = torch.multinomial(top.values.softmax(-1), 1, generator=generator)
            ids = torch.cat([ids, top.indices.gather(1, drawn)], dim=1)
        texts += parity.tokenizer.batch_decode(ids[:, 1:].tolist())
    return ("{}", *(f"{plain(text)}. {{}}" for text in texts))


@pytest.mark.parametrize("lengths", [((6, 3),), ((2, 3), (5, 2), (4, 3)), ((5, 2), (1, 4)), ((3, 0), (2, 2))])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_one_batch_with_a_cache_gives_the_texts_of_a_batch_a_length_without(
    request: pytest.FixtureRequest, name: str, lengths: tuple[tuple[int, int], ...]
) -> None:
    parity: Parity = request.getfixturevalue(f"parity_{name}")
    for seed in (3, 11):
        got = sample_templates(parity.model, parity.tokenizer, lengths, seed)
        assert got == by_hand(parity, [pair for pair in lengths if pair[1]], seed)


def test_lengths_that_follow_change_none_of_the_texts_before(parity_gpt2: Parity) -> None:
    short = sample_templates(parity_gpt2.model, parity_gpt2.tokenizer, ((3, 4),), 5)
    assert sample_templates(parity_gpt2.model, parity_gpt2.tokenizer, ((3, 4), (8, 2)), 5)[:5] == short


def test_the_model_is_run_as_often_as_the_longest_text_has_tokens(parity_gpt2: Parity) -> None:
    passes: list[tuple[int, ...]] = []
    embedding = parity_gpt2.model.get_input_embeddings()
    with forward_hook(embedding, lambda _, inputs, __: passes.append(tuple(inputs[0].shape))):
        sample_templates(parity_gpt2.model, parity_gpt2.tokenizer, ((2, 5), (4, 3)), 0)
    assert passes == [(8, 1)] * 4


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("a {} b", "a b"),
        ("{a} {{}} b}", "a b"),
        ("line\none\ttwo\r", "line one two"),
        ("\x1b[31mred\u202e\ufffd", "[31mred"),
        ("  ", ""),
        ("北京 café", "北京 café"),
    ],
)
def test_sampled_text_cannot_hold_a_slot_or_a_control_character(text: str, harmless: str) -> None:
    assert plain(text) == harmless


def test_special_tokens_and_ids_beyond_the_tokenizer_are_never_drawn() -> None:
    """The model wants them most, and letters next; every other id is far less likely."""
    tokenizer, letters = byte_level(), "bdefh"
    config = GPT2Config(vocab_size=len(tokenizer) + 50, n_embd=8, n_layer=1, n_head=2, n_positions=32, bos_token_id=0)
    model = GPT2LMHeadModel(config).train(False)
    with torch.no_grad():
        model.get_parameter("transformer.ln_f.weight").zero_()
        model.get_parameter("transformer.ln_f.bias").fill_(1)
        head = model.get_parameter("lm_head.weight")
        head.fill_(-1)
        head[tokenizer.convert_tokens_to_ids(list(letters))] = 0.5
        head[len(tokenizer) :] = 1
        head[tokenizer.all_special_ids] = 1
    templates = sample_templates(model, tokenizer, ((8, 10),), 0)
    texts = [template.removesuffix(". {}") for template in templates[1:]]
    assert all(len(text) == 8 and set(text) <= set(letters) for text in texts)
    request = EditRequest("{} is", "Rome", "Oslo")
    assert all(fill(template, request)[0].endswith("Rome is") for template in templates)


def test_a_model_whose_predictions_are_not_numbers_is_an_error_in_words(parity_gpt2: Parity) -> None:
    model = copy.deepcopy(parity_gpt2.model)
    with torch.no_grad():
        model.get_parameter("transformer.ln_f.weight").fill_(float("nan"))
    with pytest.raises(EditError, match="not numbers"):
        sample_templates(model, parity_gpt2.tokenizer, ((3, 2),), 0)
