"""What a model answers: likeliest next tokens, and how probable given answers are. Padded batches, no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.editing.lookup import prompt_ids, target_ids
from workbench.errors import EditError

BATCH_TOKENS = 4096
"""Tokens of one forward, padding included."""


Answer = str | tuple[int, ...]
"""As text, which gets its leading space; or the very tokens, which need not start with one."""


@dataclass(frozen=True)
class Question:
    """A prompt, and the answers whose probability is asked for."""

    prompt: str
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What the model says to a question."""

    probabilities: tuple[float, ...]
    """Of each answer: the geometric mean over its tokens of p(token | what came before)."""
    greedy: tuple[bool, ...]
    """Of each answer: whether every token of it is the model's likeliest."""
    top: tuple[tuple[str, float], ...]
    """The likeliest next tokens with their probabilities, likeliest first."""
    likeliest: int
    """The id of the likeliest next token."""


@dataclass(frozen=True)
class _Score:
    p: float
    greedy: bool
    top: tuple[tuple[str, float], ...]
    likeliest: int


@dataclass(frozen=True)
class _Row:
    ids: tuple[int, ...]
    prompt: int
    """Tokens of the prompt."""


def read_answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], top: int = 5
) -> list[Reading]:
    """Asks every question once.

    The score behind `probabilities` is CounterFact's: the mean log-probability per token of the target.

    Raises:
        EditError: a prompt has no token, or with its answer more than the model reads.
    """
    rows = [row for question in questions for row in _rows(tokenizer, question)]
    _check_length(model, rows)
    read = iter(_read(model, tokenizer, rows, top))
    readings = []
    for question in questions:
        first = [next(read) for _ in (question.answers or ("",))]
        asked = first if question.answers else []
        greedy = tuple(s.greedy for s in asked)
        readings.append(Reading(tuple(s.p for s in asked), greedy, first[0].top, first[0].likeliest))
    return readings


@torch.no_grad()
def next_token_log_p(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> Tensor:
    """Log-probabilities of every next token after each prompt: (prompts, vocabulary), float32, on the CPU.

    Raises:
        EditError: a prompt has no token, or more than the model reads.
    """
    rows = [row for prompt in prompts for row in _rows(tokenizer, Question(prompt))]
    _check_length(model, rows)
    found: dict[int, Tensor] = {}
    for batch in _batches(rows):
        for index, logits in zip(batch, _logits(model, [rows[i] for i in batch]), strict=True):
            found[index] = logits[0].float().log_softmax(-1).cpu()
    return torch.stack([found[i] for i in range(len(rows))])


def _rows(tokenizer: PreTrainedTokenizerBase, question: Question) -> list[_Row]:
    prompt = prompt_ids(tokenizer, question.prompt)
    answers = [answer_ids(tokenizer, answer) for answer in question.answers] or [()]
    return [_Row(prompt + ids, len(prompt)) for ids in answers]


def answer_ids(tokenizer: PreTrainedTokenizerBase, answer: Answer) -> tuple[int, ...]:
    """The tokens of an answer. Raises EditError if it has none."""
    return target_ids(tokenizer, answer) if isinstance(answer, str) else answer


def _check_length(model: PreTrainedModel, rows: list[_Row]) -> None:
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max((len(row.ids) for row in rows), default=0)
    if isinstance(limit, int) and longest > limit:
        raise EditError(f"A prompt takes {longest} tokens; the model reads {limit}.", "Shorten the prompt.")


@torch.no_grad()
def _read(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[_Row], top: int) -> list[_Score]:
    found: dict[int, _Score] = {}
    for batch in _batches(rows):
        for index, logits in zip(batch, _logits(model, [rows[i] for i in batch]), strict=True):
            found[index] = _score(tokenizer, rows[index], logits.float().log_softmax(-1), top)
    return [found[i] for i in range(len(rows))]


def _batches(rows: list[_Row]) -> list[list[int]]:
    """Indices of rows of like length, as many together as BATCH_TOKENS allows."""
    batches: list[list[int]] = []
    for index in sorted(range(len(rows)), key=lambda i: len(rows[i].ids)):
        longest = len(rows[index].ids)
        if batches and (len(batches[-1]) + 1) * longest <= BATCH_TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _logits(model: PreTrainedModel, rows: list[_Row]) -> list[Tensor]:
    """Logits (answer tokens + 1, vocabulary) of each row, from the prompt's last token on."""
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        mask[i, : len(row.ids)] = 1
    keep = width - min(row.prompt for row in rows) + 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep).logits
    first = width - logits.shape[1]
    return [logits[i, row.prompt - 1 - first : len(row.ids) - first] for i, row in enumerate(rows)]


def _score(tokenizer: PreTrainedTokenizerBase, row: _Row, logp: Tensor, top: int) -> _Score:
    answer = torch.tensor(row.ids[row.prompt :], device=logp.device)
    said = logp[: len(answer)]
    p = said.gather(1, answer[:, None]).mean().exp().item() if len(answer) else 0.0
    best = logp[0].exp().topk(min(top, logp.shape[1]))
    likely = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    tokens = tuple((str(tokenizer.decode([token])), share) for token, share in likely)
    return _Score(p, bool((said.argmax(-1) == answer).all()), tokens, int(logp[0].argmax()))
