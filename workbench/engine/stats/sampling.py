"""Text sampled from the model itself, for those who have none: whole rows from BOS on, by the model's own odds.

Temperature 1 and no truncation: the keys are those of what the model believes text to be. A batch depends on the seed
and its own number only, so that any of them can be made alone.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from workbench.engine.stats.packing import head_of
from workbench.errors import ModelError
from workbench.models.load import LoadedModel

CACHE = 2**30
"""Bytes that the keys and values of the attention may take while a batch is sampled."""
MOST_ROWS = 64


def rows_at_once(loaded: LoadedModel, window: int) -> int:
    """Rows of a sampled batch: as many as CACHE holds, at most MOST_ROWS."""
    config = loaded.model.config.get_text_config()
    a_token = 2 * int(config.num_hidden_layers) * int(config.hidden_size) * loaded.dtype.itemsize
    return max(1, min(MOST_ROWS, CACHE // (a_token * window)))


@torch.no_grad()
def sampling(loaded: LoadedModel, rows: int, length: int, seed: int, number: int) -> Generator[int, None, Tensor]:
    """Yields how many tokens are written, after each of a row; returns batch `number` of the text with `seed`.

    (rows, length), int64, on the CPU; the same on the same device and library versions. No global randomness is used.

    Raises:
        ModelError: the model's predictions are not numbers, as in too narrow a dtype.
    """
    model, device = loaded.model, loaded.model.device
    generator = torch.Generator(device).manual_seed(seed * 1_000_003 + number)
    begin = _begin(loaded)[:length]
    ids = torch.tensor([begin] * rows, device=device)  # (rows, tokens of the beginning)
    banned = _banned(loaded).to(device)
    texts, cache, new = [ids], None, ids
    for _ in range(length - len(begin)):
        output: Any = model(input_ids=new, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        new = _draw(output.logits[:, -1], banned, generator)
        texts.append(new)
        yield rows * (len(begin) + len(texts) - 1)
    return torch.cat(texts, dim=1).cpu()


def _draw(logits: Tensor, banned: Tensor, generator: torch.Generator) -> Tensor:
    """One id a row, (rows, vocabulary) to (rows, 1)."""
    odds = logits.float().masked_fill(banned, float("-inf")).softmax(dim=-1)
    if not bool(odds.isfinite().all()):
        raise ModelError("The model's predictions are not numbers.", "Load the model in float32 or bfloat16.")
    return torch.multinomial(odds, 1, generator=generator)


def _begin(loaded: LoadedModel) -> list[int]:
    """What a row begins with: what the tokenizer puts before a text, else BOS, else EOS, else an ordinary word."""
    tokenizer = loaded.tokenizer
    head = head_of(tokenizer)
    if head:
        return list(head)
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return [token]
    return [int(tokenizer("The", add_special_tokens=False)["input_ids"][0])]


def _banned(loaded: LoadedModel) -> Tensor:
    """(vocabulary,), true for ids that are no text; EOS stays, it ends a document within a row."""
    head: Any = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    vocabulary = int(head.weight.shape[0])
    banned = torch.arange(vocabulary) >= len(loaded.tokenizer)
    banned[[i for i in loaded.tokenizer.all_special_ids if i < vocabulary]] = True
    if isinstance(loaded.tokenizer.eos_token_id, int) and loaded.tokenizer.eos_token_id < vocabulary:
        banned[loaded.tokenizer.eos_token_id] = False
    return banned
