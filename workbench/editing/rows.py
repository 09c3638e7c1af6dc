"""Rows to batches. Padding is done here: the tokenizer's padding side and pad token have no say.

`collate` pads on the right, so that no padding can reach a token of a row. `align` pads on both sides, so that every
looked-up token stands in the same column: what comes before it is a prefix of one length, what follows a suffix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.editing.lookup import Row
from workbench.errors import EditError
from workbench.models.context import context_length
from workbench.models.device import can_pin

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


@dataclass(frozen=True, eq=False)
class Aligned:
    """Token rows whose looked-up tokens all stand in one column."""

    ids: Tensor
    """(rows, prefix + suffix), int64."""
    mask: Tensor
    """(rows, prefix + suffix), int64: 1 where there is a token."""
    positions: Tensor
    """(rows, prefix + suffix), int64: each token's index in its own row; 0 in padded places."""
    prefix: int
    """Columns before the looked-up token."""

    @property
    def suffix(self) -> int:
        """Columns from the looked-up token on."""
        return int(self.ids.shape[1]) - self.prefix

    def __getitem__(self, rows: slice | Sequence[int]) -> Aligned:
        """Some of the rows, with all columns."""
        return Aligned(self.ids[rows], self.mask[rows], self.positions[rows], self.prefix)

    def narrowed(self) -> Aligned:
        """The same rows without the columns that are padding in all of them, before and behind."""
        used = self.mask.any(dim=0).nonzero().flatten()
        columns = slice(int(used[0]), int(used[-1]) + 1)
        ids, mask, positions = self.ids[:, columns], self.mask[:, columns], self.positions[:, columns]
        return Aligned(ids, mask, positions, self.prefix - columns.start)


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


def align(rows: Sequence[Row], device: torch.device, multiples: tuple[int, int] = (1, 1)) -> Aligned:
    """`rows` with their looked-up tokens in one column, on `device`.

    Columns before it and from it on are as many as needed, rounded up to `multiples`: edits of like length are then of
    one shape.
    """
    prefix = _rounded_up(max(row.lookup for row in rows), multiples[0])
    length = prefix + _rounded_up(max(len(row.ids) - row.lookup for row in rows), multiples[1])
    ids = torch.full((len(rows), length), PADDING)
    mask, positions = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, row in enumerate(rows):
        columns = slice(prefix - row.lookup, prefix - row.lookup + len(row.ids))
        ids[i, columns] = torch.tensor(row.ids)
        mask[i, columns] = 1
        positions[i, columns] = torch.arange(len(row.ids))
    ids, mask, positions = _sent(torch.stack([ids, mask, positions]), device)
    return Aligned(ids, mask, positions, prefix)


def _sent(stacked: Tensor, device: torch.device) -> Tensor:
    """`stacked` on `device`, without waiting until it is there."""
    return stacked.pin_memory().to(device, non_blocking=True) if can_pin(device) else stacked.to(device)


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def with_target(row: Row, target: Sequence[int]) -> Row:
    """`row` followed by all but the last id of `target`: its last len(target) positions predict the target."""
    return Row(row.ids + tuple(target[:-1]), row.lookup, row.token)


def check_length(rows: Sequence[Row], model: PreTrainedModel) -> None:
    """Raises EditError if a row is longer than the model can read."""
    limit = context_length(model)
    longest = max(len(row.ids) for row in rows)
    if limit is not None and longest > limit:
        raise EditError(f"The prompt takes {longest} tokens; the model reads {limit}.", "Shorten the prompt.")
