"""The loss of an offset δ: one forward pass over all rows, with the head run only where a prediction is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench.editing.hooks import added, only_at
from workbench.editing.lookup import Row, Texts
from workbench.editing.rows import Batch, check_length, collate, with_target
from workbench.edits import Recipe
from workbench.errors import ModelError
from workbench.models.families import EditSite

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Terms:
    """One evaluation; loss = nll + kl + wd, all scalars that can be differentiated."""

    loss: Tensor
    nll: Tensor
    kl: Tensor
    wd: Tensor
    p_contexts: Tensor
    """(rows,), detached: probability of the target a token, geometric mean, row by row."""


class Objective:
    """loss(δ) for one request; the first evaluation, at δ = 0, fixes t0 and the distribution to stay close to.

    Make it and use it inside `gradients`.
    """

    def __init__(self, model: PreTrainedModel, site: EditSite, texts: Texts, recipe: Recipe) -> None:
        """Raises ModelError (no head), EditError (a row too long)."""
        everything = [*(with_target(row, texts.target) for row in texts.rows), texts.kl]
        check_length(everything, model)
        self._model, self._recipe = model, recipe
        self._linear, self._head = site.linear(model), _head(model)
        self._batch: Batch = collate(everything, model.device)
        self._places = _places(everything, len(texts.target))
        self._target = torch.tensor(texts.target)
        self._rows, self._d_out = len(texts.rows), site.d_out
        self._dtype = torch.promote_types(site.weight(model).dtype, torch.float32)
        self._device = site.weight(model).device
        self._clean: tuple[Tensor, Tensor] | None = None

    @property
    def target_init(self) -> Tensor:
        """t0, (d_out,). Raises RuntimeError before the first evaluation."""
        if self._clean is None:
            raise RuntimeError("t0 is known after the first evaluation")
        return self._clean[0]

    def zero(self) -> Tensor:
        """δ = 0, (d_out,), a leaf that asks for a gradient; float32 or wider on the site's device."""
        return torch.zeros(self._d_out, dtype=self._dtype, device=self._device, requires_grad=True)

    def at(self, offset: Tensor) -> Terms:
        """The loss at δ = `offset`, (d_out,). Call it inside `frozen` and `gradients`."""
        logits, outputs = self._forward(offset)
        log_p = logits.to(self._dtype).log_softmax(dim=-1)  # (rows * tokens + 1, vocabulary)
        if self._clean is None:
            self._clean = outputs[0].to(self._device), log_p[-1].detach()
        target_init, log_p_clean = self._clean
        nll_rows = self._nll(log_p[:-1])
        nll = nll_rows.mean()
        kl = self._recipe.kl_factor * (log_p[-1].exp() * (log_p[-1] - log_p_clean)).sum()
        wd = self._recipe.weight_decay * offset.norm() / target_init.norm().square()
        wd, kl = wd.to(nll.device), kl.to(nll.device)
        return Terms(nll + kl + wd, nll, kl, wd, (-nll_rows.detach()).exp())

    def _forward(self, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at the places that predict, and the clean outputs of the edited map, (rows + 1, d_out)."""
        batch = self._batch
        with added(self._linear, batch.lookup, offset) as clean, only_at(self._head, self._places):
            logits = self._model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
        if logits.shape[:2] != (1, len(self._places)) or len(clean) != 1:
            raise ModelError(
                "The model does not use its head or the edited module once a pass.", "Choose another model."
            )
        return logits[0], clean[0]

    def _nll(self, log_p: Tensor) -> Tensor:
        """Minus the mean log-probability of the target's tokens, row by row: (rows * tokens, vocabulary) to (rows,)."""
        target = self._target.to(log_p.device).repeat(self._rows)
        chosen = log_p.gather(1, target.unsqueeze(1))  # (rows * tokens, 1)
        return -chosen.view(self._rows, -1).mean(dim=1)


def _places(rows: Sequence[Row], tokens: int) -> Tensor:
    """Flat indices of the positions that predict the target in every row but the last, then of the last's lookup."""
    length = max(len(row.ids) for row in rows)
    ends = [i * length + len(row.ids) for i, row in enumerate(rows[:-1])]
    predicting = [place for end in ends for place in range(end - tokens, end)]
    return torch.tensor([*predicting, (len(rows) - 1) * length + rows[-1].lookup])


def _head(model: PreTrainedModel) -> nn.Module:
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not isinstance(head, nn.Module):
        raise ModelError(f"{type(model).__name__} has no language-model head.", "Load a causal language model.")
    return head
