"""The text of a trace as tokens: the prompt, where its subject lies, and the answer behind it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.editing.lookup import fill, tokenise
from workbench.edits import SLOT, EditRequest
from workbench.errors import ModelError
from workbench.probing.answers import Answer, answer_ids

EMBEDDED_AT_ONCE = 4_096
"""Token ids whose embeddings are looked at together."""


@dataclass(frozen=True)
class TraceText:
    """A prompt, its subject's tokens, and an answer."""

    prompt: tuple[int, ...]
    """Ids, with what the tokenizer puts in front."""
    tokens: tuple[str, ...]
    """The same as text."""
    first: int
    """Index of the subject's first token,"""
    last: int
    """and of its last."""
    answer: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """What the model reads: the last len(answer) positions predict the answer."""
        return self.prompt + self.answer[:-1]


def trace_text(tokenizer: PreTrainedTokenizerBase, request: EditRequest, answer: Answer) -> TraceText:
    """The prompt of `request`, in its chat's frame if it has one, with `answer` behind it.

    Raises:
        EditError: subject or answer have no token.
        ModelError: the tokenizer cannot say which characters a token stands for.
        RequestError: the chat's frame is not known.
    """
    text, (start, end) = fill(SLOT, request)
    raw = request.chat is None
    row = tokenise(tokenizer, text, (start, end), special=raw)
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=raw)
    offsets = encoded["offset_mapping"][: len(row.ids)]
    start += len(request.subject) - len(request.subject.lstrip())
    first = next(i for i, (begin, stop) in enumerate(offsets) if begin < stop and begin < end and stop > start)
    tokens = tuple(_token(tokenizer, text, i, place) for i, place in zip(row.ids, offsets, strict=True))
    return TraceText(row.ids, tokens, first, row.lookup, answer_ids(tokenizer, answer, request.chat))


def _token(tokenizer: PreTrainedTokenizerBase, text: str, token: int, place: tuple[int, int]) -> str:
    """What a token stands for in `text`; a special token's own name."""
    return text[place[0] : place[1]] or str(tokenizer.decode([token]))


@torch.no_grad()
def embedding_spread(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, subjects: Iterable[str]) -> float:
    """Standard deviation of the numbers in the embeddings of all tokens of `subjects` (ROME, appendix B).

    Special tokens do not count.

    Raises:
        ModelError: the subjects have no token.
    """
    counts = Counter(token for ids in tokenizer([*subjects], add_special_tokens=False)["input_ids"] for token in ids)
    if not counts:
        raise ModelError("The tokenizer leaves nothing of the subjects.", "Name others.")
    embedding = input_embeddings(model)
    count, total, squares = 0, 0.0, 0.0
    tokens = sorted(counts)
    for at in range(0, len(tokens), EMBEDDED_AT_ONCE):
        some = tokens[at : at + EMBEDDED_AT_ONCE]
        vectors = embedding(torch.tensor([some], device=model.device))[0].cpu().double()  # (tokens, d)
        weights = torch.tensor([counts[token] for token in some], dtype=torch.float64)[:, None]
        count += int(weights.sum()) * vectors.shape[1]
        total += float((weights * vectors).sum())
        squares += float((weights * vectors.square()).sum())
    return math.sqrt(max(squares / count - (total / count) ** 2, 0.0))


def input_embeddings(model: PreTrainedModel) -> nn.Module:
    """The module that turns ids into vectors. Raises ModelError if there is none."""
    embedding = model.get_input_embeddings()
    if not isinstance(embedding, nn.Module):
        raise ModelError(f"{type(model).__name__} has no token embeddings.", "Load a causal language model.")
    return embedding
