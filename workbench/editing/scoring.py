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

    def table(self) -> Tensor:
        """A row a request: its loss, nll, kl, wd and then p_contexts, (n, 4 + templates)."""
        scalars = torch.stack([self.loss, self.nll, self.kl, self.wd], dim=1)
        return torch.cat([scalars, self.p_contexts], dim=1)


@dataclass(frozen=True, eq=False)
class Wanted:
    """What some rows are to predict, as tensors on one device."""

    ids: Tensor
    """The targets' tokens, those of all rewriting rows one after the other, (places,)."""
    where: Tensor
    """Of each rewriting row its places, (rewriting rows, tokens); a shorter target's last is repeated."""
    weights: Tensor
    """How much each weighs in its row's mean, (rewriting rows, tokens); what is repeated weighs nothing."""
    shares: Tensor
    """How much each row's value weighs in its request's loss, (rows,), the KL rows' too."""

    def nll(self, logits: Tensor) -> Tensor:
        """The mean over each row's target, (rewriting rows,), from `logits`, (places, vocabulary)."""
        nll = logits.logsumexp(dim=-1) - logits.gather(1, self.ids[:, None]).squeeze(1)
        even = self.where.numel() == len(nll)
        return ((nll.view(self.where.shape) if even else nll[self.where]) * self.weights).sum(dim=1)


def wanted(
    targets: Sequence[tuple[int, ...]], shares: Sequence[float], dtype: torch.dtype, device: torch.device
) -> Wanted:
    """`targets`, one a rewriting row, as `Wanted` has them."""
    most = max((len(target) for target in targets), default=0)
    ids = [token for target in targets for token in target]
    where, weights, first = [], [], 0
    for target in targets:
        repeated = most - len(target)
        where.append([*range(first, first + len(target)), *[first + len(target) - 1] * repeated])
        weights.append([1 / len(target)] * len(target) + [0.0] * repeated)
        first += len(target)
    return Wanted(
        torch.tensor(ids, dtype=torch.int64, device=device),
        torch.tensor(where, dtype=torch.int64, device=device),
        torch.tensor(weights, dtype=dtype, device=device),
        torch.tensor(shares, dtype=dtype, device=device),
    )


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
        self._texts, self._recipe, self._dtype = texts, recipe, dtype
        self._targets = [text.target for text in texts]
        self._clean: dict[int, Tensor] = {}
        self._wanted: dict[tuple[range, torch.device], Wanted] = {}

    @property
    def first_rows(self) -> list[int]:
        """Of each request, the row of the bare template."""
        return [i * self.templates for i in range(self.requests)]

    def places(self, rows: range) -> list[tuple[int, int]]:
        """Where the head is needed: (row, index in the row). As many a rewriting row as its target has tokens."""
        found: list[tuple[int, int]] = []
        for row in rows:
            if row >= self.requests * self.templates:
                found.append((row, self.rows[row].lookup))
                continue
            length, tokens = len(self.rows[row].ids), len(self._targets[self.request_of[row]])
            found += [(row, length - tokens + i) for i in range(tokens)]
        return found

    def only(self, requests: Sequence[int]) -> Scoring:
        """The same for some of the requests, with what their KL rows stay close to."""
        narrow = Scoring([self._texts[i] for i in requests], self._recipe, self._dtype)
        theirs, own = self.requests * self.templates, narrow.requests * narrow.templates
        narrow._clean = {own + n: self._clean[theirs + i] for n, i in enumerate(requests) if theirs + i in self._clean}
        return narrow

    def rows_of(self, requests: Sequence[int]) -> list[int]:
        """The rows of some of the requests, as `only` has them."""
        rewriting = [i * self.templates + j for i in requests for j in range(self.templates)]
        return rewriting + [self.requests * self.templates + i for i in requests]

    def values(self, rows: range, logits: Tensor) -> Tensor:
        """NLL a rewriting row and kl_factor · KL a KL row, (rows,), from `logits`, (places, vocabulary)."""
        wide, wanted = logits.to(self._dtype), self._wanted_at(rows, logits.device)
        split = len(wanted.ids)
        parts = [wanted.nll(wide[:split])] if split else []
        if split < len(wide):
            parts.append(self._kl([*rows][len(wanted.weights) :], wide[split:].log_softmax(dim=-1)))
        return torch.cat(parts)

    def share(self, rows: range, device: torch.device) -> Tensor:
        """How much each row's value weighs in its request's loss, (rows,)."""
        return self._wanted_at(rows, device).shares

    def tensors(self, rows: range) -> list[Tensor]:
        """All that `values` reads of some rows beside the logits, once it has been asked for them."""
        made = [wanted for (those, _), wanted in self._wanted.items() if those == rows]
        clean = [self._clean[row] for row in rows if row in self._clean]
        return [tensor for w in made for tensor in (w.ids, w.where, w.weights, w.shares)] + clean

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

    def _wanted_at(self, rows: range, device: torch.device) -> Wanted:
        """What some rows are to predict; made once."""
        if (rows, device) not in self._wanted:
            rewriting = [row for row in rows if row < self.requests * self.templates]
            targets = [self._targets[self.request_of[row]] for row in rewriting]
            shares = [1 / self.templates] * len(rewriting) + [1.0] * (len(rows) - len(rewriting))
            self._wanted[rows, device] = wanted(targets, shares, self._dtype, device)
        return self._wanted[rows, device]

    def _kl(self, rows: list[int], log_p: Tensor) -> Tensor:
        for row, kept in zip(rows, log_p.detach(), strict=True):
            self._clean.setdefault(row, kept)
        clean = torch.stack([self._clean[row].to(log_p.device) for row in rows])
        divergence: Tensor = (log_p.exp() * (log_p - clean)).sum(dim=1)
        return self._recipe.kl_factor * divergence
