"""Diff: two states of the weights side by side, module by module and answer by answer. The model is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workbench.engine.core import Core
from workbench.engine.edit_probes import probes_of_edit
from workbench.engine.states import State
from workbench.errors import UsageError
from workbench.events import AnswersDiffer, Event, WeightsDiffer
from workbench.probing.answers import Question, Reading, next_token_log_p, read_answers
from workbench.probing.divergence import kl_divergence
from workbench.probing.probes import Probe, settle
from workbench.stack.materialise import weight_sha256
from workbench.stack.record import Edit, Factors

BLOCK = 64
"""Probes asked before the other state is shown."""
ARROW = "=>"
"""Between a prompt and the answer that is expected."""


@dataclass(frozen=True)
class Watched:
    """A prompt that both states are asked."""

    kind: Literal["efficacy", "paraphrase", "neighbourhood", "prompt"]
    prompt: str
    probe: Probe | None = None
    """What is expected, settled; None: nothing is."""
    edit: str = ""

    @property
    def question(self) -> Question:
        """What to ask: the prompt, the expected answer, its rival."""
        return Question(self.prompt, self.probe.answers, self.probe.chat) if self.probe else Question(self.prompt)


def asked_for(text: str) -> Watched:
    """A prompt as a person gives it: "Rome is in", or "Rome is in => Italy". Raises UsageError if it is empty."""
    prompt, arrow, answer = (part.strip() for part in text.partition(ARROW))
    if not prompt or (arrow and not answer):
        raise UsageError("A probe is empty.", f"Write the beginning of a sentence, or: prompt {ARROW} answer.")
    return Watched("prompt", prompt, Probe("efficacy", prompt, answer) if answer else None)


def probes_of_edits(core: Core, edits: Sequence[Edit], most: int) -> tuple[list[Watched], int]:
    """The first `most` probes of `edits`, each once, held against the base; and how many were left out."""
    wanted: dict[tuple[object, ...], tuple[str, Probe]] = {}
    for edit in edits:
        for probe in probes_of_edit(edit):
            wanted.setdefault((probe.kind, probe.prompt, probe.expected, probe.rival, probe.chat), (edit.id, probe))
    kept = list(wanted.values())[:most]
    with core.live.at_base():
        settled = settle(core.loaded.model, core.loaded.tokenizer, [probe for _, probe in kept])
    watched = [Watched(p.kind, p.prompt, p, ident) for (ident, _), p in zip(kept, settled, strict=True)]
    return watched, len(wanted) - len(kept)


def compare_states(
    core: Core, a: State, b: State, watched: Sequence[Watched], *, cancelled: Callable[[], bool]
) -> Generator[Event, None, None]:
    """Yields a WeightsDiffer a module that either state edits, and an AnswersDiffer a probe.

    Raises:
        BaseMismatch: an edit does not fit the model.
        StackError, VerificationError: an edit file is damaged.
        EditError: a probe has no token, or more than the model reads.
    """
    sides = _Sides(core, a, b)
    before = core.live.shown
    try:
        yield from sides.weights()
        for start in range(0, len(watched), BLOCK):
            if cancelled():
                return
            yield from sides.answers(watched[start : start + BLOCK])
    finally:
        core.live.show(before)


class _Sides:
    """The updates of two states, shown in turn."""

    def __init__(self, core: Core, a: State, b: State) -> None:
        self._core = core
        for edit in (*a.active, *b.active):
            core.live.adopt(edit)
        self._a, self._b = _updates(a), _updates(b)

    def weights(self) -> Generator[Event, None, None]:
        live = self._core.live
        modules = sorted({one.module for update in (*self._a, *self._b) for one in update})
        live.show(self._a)
        first = {module: live.parameter(module).detach().to("cpu", copy=True) for module in modules}
        live.show(self._b)
        for module in modules:
            second, base = live.parameter(module).detach().cpu(), live.pristine(module)
            yield WeightsDiffer(
                module=module,
                distance=_norm(first[module].double() - second.double()) / (_norm(base.double()) or 1.0),
                sha_a=weight_sha256(first[module]),
                sha_b=weight_sha256(second),
            )

    def answers(self, watched: Sequence[Watched]) -> Generator[Event, None, None]:
        read_a, log_a = self._read(self._a, watched)
        read_b, log_b = self._read(self._b, watched)
        for one, in_a, in_b, kl in zip(watched, read_a, read_b, kl_divergence(log_a, log_b), strict=True):
            yield _answers(one, in_a, in_b, kl)

    def _read(self, updates: Sequence[tuple[Factors, ...]], watched: Sequence[Watched]) -> tuple[list[Reading], Tensor]:
        model, tokenizer = self._core.loaded.model, self._core.loaded.tokenizer
        self._core.live.show(updates)
        readings = read_answers(model, tokenizer, [one.question for one in watched], top=1)
        return readings, next_token_log_p(model, tokenizer, [one.prompt for one in watched])


def _updates(state: State) -> list[tuple[Factors, ...]]:
    return [state.factors(edit) for edit in state.active]


def _norm(matrix: Tensor) -> float:
    return float(torch.linalg.vector_norm(matrix))


def _answers(one: Watched, in_a: Reading, in_b: Reading, kl: float) -> AnswersDiffer:
    (answer_a, p_a), (answer_b, p_b) = in_a.top[0], in_b.top[0]
    (expected_a, rival_a), (expected_b, rival_b) = _pair(in_a), _pair(in_b)
    return AnswersDiffer(
        kind=one.kind,
        prompt=one.prompt,
        answer_a=answer_a,
        p_answer_a=p_a,
        answer_b=answer_b,
        p_answer_b=p_b,
        kl=kl,
        expected=one.probe.expected if one.probe else "",
        rival=one.probe.rival if one.probe else "",
        p_expected_a=expected_a,
        p_expected_b=expected_b,
        p_rival_a=rival_a,
        p_rival_b=rival_b,
        edit=one.edit,
    )


def _pair(reading: Reading) -> tuple[float | None, float | None]:
    """The probabilities of what is expected and of its rival."""
    first, second, *_ = (*reading.probabilities, None, None)
    return first, second
