"""Documents into rows of ids without padding: joined by EOS and cut where a row is full.

The context of a key is what stands before its token in the row: the tokenizer's own beginning (BOS, where it puts one),
then text, which may begin within a document and may hold the end of an earlier one before an EOS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from workbench.engine.stats.plan import SHORTEST, Plan

_TOGETHER = 64
"""Documents that are tokenised in one call."""


def head_of(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids that the tokenizer puts before a text: BOS for Llama and Gemma, nothing for GPT-2."""
    bare = [int(one) for one in tokenizer("a", add_special_tokens=False)["input_ids"]]
    whole = [int(one) for one in tokenizer("a")["input_ids"]]
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return tuple(whole[:start])
    return ()


def packed(tokenizer: PreTrainedTokenizerBase, documents: Iterable[str], plan: Plan) -> Iterator[Tensor]:
    """The batches of `plan`, each (rows, tokens), int64; fewer where the text ends early.

    Each row begins with `head_of`. The last row of a text that ends early is as long as what is left.
    """
    head, stream = list(head_of(tokenizer)), _ids(tokenizer, documents)
    for rows, length in plan.shapes():
        found: list[list[int]] = []
        while len(found) < rows and len(row := [*head, *islice(stream, length - len(head))]) == length:
            found.append(row)
        if found:
            yield torch.tensor(found)
        if len(found) < rows:
            if len(row) >= max(SHORTEST, len(head) + 1):
                yield torch.tensor([row])
            return


def _ids(tokenizer: PreTrainedTokenizerBase, documents: Iterable[str]) -> Iterator[int]:
    """All documents as ids, EOS behind each but where the tokenizer has none."""
    behind = [tokenizer.eos_token_id] if isinstance(tokenizer.eos_token_id, int) else []
    source = iter(documents)
    while some := list(islice(source, _TOGETHER)):
        for ids in tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]:
            yield from ids
            yield from behind
