"""What a model answers: likeliest next tokens, and how probable given answers are. Padded batches, no gradient."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.editing.lookup import prompt_ids, target_ids
from workbench.edits import Chat
from workbench.probing.forward import Context, next_logits

Answer = str | tuple[int, ...]
"""As text, which gets its leading space; or the very tokens, which need not start with one."""


@dataclass(frozen=True)
class Question:
    """A prompt, and the answers whose probability is asked for."""

    prompt: str
    answers: tuple[Answer, ...] = ()
    chat: Chat | None = None
    """The prompt is a user's turn of it, and an answer the beginning of the answer."""


@dataclass(frozen=True)
class Reading:
    """What the model says to a question."""

    log_p: tuple[float, ...]
    """Of each answer: the mean over its tokens of log p(token | what came before), in nats: CounterFact's score."""
    greedy: tuple[bool, ...]
    """Of each answer: whether every token of it is the model's likeliest."""
    top: tuple[tuple[str, float], ...]
    """The likeliest next tokens with their probabilities, likeliest first."""
    likeliest: int
    """The id of the likeliest next token."""
    right: tuple[float, ...] = ()
    """Of each answer: the share of its tokens that are the model's likeliest behind those before them."""

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Of each answer: the geometric mean over its tokens of p(token | what came before)."""
        return tuple(math.exp(log_p) for log_p in self.log_p)


@dataclass(frozen=True)
class _Asked:
    """A question as ids."""

    prompt: Context
    answers: tuple[Context, ...]

    @property
    def predictions(self) -> list[tuple[Context, int]]:
        """Every token of every answer, with what it is predicted from."""
        return [(self.prompt + answer[:i], answer[i]) for answer in self.answers for i in range(len(answer))]


@dataclass
class _Said:
    """What the model says after each context."""

    log_p: dict[tuple[Context, int], float] = field(default_factory=dict)
    """Of the tokens that were asked about."""
    likeliest: dict[Context, int] = field(default_factory=dict)
    top: dict[Context, tuple[tuple[str, float], ...]] = field(default_factory=dict)


def read_answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], top: int = 5
) -> list[Reading]:
    """Asks every question once, all of them in as few forward passes as they fit in.

    Raises:
        EditError: a prompt or an answer has no token, or both together more than the model reads.
    """
    asked = _as_ids(tokenizer, questions)
    said = _listen(model, tokenizer, asked, top)
    return [_reading(one, said) for one in asked]


@torch.no_grad()
def next_token_log_p(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], chat: Chat | None = None
) -> Tensor:
    """Log-probabilities of every next token after each prompt: (prompts, vocabulary), float32, on the CPU.

    With `chat` the prompts are a user's turn of it, and the token begins the answer.

    Raises:
        EditError: a prompt has no token, or more than the model reads.
    """
    contexts = [one.prompt for one in _as_ids(tokenizer, [Question(prompt, chat=chat) for prompt in prompts])]
    found: dict[Context, Tensor] = {}
    for batch, logits in next_logits(model, contexts):
        found.update(zip(batch, logits.float().log_softmax(-1).cpu(), strict=True))
    return torch.stack([found[one] for one in contexts])


def answer_ids(tokenizer: PreTrainedTokenizerBase, answer: Answer, chat: Chat | None = None) -> tuple[int, ...]:
    """The tokens of an answer. Raises EditError if it has none."""
    return target_ids(tokenizer, answer, chat) if isinstance(answer, str) else answer


def _as_ids(tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]) -> list[_Asked]:
    """Each text is tokenised once: most answers come again with every prompt."""
    prompts = {at: prompt_ids(tokenizer, *at) for at in {(one.prompt, one.chat) for one in questions}}
    texts = {(answer, one.chat) for one in questions for answer in one.answers}
    answers = {at: answer_ids(tokenizer, *at) for at in texts}
    return [
        _Asked(prompts[one.prompt, one.chat], tuple(answers[answer, one.chat] for answer in one.answers))
        for one in questions
    ]


@torch.no_grad()
def _listen(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: Sequence[_Asked], top: int) -> _Said:
    tokens: dict[Context, set[int]] = {one.prompt: set() for one in asked}
    for one in asked:
        for context, token in one.predictions:
            tokens.setdefault(context, set()).add(token)
    prompts = {one.prompt for one in asked}
    said = _Said()
    for contexts, logits in next_logits(model, tokens):
        log_p = logits.float().log_softmax(-1)  # (contexts, vocabulary)
        said.likeliest.update(zip(contexts, log_p.argmax(-1).tolist(), strict=True))
        _note_tokens(said, contexts, [tokens[one] for one in contexts], log_p)
        _note_top(said, tokenizer, contexts, prompts, log_p, top)
    return said


def _note_tokens(said: _Said, contexts: Sequence[Context], tokens: Sequence[Collection[int]], log_p: Tensor) -> None:
    pairs = [(i, token) for i, some in enumerate(tokens) for token in some]
    if pairs:
        rows, columns = torch.tensor(pairs, device=log_p.device).T
        values = log_p[rows, columns].tolist()
        said.log_p.update(((contexts[i], token), p) for (i, token), p in zip(pairs, values, strict=True))


def _note_top(
    said: _Said,
    tokenizer: PreTrainedTokenizerBase,
    contexts: Sequence[Context],
    prompts: Collection[Context],
    log_p: Tensor,
    top: int,
) -> None:
    ends = [i for i, one in enumerate(contexts) if one in prompts]
    best = log_p[ends].exp().topk(min(top, log_p.shape[1]))  # (prompts, top)
    for i, ids, shares in zip(ends, best.indices.tolist(), best.values.tolist(), strict=True):
        words = (str(tokenizer.decode([token])) for token in ids)
        said.top[contexts[i]] = tuple(zip(words, shares, strict=True))


def _reading(asked: _Asked, said: _Said) -> Reading:
    log_p, right = [], []
    for answer in asked.answers:
        predicted = _Asked(asked.prompt, (answer,)).predictions
        values = [said.log_p[one] for one in predicted]
        hits = [
            said.likeliest[one[0]] == one[1] and not math.isnan(p) for one, p in zip(predicted, values, strict=True)
        ]
        log_p.append(math.fsum(values) / len(predicted))
        right.append(sum(hits) / len(hits))
    prompt, greedy = asked.prompt, tuple(share == 1.0 for share in right)
    return Reading(tuple(log_p), greedy, said.top[prompt], said.likeliest[prompt], tuple(right))
