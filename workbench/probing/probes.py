"""The probes of an edit: efficacy, paraphrase, neighbourhood, asked before and after it.

Scores are CounterFact's: an answer holds when its mean log-probability per token is strictly above its rival's; NaN
fails. A neighbour without a stated answer must keep what the base says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.edits import Chat, EditRequest
from workbench.events import ProbeResult
from workbench.probing.answers import Answer, Question, Reading, answer_ids, read_answers
from workbench.probing.metrics import Kind as Kind


@dataclass(frozen=True)
class Probe:
    """A prompt, the answer that must win, and the one that must lose."""

    kind: Kind
    prompt: str
    expected: str = ""
    """Empty until it is settled: whatever the model says."""
    rival: str = ""
    """Empty until `settle`; empty after it: the model already said `expected`, so it must be its likeliest answer."""
    before: float | None = None
    """p(expected) when it was settled."""
    expected_ids: tuple[int, ...] = ()
    """The very token that the model said, where `expected` was left open."""
    rival_ids: tuple[int, ...] = ()
    """The same for `rival`."""
    chat: Chat | None = None
    """The prompt is a user's turn of it; None: raw text."""

    @property
    def unstated(self) -> bool:
        """Whether it is still open what is expected."""
        return not (self.expected or self.expected_ids)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What to ask the probability of: `expected`, then `rival` if there is one."""
        asked: tuple[Answer, ...] = (self.expected_ids or self.expected, self.rival_ids or self.rival)
        return tuple(answer for answer in asked if answer)


def probes_of(request: EditRequest) -> list[Probe]:
    """Everything `request` asks to be watched, the edit itself first."""
    new, true = request.target_new, request.target_true or ""
    probes = [
        Probe("efficacy", request.text, new, true),
        *(Probe("paraphrase", prompt, new, true) for prompt in request.paraphrases),
        *(Probe("neighbourhood", n.prompt, n.expected or "", new) for n in request.neighbours),
    ]
    return [replace(probe, chat=request.chat) for probe in probes]


def keep_unstated(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe]) -> list[Probe]:
    """Gives the neighbours without a stated answer what the model says now; to be asked of the base."""
    unstated = [opening(probe) for probe in probes if probe.unstated]
    return kept(probes, read_answers(model, tokenizer, unstated, top=1))


def kept(probes: Sequence[Probe], said: Sequence[Reading]) -> list[Probe]:
    """Gives the neighbours without a stated answer what was `said` to the `opening` of each of them, in order."""
    readings = iter(said)
    return [_keeping(probe, next(readings)) if probe.unstated else probe for probe in probes]


def settle(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe]) -> list[Probe]:
    """Fills in what a probe still leaves open with what the model says now, and `before`."""
    return settled(tokenizer, probes, read_answers(model, tokenizer, [opening(probe) for probe in probes], top=1))


def opening(probe: Probe) -> Question:
    """What to ask before an edit: how likely `expected` is, or, where that is open, what is likeliest."""
    return Question(probe.prompt, () if probe.unstated else probe.answers[:1], probe.chat)


def settled(tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe], said: Sequence[Reading]) -> list[Probe]:
    """Fills in what a probe still leaves open, and `before`, by what was `said` to the `opening` of each."""
    return [_settled(tokenizer, probe, reading) for probe, reading in zip(probes, said, strict=True)]


def ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    probes: Sequence[Probe],
    *,
    side: str = "",
) -> list[ProbeResult]:
    """The results of settled probes on the model as it is now."""
    readings = read_answers(model, tokenizer, [Question(p.prompt, p.answers, p.chat) for p in probes], top=1)
    return [_result(probe, reading, side) for probe, reading in zip(probes, readings, strict=True)]


def tally(results: Sequence[ProbeResult], kind: Kind) -> tuple[int, int] | None:
    """(held, asked) over the probes of `kind`; None if there are none."""
    passed = [bool(r.passed) for r in results if r.kind == kind]
    return (sum(passed), len(passed)) if passed else None


def _keeping(probe: Probe, reading: Reading) -> Probe:
    return replace(probe, expected=reading.top[0][0], expected_ids=(reading.likeliest,))


def _settled(tokenizer: PreTrainedTokenizerBase, probe: Probe, reading: Reading) -> Probe:
    if probe.unstated:
        probe = replace(_keeping(probe, reading), before=reading.top[0][1])
    else:
        probe = replace(probe, before=reading.probabilities[0])
    expected, *rivals = (answer_ids(tokenizer, answer, probe.chat) for answer in probe.answers)
    if probe.kind == "neighbourhood" and rivals and rivals[0][: len(expected)] == expected:
        return replace(probe, rival="")  # the edit's target is the right answer here too: it cannot lose to itself
    if rivals or expected[0] == reading.likeliest:
        return probe
    return replace(probe, rival=reading.top[0][0], rival_ids=(reading.likeliest,))


def holds(reading: Reading) -> bool:
    """Whether a settled probe holds: what is expected, the first answer, beats the second strictly; NaN fails.

    Without a second one, every token of what is expected must be the likeliest.
    """
    if len(reading.log_p) > 1:
        return reading.log_p[0] > reading.log_p[1]
    return reading.greedy[0] and not math.isnan(reading.log_p[0])


def _result(probe: Probe, reading: Reading, side: str) -> ProbeResult:
    answer, p_answer = reading.top[0]
    p_expected, *rivals = reading.probabilities
    return ProbeResult(
        kind=probe.kind,
        prompt=probe.prompt,
        expected=probe.expected,
        rival=probe.rival,
        p_expected=p_expected,
        p_rival=rivals[0] if rivals else None,
        answer=answer,
        p_answer=p_answer,
        before=probe.before,
        passed=holds(reading),
        side=side,
    )
