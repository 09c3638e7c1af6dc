"""C computed slowly and plainly: one row at a time through the whole model, float64 from the first product on."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.models.families import EditSite

T = TypeVar("T")

TEXT = (
    "Lisbon lies in Portugal, by the sea.",
    "Clara plays the piano in Vienna; nobody else does.",
    "The old harbour of Oslo was quiet that winter, and the boats lay still.",
    "x",
    "Rome was not built in a day, nor was the road that leads there from the north.",
)


def rows_by_hand(
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[str], window: int, tokens: int, head: Sequence[int] = ()
) -> list[list[int]]:
    """The rows that the text is cut into: `head`, then what fits of all documents with EOS behind each."""
    stream = [
        i for text in documents for i in [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    ]
    rows = []
    while tokens > 1 and stream:
        room = min(window, tokens) - len(head)
        rows.append([*head, *stream[:room]])
        stream, tokens = stream[room:], tokens - len(rows[-1])
    return [row for row in rows if len(row) > max(1, len(head))]


@torch.no_grad()
def moment_by_hand(model: PreTrainedModel, site: EditSite, rows: Sequence[Sequence[int]]) -> tuple[Tensor, int]:
    """E[k kᵀ], (d_in, d_in) float64, over all tokens of `rows`, and how many they are."""
    seen: list[Tensor] = []
    hook = model.get_submodule(site.module).register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    try:
        for row in rows:
            model(input_ids=torch.tensor([row]))
    finally:
        hook.remove()
    keys = torch.cat([one.reshape(-1, site.d_in) for one in seen]).double()
    return keys.T @ keys / len(keys), len(keys)


def distance(found: Tensor, expected: Tensor) -> float:
    """|found − expected| / |expected|, Frobenius."""
    return float((found.double() - expected).norm() / expected.norm())


def drain(steps: Generator[Any, None, T]) -> tuple[list[Any], T]:
    """All events, and what is returned."""
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as stop:
            return events, stop.value
