"""Text that a model writes, to be measured: drawn from its likeliest tokens, as the papers do, many prompts at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.editing.lookup import prompt_ids
from workbench.edits import Chat
from workbench.models.context import context_length

TOP_K = 5
"""Tokens are drawn from this many likeliest ones."""


@torch.no_grad()
def written(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    length: int,
    seed: int,
    chat: Chat | None = None,
) -> list[str]:
    """Each prompt with what the model writes behind it, up to `length` tokens with the prompt.

    A text ends earlier at the model's end-of-text token, where its positions are used up, or where its predictions are
    no numbers. The same prompts and seed give the same texts; no global randomness is used.

    Raises:
        EditError: a prompt has no token.
    """
    rows = [prompt_ids(tokenizer, prompt, chat) for prompt in prompts]
    most = min(length, context_length(model) or length)
    generator = torch.Generator().manual_seed(seed)
    texts = [*prompts]
    for size in sorted({len(row) for row in rows if len(row) < most}):
        chosen = [i for i, row in enumerate(rows) if len(row) == size]  # of one length: no padding
        drawn = _draw(model, torch.tensor([rows[i] for i in chosen]), most - size, generator)
        for i, ids in zip(chosen, drawn.tolist(), strict=True):
            texts[i] += str(tokenizer.decode(_ended(ids, tokenizer.eos_token_id)))
    return texts


def _draw(model: PreTrainedModel, ids: Tensor, tokens: int, generator: torch.Generator) -> Tensor:
    """(rows, length) to (rows, tokens); -1 from where there are no numbers on."""
    found: list[Tensor] = []
    broken, cache = torch.zeros(len(ids), dtype=torch.bool), None
    for _ in range(tokens):
        out = model(input_ids=ids.to(model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = out.past_key_values
        logits = out.logits[:, -1].float().cpu()
        broken |= logits.isnan().any(-1)
        best = logits.masked_fill(broken[:, None], 0.0).topk(min(TOP_K, logits.shape[1]))
        ids = best.indices.gather(1, torch.multinomial(best.values.softmax(-1), 1, generator=generator))
        found.append(ids[:, 0].masked_fill(broken, -1))
    return torch.stack(found, dim=1)


def _ended(ids: list[int], end: object) -> list[int]:
    """What stands before the first token that ends a text."""
    return ids[: next((i for i, token in enumerate(ids) if token in (end, -1)), len(ids))]
