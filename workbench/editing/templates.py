"""Context templates, sampled from the model itself: text that may stand in front of a prompt.

Source: ROME, arXiv 2202.05262, section 3.1: prefixes that make the key independent of what comes before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.editing.flags import frozen
from workbench.edits import SLOT
from workbench.errors import EditError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOP_K = 5
"""Tokens are drawn from this many likeliest ones, as in the papers' code."""


def sample_templates(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lengths: Sequence[tuple[int, int]], seed: int
) -> tuple[str, ...]:
    """The bare `{}`, then for every (tokens, how many) of `lengths` that many texts, each followed by ". {}".

    The same seed gives the same templates on the same device and library versions; no global randomness is used.

    Raises:
        EditError: the model's predictions are not numbers, as in too narrow a dtype.
    """
    wanted = [pair for pair in lengths if pair[1]]
    if not wanted:
        return (SLOT,)
    ids = _sample(model, _start(tokenizer), wanted, _banned(model, tokenizer), seed)
    rows = zip(ids.tolist(), _row_lengths(wanted), strict=True)
    texts = tokenizer.batch_decode([row[:tokens] for row, tokens in rows], skip_special_tokens=True)
    return (SLOT, *(f"{plain(text)}. {SLOT}" for text in texts))


def plain(text: str) -> str:
    """`text` on one line, with nothing in it that is a slot, a control character or half a character."""
    unbraced = text.replace("{", " ").replace("}", " ").replace("\ufffd", " ")
    return " ".join("".join(c if c.isprintable() else " " for c in unbraced).split())


def _sample(model: PreTrainedModel, start: int, wanted: Sequence[tuple[int, int]], banned: Tensor, seed: int) -> Tensor:
    """(rows, longest) ids behind the token `start`, in one batch with the KV cache; short rows are to be cut."""
    rows = len(_row_lengths(wanted))
    noise = _noise(wanted, min(TOP_K, len(banned)), seed)
    ids = torch.full((rows, 1), start)
    chosen: list[Tensor] = []
    cache = None
    with frozen(model), torch.no_grad():
        for one in noise:
            output = model(input_ids=ids.to(model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            ids = _draw(output.logits[:, -1].float().cpu(), banned, one)
            chosen.append(ids)
    return torch.cat(chosen, dim=1)


def _row_lengths(wanted: Sequence[tuple[int, int]]) -> list[int]:
    return [tokens for tokens, count in wanted for _ in range(count)]


def _noise(wanted: Sequence[tuple[int, int]], width: int, seed: int) -> Tensor:
    """Exponential noise to draw by, (longest, rows, width): one where a row has ended.

    Taken from the generator length by length and step by step, as `torch.multinomial` would for a batch a length: the
    texts of one length do not depend on what lengths follow.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = torch.ones(max(tokens for tokens, _ in wanted), len(_row_lengths(wanted)), width)
    first = 0
    for tokens, count in wanted:
        for step in range(tokens):
            noise[step, first : first + count] = torch.empty(count, width).exponential_(generator=generator)
        first += count
    return noise


def _draw(logits: Tensor, banned: Tensor, noise: Tensor) -> Tensor:
    """One id a row out of the likeliest, with their probabilities: (rows, vocabulary) to (rows, 1).

    The largest of p / q, q being exponential noise, (rows, at most TOP_K), is a draw by p.

    Raises:
        EditError: the logits are not numbers.
    """
    if bool(logits.isnan().any()):
        raise EditError("The model's predictions are not numbers.", "Load the model in float32 or bfloat16.")
    values, places = logits.masked_fill(banned, float("-inf")).topk(noise.shape[1], dim=-1)
    drawn = (values.softmax(dim=-1) / noise).argmax(dim=-1, keepdim=True)
    return places.gather(1, drawn)


def _start(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that begins a text; for a tokenizer without one, the first of an ordinary word."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    return int(tokenizer("The", add_special_tokens=False)["input_ids"][0])


def _banned(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """(vocabulary,), true for ids that are no text: special tokens, and rows of the head beyond the tokenizer."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    banned = torch.arange(vocabulary) >= len(tokenizer)
    banned[[i for i in tokenizer.all_special_ids if i < vocabulary]] = True
    return banned
