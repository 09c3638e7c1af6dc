"""Two next-token distributions held against each other: KL in nats, and which of the likeliest tokens both have."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


def kl_divergence(log_p: Tensor, log_q: Tensor) -> list[float]:
    """KL(p ‖ q) in nats, row by row of two (n, vocabulary) tables of log-probabilities, summed in float64."""
    log_p, log_q = log_p.double(), log_q.double()
    share = torch.where(log_p == -torch.inf, 0.0, log_p.exp() * (log_p - log_q))
    return [max(value, 0.0) if value == value else value for value in share.sum(-1).tolist()]  # NaN stays NaN


def shared_top(log_p: Tensor, log_q: Tensor, k: int) -> tuple[int, int]:
    """How many of the k likeliest tokens of p, (vocabulary,), are among those of q; and k, or the vocabulary's size."""
    k = min(k, log_p.shape[-1])
    first, second = (set(one.topk(k).indices.tolist()) for one in (log_p, log_q))
    return len(first & second), k


def top_tokens(tokenizer: PreTrainedTokenizerBase, log_p: Tensor, k: int) -> tuple[tuple[str, float], ...]:
    """The k likeliest tokens of log_p, (vocabulary,), as text, with their probabilities, likeliest first."""
    best = log_p.exp().topk(min(k, log_p.shape[-1]))
    words = (str(tokenizer.decode([token])) for token in best.indices.tolist())
    return tuple(zip(words, best.values.tolist(), strict=True))
