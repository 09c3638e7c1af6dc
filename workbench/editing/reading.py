"""Keys and block outputs of a batch, on the model with a part of its update: what each layer's share is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench.editing.cancel import check
from workbench.editing.flags import frozen
from workbench.editing.hooks import capture, changed, leaving
from workbench.editing.lookup import Row, Texts
from workbench.editing.rows import Batch, collate
from workbench.models.families import EditSite, decoder_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 256
"""Rows that a pass reads at a time."""


def read_batch_keys(
    model: PreTrainedModel,
    site: EditSite,
    texts: Sequence[Texts],
    changes: Mapping[nn.Module, Tensor],
    cancelled: Callable[[], bool],
) -> Tensor:
    """The batch's key of each request at `site`, (n, d_in) in float64, with `changes` as `hooks.changed` has them.

    As `Keys.key_batch`: half the bare prompt's key, half the mean of those behind all other templates.

    Raises:
        Cancelled: `cancelled` said so; asked before every pass. ModelError: the site is not part of the model.
    """
    rows = [(i, row, _share(j, len(text.rows))) for i, text in enumerate(texts) for j, row in enumerate(text.rows)]
    keys = torch.zeros(len(texts), site.d_in, dtype=torch.float64)
    linear = site.linear(model)
    for some, batch in _passes(model, rows, cancelled):
        with frozen(model), torch.no_grad(), changed(changes):
            seen = capture(linear, batch.lookup, _forward(model, batch)).inputs.cpu().double()
        shares = torch.tensor([share for _, _, share in some], dtype=torch.float64)
        keys.index_add_(0, torch.tensor([i for i, _, _ in some]), seen * shares[:, None])
    return keys


def read_block(
    model: PreTrainedModel,
    layer: int,
    texts: Sequence[Texts],
    changes: Mapping[nn.Module, Tensor],
    cancelled: Callable[[], bool],
) -> Tensor:
    """What block `layer` gives at the subject's last token of each bare prompt, (n, d_out), float32 or wider.

    Raises:
        Cancelled, ModelError: as `read_batch_keys`.
    """
    rows = [(i, text.rows[0], 1.0) for i, text in enumerate(texts)]
    block = decoder_blocks(model)[layer]
    found: dict[int, Tensor] = {}
    for some, batch in _passes(model, rows, cancelled):
        with frozen(model), torch.no_grad(), changed(changes):
            seen = leaving(block, batch.lookup, _forward(model, batch)).cpu()
        found |= {i: vector for (i, _, _), vector in zip(some, seen, strict=True)}
    return torch.stack([found[i] for i in range(len(texts))])


def _share(template: int, templates: int) -> float:
    if templates == 1:
        return 1.0
    return 0.5 if template == 0 else 0.5 / (templates - 1)


def _passes(
    model: PreTrainedModel, rows: list[tuple[int, Row, float]], cancelled: Callable[[], bool]
) -> Iterator[tuple[list[tuple[int, Row, float]], Batch]]:
    """Rows of like length together, some at a time."""
    ordered = sorted(rows, key=lambda entry: len(entry[1].ids), reverse=True)
    for start in range(0, len(ordered), ROWS):
        check(cancelled)
        some = ordered[start : start + ROWS]
        yield some, collate([row for _, row, _ in some], model.device)


def _forward(model: PreTrainedModel, batch: Batch) -> Callable[[], object]:
    return lambda: model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)
