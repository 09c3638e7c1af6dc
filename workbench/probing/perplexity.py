"""Perplexity on held-out text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.models.context import context_length
from workbench.probing.forward import BATCH_TOKENS, LOGITS, logits_at

LARGEST_EXPONENT = 700.0
"""Beyond this mean negative log-likelihood, in nats, the perplexity is no longer a float: infinite."""
CPU_TOKENS = 384
"""Tokens of one forward pass on a CPU, padding included: what a layer makes of them stays in its cache."""


@torch.no_grad()
def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lines: Sequence[str], tokens: int | None = None
) -> float:
    """Exp of the mean negative log-likelihood per token, every line read from its own start, as far as the model reads.

    Infinite where the model's predictions are not numbers; NaN without a token to predict. `tokens` are read in one
    forward pass, padding included; without it as many as suit the device.
    """
    limit = context_length(model)
    encoded = [torch.tensor(ids[:limit]) for ids in tokenizer([*lines])["input_ids"]] if lines else []
    rows = sorted((row for row in encoded if len(row) > 1), key=len)
    predicted = sum(len(row) - 1 for row in rows)
    if not predicted:
        return math.nan
    total = sum(_nll(model, batch) for batch in _batches(rows, tokens or _suitable(model)))
    return math.exp(total / predicted) if total / predicted < LARGEST_EXPONENT else math.inf


def _suitable(model: PreTrainedModel) -> int:
    most = CPU_TOKENS if model.device.type == "cpu" else BATCH_TOKENS
    return min(most, LOGITS // int(model.config.get_text_config().vocab_size))


def _batches(rows: Sequence[Tensor], tokens: int) -> Iterator[list[Tensor]]:
    """`rows`, which grow longer, in batches of at most `tokens`, padding included; at least one row each."""
    batch: list[Tensor] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row) > tokens:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def _nll(model: PreTrainedModel, rows: list[Tensor]) -> float:
    """Negative log-likelihood of all tokens of `rows` but their first, summed in float64; NaN counts as infinite."""
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    at = torch.arange(ids.shape[1])
    mask = at < lengths[:, None]
    places = (at < lengths[:, None] - 1).flatten().nonzero()[:, 0]  # of all tokens but the last of each row
    target = ids.flatten()[places + 1].to(model.device)
    logits = logits_at(model, ids.to(model.device), mask.long().to(model.device), places)
    total = cross_entropy(logits.float(), target.to(logits.device), reduction="none").cpu().double().sum().item()
    return math.inf if math.isnan(total) else total
