"""Rows to one batch: padded on the right with a mask, so that no padding can reach a token of a row.

The tokenizer's padding side and pad token have no say: padding is done here, and what stands there is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.editing.lookup import Row
from workbench.errors import EditError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PADDING = 0
"""The id in padded places; any would do."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Token rows as tensors on one device."""

    ids: Tensor
    """(rows, length), int64."""
    mask: Tensor
    """(rows, length), int64: 1 where there is a token."""
    lookup: Tensor
    """(rows,), int64: the looked-up token of each row as an index into the rows laid end to end."""


def collate(rows: Sequence[Row], device: torch.device) -> Batch:
    """`rows` as one batch on `device`."""
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), PADDING)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        mask[i, : len(row.ids)] = 1
    lookup = torch.tensor([i * length + row.lookup for i, row in enumerate(rows)])
    return Batch(ids.to(device), mask.to(device), lookup.to(device))


def with_target(row: Row, target: Sequence[int]) -> Row:
    """`row` followed by all but the last id of `target`: its last len(target) positions predict the target."""
    return Row(row.ids + tuple(target[:-1]), row.lookup, row.token)


def check_length(rows: Sequence[Row], model: PreTrainedModel) -> None:
    """Raises EditError if a row is longer than the model can read."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(len(row.ids) for row in rows)
    if isinstance(limit, int) and longest > limit:
        raise EditError(f"The prompt takes {longest} tokens; the model reads {limit}.", "Shorten the prompt.")
