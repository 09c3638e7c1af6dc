"""Perplexity on held-out text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.no_grad()
def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lines: Sequence[str], batch: int = 32
) -> float:
    """Exp of the mean negative log-likelihood per token, every line read from its own start; NaN without a token."""
    encoded = sorted((tokenizer(line)["input_ids"] for line in lines), key=len)
    total, tokens = 0.0, 0
    for start in range(0, len(encoded), batch):
        rows = [torch.tensor(ids) for ids in encoded[start : start + batch] if len(ids) > 1]
        if not rows:
            continue
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.device)
        lengths = torch.tensor([len(row) for row in rows], device=model.device)
        mask = torch.arange(ids.shape[1], device=model.device)[None, :] < lengths[:, None]
        logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
        logp = logits[:, :-1].float().log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)
        total -= logp[mask[:, 1:]].double().sum().item()
        tokens += int(mask[:, 1:].sum())
    return math.exp(total / tokens) if tokens else math.nan
