"""Adam on the δ of every request, on the model's device: nothing here waits for a number to reach the host.

What a request's end depends on is decided where the numbers are. So the same step can be looked at by the host at
once, or later, or be recorded once and played again (graphs.py).

Sources: Adam, arXiv 1412.6980, algorithm 1; the stopping rules and the clamp, ROME's published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workbench.editing.loss import Evaluation, Fixed, Objective
from workbench.edits import Recipe

Why = Literal["", "loss", "nll", "nan", "gradient", "reach"]
"""Why a request ends before the last step; empty: it does not."""
REASONS: tuple[Why, ...] = ("", "loss", "nll", "nan", "gradient", "reach")
"""By the number that stands for each in a report."""
OUT_OF_REACH = 1e-5
"""An offset of |t0|, along the first gradient, would lessen the NLL by less than this part of it."""
WORTH = 0.75
"""Passes are narrowed when no more than this part of their requests goes on: narrowing copies what is kept."""
BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Adam's published constants, and torch's."""
_BEHIND = 3
"""Columns of a report behind the loss's own: |δ|, its clamp, and why the request ends."""


@dataclass(frozen=True)
class Seen:
    """One request's row of a report."""

    loss: float
    nll: float
    kl: float
    wd: float
    p_contexts: tuple[float, ...]
    delta_norm: float
    clamp: float
    why: Why

    @classmethod
    def of(cls, row: Sequence[float]) -> Seen:
        """From a row of the tensor that `Descent.step` gives."""
        loss, nll, kl, wd, *contexts = row[:-_BEHIND]
        norm, limit, why = row[-_BEHIND:]
        return cls(loss, nll, kl, wd, tuple(contexts), norm, limit, REASONS[int(why)])


