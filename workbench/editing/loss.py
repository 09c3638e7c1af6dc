"""The plain way to the loss of δ: every layer on every token of every row. The oracle, and what serves any model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor, nn

from workbench.editing.hooks import added, only_at
from workbench.editing.rows import Batch, check_length, collate
from workbench.editing.scoring import Scoring, Terms
from workbench.errors import ModelError
from workbench.models.families import EditSite, decoder_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The loss at some offsets, and its gradient for who asks."""

    terms: Terms
    gradient: Callable[[], Tensor]
    """(n, d_out). To be asked for once, at once."""


@dataclass(frozen=True, eq=False)
class Fixed:
    """What every evaluation after the first reads and none changes: with other tensors in it, another loss."""

    way: Hashable
    """What decides which operations an evaluation is made of, beside the shapes of the tensors."""
    tensors: tuple[Tensor, ...]

    @property
    def shape(self) -> Hashable:
        """Equal for two whose evaluations are the same operations on tensors of the same shapes."""
        return self.way, tuple((tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for tensor in self.tensors)


class Objective(Protocol):
    """loss(δ) of n requests that share a model, a site and a recipe. Use it inside `frozen` and `gradients`."""

    @property
    def target_init(self) -> Tensor:
        """t0 of each request, (n, d_out). Known after the first evaluation."""

    @property
    def rows_at_once(self) -> int:
        """Rows that a pass runs at a time: all, or fewer where memory was short."""

    def zero(self) -> Tensor:
        """δ = 0, (n, d_out), a leaf that asks for a gradient; float32 or wider on the site's device."""

    def at(self, offsets: Tensor) -> Evaluation:
        """The loss at `offsets`, (n, d_out). The first evaluation is at zero."""

    def fixed(self) -> Fixed | None:
        """What evaluations read, after the first one; None: they are not always the same operations."""

    def only(self, requests: Sequence[int]) -> Objective:
        """The same for some of the requests, after the first evaluation: passes without the rows of the others."""


Place = Literal["mlp", "block"]
"""Whose output an offset is added to: the MLP's, as ROME does, or the whole block's, as MEMIT and EMMET do."""


def wide_dtype(site: EditSite, model: nn.Module) -> torch.dtype:
    """What sums about `site` are held in: float32, or float64 where the weight is."""
    return torch.promote_types(site.weight(model).dtype, torch.float32)


def zero_offsets(model: nn.Module, site: EditSite, requests: int) -> Tensor:
    """δ = 0 for each request, (n, d_out), a leaf that asks for a gradient."""
    weight = site.weight(model)
    dtype = wide_dtype(site, model)
    return torch.zeros(requests, site.d_out, dtype=dtype, device=weight.device, requires_grad=True)


def head_of(model: PreTrainedModel) -> nn.Module:
    """The language-model head. Raises ModelError if there is none."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(head, nn.Module):
        raise ModelError(f"{type(model).__name__} has no language-model head.", "Load a causal language model.")
    return head


class PlainObjective:
    """One forward pass through the whole model an evaluation, with the head run only where a prediction is needed."""

    def __init__(self, model: PreTrainedModel, site: EditSite, scoring: Scoring, place: Place = "mlp") -> None:
        """Raises ModelError (no head), EditError (a row too long)."""
        check_length(scoring.rows, model)
        self._model, self._site, self._scoring, self._place = model, site, scoring, place
        self._head = head_of(model)
        self._moved = site.linear(model) if place == "mlp" else decoder_blocks(model)[site.layer]
        self._batch: Batch = collate(scoring.rows, model.device)
        self._all = range(len(scoring.rows))
        length = self._batch.ids.shape[1]
        self._places = torch.tensor([row * length + index for row, index in scoring.places(self._all)])
        self._target_init: Tensor | None = None

    @property
    def target_init(self) -> Tensor:
        """As Objective says. Raises RuntimeError before the first evaluation."""
        if self._target_init is None:
            raise RuntimeError("t0 is known after the first evaluation")
        return self._target_init

    @property
    def rows_at_once(self) -> int:
        """All of them."""
        return len(self._scoring.rows)

    def zero(self) -> Tensor:
        """As Objective says."""
        return zero_offsets(self._model, self._site, self._scoring.requests)

    def at(self, offsets: Tensor) -> Evaluation:
        """As Objective says. Raises ModelError if the pass does not go once through the site and the head."""
        scoring = self._scoring
        logits, outputs = self._forward(offsets[scoring.request_of])
        if self._target_init is None:
            self._target_init = outputs[scoring.first_rows].to(offsets.device)
        values = scoring.values(self._all, logits)
        decay = scoring.decay(offsets, self._target_init).sum().to(values.device)
        loss = (values * scoring.share(self._all, values.device)).sum() + decay
        terms = scoring.terms(values, offsets, self._target_init)
        return Evaluation(terms, lambda: torch.autograd.grad(loss, offsets)[0])

    def fixed(self) -> None:
        """Nothing: the oracle is run as it is."""

    def only(self, requests: Sequence[int]) -> PlainObjective:
        """As Objective says."""
        narrow = PlainObjective(self._model, self._site, self._scoring.only(requests), self._place)
        narrow._target_init = self.target_init[[*requests]]
        return narrow

    def _forward(self, by_row: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at the places that predict, and the clean outputs that δ is added to, (rows, d_out)."""
        batch = self._batch
        with added(self._moved, batch.lookup, by_row) as clean, only_at(self._head, self._places):
            logits = self._model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
        if logits.shape[:2] != (1, len(self._places)) or len(clean) != 1:
            raise ModelError(
                "The model does not use its head or the edited module once a pass.", "Choose another model."
            )
        return logits[0], clean[0]
