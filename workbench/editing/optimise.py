"""The offset δ: what must be added to the MLP's output at the subject's last token so that the model says the target.

Source: ROME, arXiv 2202.05262, section 3.1, equation 4, with Adam and the stopping rules of its published code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from workbench.editing.cancel import check
from workbench.editing.descent import Descent, Seen
from workbench.editing.flags import gradients
from workbench.editing.graphs import Steps
from workbench.editing.late import Late, Rows
from workbench.editing.loss import Objective
from workbench.edits import Recipe
from workbench.errors import EditError
from workbench.events import OptimStep

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_UNREACHED = (
    "No change at the subject's last token reaches the target: no layer above carries it to where it is predicted."
)
_WIDER = "Load the model in float32 or bfloat16."


@dataclass(frozen=True, eq=False)
class Offset:
    """The optimised δ of one request and what it started from. Tensors are float32 or wider, on the CPU."""

    offset: Tensor
    """δ, (d_out,)."""
    target_init: Tensor
    """t0, (d_out,): the clean output at the looked-up token of the first row."""
    steps: int
    """Adam steps taken; one fewer than the evaluations of the loss."""
    stopped: str
    """Why it ended: "loss", "nll" or "steps"."""


def optimise(
    model: PreTrainedModel, objective: Objective, recipe: Recipe, cancelled: Callable[[], bool]
) -> Generator[list[OptimStep | None], None, list[Offset | EditError]]:
    """Adam on the δ of every request of `objective`; one list an evaluation, None for a request that has ended.

    The requests share each pass and nothing else: each stops on its own, one whose loss or gradient is not a number,
    or does not depend on δ, with the error that says so. Between two lists the model has no hook, and its flags
    are its owner's. On an accelerator a list comes while the next evaluation is under way already.

    Raises:
        Cancelled: `cancelled` said so; asked before every evaluation.
        ModelError: the model has no language-model head.
    """
    with gradients():
        descent = Descent(objective, recipe)
    ends, late = Ends(recipe, len(descent.offsets)), Late(descent.offsets.device)
    steps = Steps(model, descent, unseen=late.waits)
    try:
        for left in reversed(range(recipe.steps)):
            check(cancelled)
            started = time.perf_counter()
            report = steps.run(left)
            for rows in late.after(report):
                yield from ends.told(rows, time.perf_counter() - started)
            if ends.all:
                break
            with gradients():
                if descent.passes.narrow(ends.going):
                    steps.narrowed()
        for rows in late.rest():
            yield from ends.told(rows, time.perf_counter() - started)
        return ends.outcomes(descent.offsets.detach().cpu(), descent.passes.target_init.cpu())
    finally:
        steps.close()


class Ends:
    """What the host knows of n requests: which go on, and how the others ended."""

    def __init__(self, recipe: Recipe, requests: int) -> None:
        self._recipe, self._step = recipe, 0
        self._ended: dict[int, tuple[int, str] | EditError] = {}
        self._requests = requests

    @property
    def going(self) -> list[bool]:
        """Of each request, whether it goes on."""
        return [i not in self._ended for i in range(self._requests)]

    @property
    def all(self) -> bool:
        """Whether every request has ended."""
        return len(self._ended) == self._requests

    def told(self, rows: Rows, seconds: float) -> Iterator[list[OptimStep | None]]:
        """The events of the next evaluation, which took `seconds`, from its report; none once all have ended."""
        if self.all:
            return
        self._step += 1
        going = self.going
        seen = [Seen.of(row) if on else None for on, row in zip(going, rows, strict=True)]
        yield [self._event(i, one, seconds) if one else None for i, one in enumerate(seen)]

    def _event(self, request: int, seen: Seen, seconds: float) -> OptimStep | None:
        """Of one request at one evaluation; None where the loss is no number."""
        end = self._end(seen)
        if end is not None:
            self._ended[request] = end
        if seen.why == "nan":
            return None
        return OptimStep(
            step=self._step,
            of=self._recipe.steps,
            loss=seen.loss,
            nll=seen.nll,
            kl=seen.kl,
            wd=seen.wd,
            p_target=sum(seen.p_contexts) / len(seen.p_contexts),
            p_contexts=seen.p_contexts,
            delta_norm=seen.delta_norm,
            clamp=seen.clamp,
            seconds=seconds,
            stopped=end[1] if isinstance(end, tuple) else "",
        )

    def _end(self, seen: Seen) -> tuple[int, str] | EditError | None:
        """How a request ends at this evaluation: steps taken and why, or an error; None: it goes on."""
        if seen.why == "nan":
            return EditError(
                f"The loss is not a number at step {self._step}.", "Lower lr or clamp_factor, or " + _WIDER.lower()
            )
        if seen.why in ("loss", "nll"):
            return self._step - 1, seen.why
        if self._step == self._recipe.steps:
            return self._step - 1, "steps"
        if seen.why == "gradient":
            return EditError("The gradient of the loss is not a number.", _WIDER)
        return EditError(_UNREACHED, "Choose a lower layer.") if seen.why == "reach" else None

    def outcomes(self, offsets: Tensor, target_init: Tensor) -> list[Offset | EditError]:
        """How each has ended, from the last offsets and t0, (n, d_out) both, on the CPU."""
        ended = [self._ended[i] for i in range(self._requests)]
        return [
            one if isinstance(one, EditError) else Offset(offsets[i].clone(), target_init[i], *one)
            for i, one in enumerate(ended)
        ]
