"""Entropy and consistency against values by hand, and the text they are measured on."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from tests.parity.load import Parity
from workbench.probing.metrics_sampling import written
from workbench.probing.metrics_text import References, entropy


def test_the_entropy_of_a_text_is_that_by_hand() -> None:
    # bigrams: ab ba ab bc, 1/2 1/4 1/4: 1.5 bits; trigrams: aba bab abc, all different: log2 3 bits
    assert entropy(["a b a b c"]) == pytest.approx((2 / 3 * 1.5 + 4 / 3 * math.log2(3)) / 2)


def test_a_model_that_repeats_itself_has_no_entropy() -> None:
    assert entropy(["Italy Italy Italy Italy Italy"]) == 0.0
    assert entropy(["Italy"]) == 0.0
    assert entropy([]) is None


def test_entropy_is_the_mean_over_texts_and_marks_are_words() -> None:
    one, other = "Rome, the city.", "It's old"
    assert entropy([one, other]) == pytest.approx(((entropy([one]) or 0) + (entropy([other]) or 0)) / 2)
    assert entropy(["a, a, a,"]) == entropy(["a b a b a b"])


def test_consistency_is_the_cosine_by_hand() -> None:
    found = References({"Rome": ("forum river", "forum hill"), "Oslo": ("fjord river",)})
    # three documents; forum and river are in two of them, hill and fjord in one
    common, rare = math.log(4 / 3) + 1, math.log(4 / 2) + 1
    references = {"forum": 2 * common, "river": common, "hill": rare}
    size = math.hypot(*references.values())
    dot = common * references["river"] + 2 * rare * 0
    assert found.consistency("Rome", ["The river, a fjord fjord"]) == pytest.approx(
        dot / size / math.hypot(common, 2 * rare)
    )


def test_the_same_text_is_wholly_consistent_and_another_not_at_all() -> None:
    found = References({"Rome": ("forum river",)})
    assert found.consistency("Rome", ["forum", "river"]) == pytest.approx(1.0)
    assert found.consistency("Rome", ["nothing in common"]) == 0.0
    assert found.consistency("Oslo", ["forum"]) is None
    assert found.consistency("Rome", []) is None


PROMPTS = ["The mother tongue of Naguib Mahfouz is", "Clara", "Clara"]


def test_what_is_written_begins_with_its_prompt_and_is_as_long_as_asked(parity_gpt2: Parity) -> None:
    state = torch.get_rng_state()
    texts = written(parity_gpt2.model, parity_gpt2.tokenizer, PROMPTS, 30, seed=3)
    assert texts == written(parity_gpt2.model, parity_gpt2.tokenizer, PROMPTS, 30, seed=3)
    assert texts != written(parity_gpt2.model, parity_gpt2.tokenizer, PROMPTS, 30, seed=4)
    assert texts[1] != texts[2]
    assert torch.equal(state, torch.get_rng_state())
    for text, prompt in zip(texts, PROMPTS, strict=True):
        assert text.startswith(prompt)
        assert len(text) > len(prompt)


def test_every_token_is_one_of_the_likeliest(parity_llama: Parity) -> None:
    (text,) = written(parity_llama.model, parity_llama.tokenizer, ["Clara"], 12, seed=0)
    ids = parity_llama.tokenizer(text, return_tensors="pt")["input_ids"]
    start = len(parity_llama.tokenizer("Clara")["input_ids"])
    with torch.no_grad():
        best = parity_llama.model(ids).logits[0].topk(5).indices
    assert all(int(ids[0, i]) in best[i - 1].tolist() for i in range(start, ids.shape[1]))


def test_a_broken_model_writes_nothing(parity_gpt2: Parity) -> None:
    broken = copy.deepcopy(parity_gpt2.model)
    with torch.no_grad():
        broken.get_parameter("transformer.h.1.mlp.c_proj.weight").fill_(math.nan)
    assert written(broken, parity_gpt2.tokenizer, PROMPTS, 30, seed=3) == PROMPTS


def test_a_prompt_that_is_long_enough_stays_as_it_is(parity_gpt2: Parity) -> None:
    assert written(parity_gpt2.model, parity_gpt2.tokenizer, PROMPTS[:1], 3, seed=3) == PROMPTS[:1]
