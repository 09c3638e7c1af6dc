"""Contexts to logits: what comes after each of many token sequences, in few padded batches.

A context that begins another one is read from the other's row, every row is read once, and the language-model head
runs only where a prediction is wanted. Causality makes this exact: no token sees what follows it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from workbench.editing.hooks import only_at
from workbench.errors import EditError
from workbench.models.context import context_length

Context = tuple[int, ...]
"""The tokens before the one that is predicted."""

BATCH_TOKENS = 4096
"""Tokens of one forward pass, padding included."""
LOGITS = 2**25
"""Numbers in the logits of one forward pass, at most, where there is more than one row."""


@dataclass(frozen=True)
class Batch:
    """Rows for one forward pass, and the contexts read from them."""

    rows: tuple[Context, ...]
    contexts: tuple[Context, ...]
    places: tuple[tuple[int, int], ...]
    """Of each context: its row, and the position of its last token there."""


@torch.no_grad()
def next_logits(
    model: PreTrainedModel, contexts: Iterable[Context], tokens: int = BATCH_TOKENS
) -> Iterator[tuple[tuple[Context, ...], Tensor]]:
    """Yields (n contexts, logits (n, vocabulary) in the model's dtype) batch by batch, each context once.

    Args:
        model: a causal language model in evaluation mode.
        contexts: none of them empty; the same one may come again.
        tokens: of one forward pass, padding included.

    Raises:
        EditError: a context is longer than the model reads.
    """
    vocabulary = int(model.config.get_text_config().vocab_size)
    for batch in batches(contexts, tokens, max(1, LOGITS // vocabulary)):
        _check_length(model, batch)
        yield batch.contexts, _logits(model, batch)


def batches(contexts: Iterable[Context], tokens: int, places: int) -> Iterator[Batch]:
    """Rows of like length together, as many as `tokens` (padding included) and `places` (predictions) allow."""
    read = _by_row(contexts)
    batch: list[Context] = []
    for row in sorted(read, key=len):
        wanted = sum(len(read[one]) for one in batch) + len(read[row])
        if batch and ((len(batch) + 1) * len(row) > tokens or wanted > places):
            yield _batch(batch, read)
            batch = []
        batch.append(row)
    if batch:
        yield _batch(batch, read)


def _by_row(contexts: Iterable[Context]) -> dict[Context, list[Context]]:
    """The contexts that begin no other one, each with itself and those that begin it."""
    ordered = sorted(set(contexts))
    # In this order a context that begins others stands right before the first of them.
    rows = [one for one, after in zip(ordered, [*ordered[1:], ()], strict=False) if after[: len(one)] != one]
    read: dict[Context, list[Context]] = {row: [] for row in rows}
    for one in ordered:
        read[rows[bisect_left(rows, one)]].append(one)
    return read


def _batch(rows: Sequence[Context], read: dict[Context, list[Context]]) -> Batch:
    found = [(one, (i, len(one) - 1)) for i, row in enumerate(rows) for one in read[row]]
    return Batch(tuple(rows), tuple(one for one, _ in found), tuple(place for _, place in found))


def _check_length(model: PreTrainedModel, batch: Batch) -> None:
    limit = context_length(model)
    longest = len(batch.rows[-1])
    if limit is not None and longest > limit:
        raise EditError(f"A prompt takes {longest} tokens; the model reads {limit}.", "Shorten the prompt.")


def _logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """(contexts, vocabulary)."""
    width = len(batch.rows[-1])
    ids = torch.zeros(len(batch.rows), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(batch.rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    places = torch.tensor([row * width + position for row, position in batch.places])
    return logits_at(model, ids.to(model.device), mask.to(model.device), places)


def logits_at(model: PreTrainedModel, ids: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """Logits at the flat indices `places`, ascending, of right-padded `ids` (rows, length): (places, vocabulary)."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(head, nn.Module):
        return _flat(model(input_ids=ids, attention_mask=mask, use_cache=False).logits)[places.to(ids.device)]
    with only_at(head, places):
        logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    # A model that does not send its states through that module as they are gives all places.
    return logits[0] if logits.shape[:2] == (1, len(places)) else _flat(logits)[places.to(logits.device)]


def _flat(logits: Tensor) -> Tensor:
    return logits.reshape(-1, logits.shape[-1])