class Descent:
    """The state of n requests' descent. Call `look` and `move`, in turn, inside `frozen` and `gradients`."""

    def __init__(self, objective: Objective, recipe: Recipe) -> None:
        """δ = 0. Call it inside `gradients`."""
        self.offsets: Tensor = objective.zero()
        """(n, d_out). A request that has ended keeps the offset it ended with."""
        self.passes = Passes(objective, len(self.offsets), self.offsets.device)
        self.recipe = recipe
        zero = torch.zeros_like(self.offsets, requires_grad=False)
        self._mean, self._square = zero, zero.clone()
        self._alive = torch.ones(len(zero), dtype=torch.bool, device=zero.device)
        self._step = torch.zeros(1, dtype=torch.int64, device=zero.device)
        self._rates = _rates(recipe, zero)
        self._init_norms: Tensor = zero[:, 0]
        self._report: Tensor | None = None
        self._evaluation: Evaluation | None = None

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes and the next one reads; `offsets` first."""
        return [self.offsets, self._mean, self._square, self._alive, self._step]

    def take(self, state: Sequence[Tensor]) -> None:
        """Goes on with other tensors, as `state` has them."""
        self.offsets, self._mean, self._square, self._alive, self._step = state

    def fixed(self) -> Fixed | None:
        """What every step after the first reads and none changes; None: they are not always the same operations."""
        fixed = self.passes.objective.fixed()
        if fixed is None:
            return None
        return Fixed((fixed.way, len(self.offsets)), (*fixed.tensors, self._rates, *self.passes.own))

    def look(self) -> Tensor:
        """One evaluation at `offsets`: its report, (n, 4 + templates + 3), a row a request; `Seen` says what of."""
        evaluation = self.passes.at(self.offsets)
        with torch.no_grad():
            self._init_norms = self.passes.target_init.norm(dim=1)
            table = self.passes.spread(evaluation.terms.table().to(self.offsets.device))
            norms = self.offsets.norm(dim=1)
            limits = self.recipe.clamp_factor * self._init_norms
            behind = [norms, limits.to(norms), self._ends(table)]
            self._report = torch.cat([table, torch.stack(behind, dim=1)], dim=1)
        self._evaluation = evaluation
        return self._report

    def move(self) -> None:
        """One step of Adam and the clamp for each request that has not ended. Notes in the report what goes wrong."""
        if self._evaluation is None or self._report is None:
            raise RuntimeError("there is nothing to move by before a look")
        gradient = self.passes.spread(self._evaluation.gradient())
        self._evaluation = None
        with torch.no_grad():
            why, limits = self._report[:, -1], self._report[:, -2]
            self._step += 1
            reach = gradient.norm(dim=1) * self._init_norms
            unreached = (self._step == 1) & (reach <= OUT_OF_REACH * self._report[:, 1])
            self._mark(why, unreached, "reach")
            self._mark(why, ~gradient.isfinite().all(dim=1), "gradient")
            self._alive &= why == 0
            moving = self._alive & (self._step < self.recipe.steps)
            self.offsets.copy_(torch.where(moving[:, None], self._moved(gradient, limits), self.offsets))

    def _ends(self, table: Tensor) -> Tensor:
        """Why each request ends at this evaluation, as a number, (n,)."""
        loss, nll = table[:, 0], table[:, 1]
        why = torch.zeros_like(loss)
        if self.recipe.nll_stop is not None:
            why = why.masked_fill(nll < self.recipe.nll_stop, REASONS.index("nll"))
        why = why.masked_fill(loss < self.recipe.loss_stop, REASONS.index("loss"))
        return why.masked_fill(~loss.isfinite(), REASONS.index("nan"))

    def _mark(self, why: Tensor, where: Tensor, reason: Why) -> None:
        why.copy_(why.masked_fill(where & (why == 0), REASONS.index(reason)))

    def _moved(self, gradient: Tensor, limits: Tensor) -> Tensor:
        """Where Adam and the clamp would go; the moments move for all."""
        first, second = BETAS
        self._mean.lerp_(gradient, 1 - first)
        self._square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        rate, root = self._rates.index_select(0, self._step - 1)[0]
        moved = self.offsets + (self._mean * rate) / (self._square.sqrt() / root).add_(EPSILON)
        return clamped(moved, limits)


def _rates(recipe: Recipe, like: Tensor) -> Tensor:
    """Of each step, the first is 1: minus the rate over the mean's bias, and the root of the square's, (steps, 2)."""
    first, second = BETAS
    rows = [(-recipe.lr / (1 - first**t), (1 - second**t) ** 0.5) for t in range(1, recipe.steps + 1)]
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def clamped(offsets: Tensor, limits: Tensor) -> Tensor:
    """Each of `offsets`, (n, d_out), scaled back to its norm in `limits`, (n,), if it is longer."""
    back: Tensor = (limits / offsets.norm(dim=1)).nan_to_num(1.0).clamp(max=1.0)
    return offsets * back[:, None]


class Passes:
    """An objective of which the requests that have ended are left out, once they are enough to be worth it."""

    def __init__(self, objective: Objective, requests: int, device: torch.device) -> None:
        self.objective = objective
        self._requests, self._device = requests, device
        self._alive = [*range(requests)]
        self._index: Tensor | None = None
        self._target_init: Tensor | None = None

    @property
    def target_init(self) -> Tensor:
        """t0 of every request, (n, d_out). Known after the first evaluation."""
        return self.objective.target_init if self._target_init is None else self._target_init

    @property
    def own(self) -> list[Tensor]:
        """What is read beside the objective's tensors once requests are left out."""
        return [] if self._index is None else [self._index, self.target_init]

    def narrow(self, going: Sequence[bool]) -> bool:
        """Leaves out, from the next evaluation on, those that are not `going`; whether it was worth it."""
        left = [n for n, i in enumerate(self._alive) if going[i]]
        if not left or len(left) == len(self._alive) or len(left) > WORTH * len(self._alive):
            return False
        self._target_init = self.target_init
        self.objective = self.objective.only(left)
        self._alive = [self._alive[n] for n in left]
        self._index = torch.tensor(self._alive, device=self._device)
        return True

    def at(self, offsets: Tensor) -> Evaluation:
        """The objective at `offsets`, (n, d_out), of those that are not left out."""
        return self.objective.at(offsets if self._index is None else offsets[self._index])

    def spread(self, table: Tensor) -> Tensor:
        """Rows, of a report or a gradient, where their requests are among all, (n, ...); zero for one left out."""
        if self._index is None:
            return table
        return table.new_zeros(self._requests, table.shape[1]).index_copy(0, self._index, table)
