"""Many contexts at once: each is read as it would be alone, however they begin each other and are put together."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from tests.parity.load import Parity
from tests.parity.load import load as load_parity
from tests.zoo import FAMILIES, tiny
from workbench.editing.hooks import forward_hook
from workbench.errors import EditError
from workbench.probing.forward import Context, batches, next_logits

contexts = st.lists(st.lists(st.integers(5, 9), min_size=1, max_size=6).map(tuple), min_size=1, max_size=12)
"""Of few ids and short, so that many begin others."""


@functools.cache
def golden(name: str) -> Parity:
    return load_parity(name)


def read(model: PreTrainedModel, asked: Sequence[Context], tokens: int = 4096) -> dict[Context, Tensor]:
    found: dict[Context, Tensor] = {}
    for batch, logits in next_logits(model, asked, tokens):
        assert not found.keys() & set(batch)
        found.update(zip(batch, logits, strict=True))
    return found


@torch.no_grad()
def alone(model: PreTrainedModel, context: Context) -> Tensor:
    logits: Tensor = model(torch.tensor([context])).logits[0, -1]
    return logits


@settings(max_examples=40, deadline=None)
@given(asked=contexts, tokens=st.integers(1, 40), name=st.sampled_from(["gpt2", "llama"]))
def test_every_context_is_read_as_if_it_were_alone(asked: list[Context], tokens: int, name: str) -> None:
    model = golden(name).model
    found = read(model, asked, tokens)
    assert found.keys() == set(asked)
    for context, logits in found.items():
        torch.testing.assert_close(logits.log_softmax(-1), alone(model, context).log_softmax(-1), rtol=2e-5, atol=2e-5)


@settings(max_examples=200, deadline=None)
@given(asked=contexts, tokens=st.integers(1, 40), places=st.integers(1, 9))
def test_no_context_is_missed_and_no_row_begins_another(asked: list[Context], tokens: int, places: int) -> None:
    made = list(batches(asked, tokens, places))
    rows = [row for batch in made for row in batch.rows]
    assert sorted(context for batch in made for context in batch.contexts) == sorted(set(asked))
    assert not any(a != b and b[: len(a)] == a for a in rows for b in rows)
    for batch in made:
        assert len(batch.rows) == 1 or len(batch.rows) * max(map(len, batch.rows)) <= tokens
        assert len(batch.rows) == 1 or len(batch.places) <= places
        for context, (row, position) in zip(batch.contexts, batch.places, strict=True):
            assert batch.rows[row][: position + 1] == context


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_reads_a_batch_as_single_rows(family: str) -> None:
    model = tiny(family)
    asked: list[Context] = [(7, 8, 9), (7, 8), (7, 8, 9, 5, 6, 4), (11, 12, 13, 14), (6,), (7, 8, 3)]
    for context, logits in read(model, asked).items():
        torch.testing.assert_close(logits.log_softmax(-1), alone(model, context).log_softmax(-1), rtol=2e-5, atol=2e-5)


def test_the_head_sees_only_what_is_asked(parity_gpt2: Parity) -> None:
    seen: list[torch.Size] = []
    head = parity_gpt2.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    with forward_hook(head, lambda _, __, output: seen.append(output.shape[:2])):
        read(parity_gpt2.model, [(5, 6, 7, 8), (5, 6), (9, 5, 6)])
    assert seen == [(1, 3)]


def test_a_model_whose_head_is_not_to_be_found_is_read_all_the_same(
    parity_gpt2: Parity, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Context] = [(5, 6, 7, 8), (5, 6), (9, 5, 6)]
    expected = read(parity_gpt2.model, asked)
    monkeypatch.setattr(type(parity_gpt2.model), "get_output_embeddings", lambda _: None)
    for context, logits in read(parity_gpt2.model, asked).items():
        torch.testing.assert_close(logits, expected[context], rtol=0, atol=1e-5)


def test_a_context_longer_than_the_model_reads_is_said(parity_gpt2: Parity) -> None:
    limit = parity_gpt2.model.config.max_position_embeddings
    assert len(read(parity_gpt2.model, [(5,) * limit])) == 1
    with pytest.raises(EditError, match="the model reads"):
        read(parity_gpt2.model, [(5,) * (limit + 1)])
