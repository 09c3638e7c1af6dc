"""Perplexity on held-out text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

LARGEST_EXPONENT = 700.0
"""Beyond this mean negative log-likelihood, in nats, the perplexity is no longer a float: infinite."""


@torch.no_grad()
def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lines: Sequence[str], batch: int = 32
) -> float:
    """Exp of the mean negative log-likelihood per token, every line read from its own start, as far as the model reads.

    Infinite where the model's predictions are not numbers; NaN without a token to predict.
    """
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    encoded = sorted((torch.tensor(tokenizer(line)["input_ids"][:limit]) for line in lines), key=len)
    rows = [row for row in encoded if len(row) > 1]
    total = sum(_nll(model, rows[start : start + batch]) for start in range(0, len(rows), batch))
    tokens = sum(len(row) - 1 for row in rows)
    if not tokens:
        return math.nan
    return math.exp(total / tokens) if total / tokens < LARGEST_EXPONENT else math.inf


def _nll(model: PreTrainedModel, rows: Sequence[Tensor]) -> float:
    """Negative log-likelihood of all tokens of `rows` but their first, summed in float64; NaN counts as infinite."""
    ids = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(model.device)
    lengths = torch.tensor([len(row) for row in rows], device=model.device)
    mask = torch.arange(ids.shape[1], device=model.device)[None, :] < lengths[:, None]
    logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    log_p = logits[:, :-1].float().log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)
    total = -log_p[mask[:, 1:]].cpu().double().sum().item()
    return math.inf if math.isnan(total) else total
