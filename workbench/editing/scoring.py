"""The loss of an offset δ from the model's logits, row by row, for one request or several at once.

    loss = mean over templates of NLL(target) + kl_factor · KL(p_δ ‖ p) at "{subject} is a" + weight_decay · |δ| / |t0|²

Source: ROME, arXiv 2202.05262, equation 4, with the weights of its published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.editing.lookup import Row, Texts
from workbench.editing.rows import with_target
from workbench.edits import Recipe


@dataclass(frozen=True, eq=False)
class Terms:
    """One evaluation for n requests; loss = nll + kl + wd, each (n,) and detached."""

    loss: Tensor
    nll: Tensor
    kl: Tensor
    wd: Tensor
    p_contexts: Tensor
    """(n, templates): probability of the target a token, geometric mean, row by row."""

    def numbers(self) -> list[list[float]]:
        """For each request its loss, nll, kl, wd and then p_contexts, moved to the host at once."""
        scalars = torch.stack([self.loss, self.nll, self.kl, self.wd], dim=1)
        listed: list[list[float]] = torch.cat([scalars, self.p_contexts], dim=1).tolist()
        return listed


class Scoring:
    """Rows of n requests, and what the loss makes of the logits at them.

    Rows: the templates of request 0 with its target, those of request 1, ..., then one KL row a request. The first
    values of a KL row, at δ = 0, fix the distribution to stay close to.
    """

    def __init__(self, texts: Sequence[Texts], recipe: Recipe, dtype: torch.dtype) -> None:
        """`texts`, one a request, with the same number of rows each; `dtype` of the sums, float32 or wider."""
        self.requests, self.templates = len(texts), len(texts[0].rows)
        rewriting = [with_target(row, text.target) for text in texts for row in text.rows]
        self.rows: tuple[Row, ...] = (*rewriting, *(text.kl for text in texts))
        self.request_of = [i for i in range(len(texts)) for _ in range(self.templates)] + [*range(len(texts))]
        """Of each row, which request it belongs to."""
        self._recipe, self._dtype = recipe, dtype
        self._targets = [text.target for text in texts]
        self._tokens = max(len(target) for target in self._targets)
        self._clean: dict[int, Tensor] = {}

    @property
    def first_rows(self) -> list[int]:
        """Of each request, the row of the bare template."""
        return [i * self.templates for i in range(self.requests)]

    def places(self, rows: range) -> list[tuple[int, int]]:
        """Where the head is needed: (row, index in the row). As many a rewriting row as the longest target has tokens.

        A shorter target's last place is repeated; it weighs nothing.
        """
        found: list[tuple[int, int]] = []
        for row in rows:
            if row >= self.requests * self.templates:
                found.append((row, self.rows[row].lookup))
                continue
            length, tokens = len(self.rows[row].ids), len(self._targets[self.request_of[row]])
            found += [(row, min(length - tokens + i, length - 1)) for i in range(self._tokens)]
        return found

    def values(self, rows: range, logits: Tensor) -> Tensor:
        """NLL a rewriting row and kl_factor · KL a KL row, (rows,), from `logits`, (places, vocabulary)."""
        wide = logits.to(self._dtype)
        rewriting = [row for row in rows if row < self.requests * self.templates]
        split = len(rewriting) * self._tokens
        parts = [self._nll(rewriting, wide[:split])] if rewriting else []
        if len(rewriting) < len(rows):
            parts.append(self._kl([*rows][len(rewriting) :], wide[split:].log_softmax(dim=-1)))
        return torch.cat(parts)

    def share(self, rows: range) -> list[float]:
        """How much each row's value weighs in its request's loss."""
        return [1 / self.templates if row < self.requests * self.templates else 1.0 for row in rows]

    def forget(self) -> None:
        """The next values of the KL rows are at zero again, and fix what to stay close to."""
        self._clean.clear()

    def terms(self, values: Tensor, offsets: Tensor, target_init: Tensor) -> Terms:
        """From the values of all rows, (rows,), the offsets and t0, (n, d_out) both."""
        split = self.requests * self.templates
        nll_rows = values[:split].detach().view(self.requests, self.templates)
        nll, kl = nll_rows.mean(dim=1), values[split:].detach()
        wd = self.decay(offsets, target_init).detach().to(nll.device)
        return Terms(nll + kl + wd, nll, kl, wd, (-nll_rows).exp())

    def decay(self, offsets: Tensor, target_init: Tensor) -> Tensor:
        """The term weight_decay · |δ| / |t0|², (n,), from (n, d_out) both."""
        decay: Tensor = self._recipe.weight_decay * offsets.norm(dim=1) / target_init.norm(dim=1).square()
        return decay

    def _nll(self, rows: list[int], logits: Tensor) -> Tensor:
        targets = [self._targets[self.request_of[row]] for row in rows]
        padded = [(*target, *target[-1:] * (self._tokens - len(target))) for target in targets]
        weights = [[1 / len(t)] * len(t) + [0.0] * (self._tokens - len(t)) for t in targets]
        chosen = logits.gather(1, torch.tensor(padded, device=logits.device).view(-1, 1)).squeeze(1)
        nll = (logits.logsumexp(dim=-1) - chosen).view(len(rows), -1)  # (rows, tokens)
        return (nll * torch.tensor(weights, device=logits.device, dtype=nll.dtype)).sum(dim=1)

    def _kl(self, rows: list[int], log_p: Tensor) -> Tensor:
        for row, kept in zip(rows, log_p.detach(), strict=True):
            self._clean.setdefault(row, kept)
        clean = torch.stack([self._clean[row].to(log_p.device) for row in rows])
        divergence: Tensor = (log_p.exp() * (log_p - clean)).sum(dim=1)
        return self._recipe.kl_factor * divergence
