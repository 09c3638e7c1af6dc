"""Continuing a prompt, token by token, with the model's own cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.editing.lookup import prompt_ids
from workbench.edits import Chat
from workbench.errors import EditError
from workbench.models.context import context_length


def continuation(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    max_new: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    chat: Chat | None = None,
) -> Iterator[str]:
    """The text of `counted_continuation`, piece by piece. Raises as that."""
    for text, _ in counted_continuation(
        model, tokenizer, prompt, max_new=max_new, temperature=temperature, seed=seed, chat=chat
    ):
        yield text


@torch.no_grad()
def counted_continuation(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    max_new: int = 40,
    temperature: float = 0.0,
    seed: int = 0,
    chat: Chat | None = None,
) -> Iterator[tuple[str, int]]:
    """Pieces of text as they come, each with the number of tokens so far.

    Greedy at temperature 0, else sampled with a generator of its own. With `chat` the prompt is a user's turn of it,
    and the answer is what comes.

    Ends at the model's end-of-text token, after `max_new` tokens, or when the model's positions are used up; a prompt
    that leaves no position for a new token yields nothing.

    Raises:
        EditError: the prompt has no token, or the model's predictions are not numbers.
    """
    ids = torch.tensor([prompt_ids(tokenizer, prompt, chat)], device=model.device)
    room = context_length(model) or ids.shape[1] + max_new
    generator = torch.Generator().manual_seed(seed)
    drawn: list[int] = []
    shown, cache = "", None
    for _ in range(min(max_new, room - ids.shape[1])):
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = out.past_key_values
        token = _pick(out.logits[0, -1].float().cpu(), temperature, generator)
        if token == tokenizer.eos_token_id:
            break
        drawn.append(token)
        text = str(tokenizer.decode(drawn))
        if not text.endswith("\ufffd"):
            yield text[len(shown) :], len(drawn)
            shown = text
        ids = torch.tensor([[token]], device=model.device)


def _pick(logits: Tensor, temperature: float, generator: torch.Generator) -> int:
    if bool(logits.isnan().any()):
        raise EditError("The model's predictions are not numbers.", "Undo what broke it, or load the model in float32.")
    if temperature <= 0:
        return int(logits.argmax())
    scaled = (logits.double() - logits.max()) / temperature  # at most 0, so that no temperature is too small
    return int(torch.multinomial(scaled.softmax(-1), 1, generator=generator))
