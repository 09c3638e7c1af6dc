"""The probes of an edit: efficacy, paraphrase, neighbourhood, asked before and after it.

Scores are CounterFact's: an answer holds when its mean log-probability per token is strictly above its rival's; NaN
fails. A neighbour without a stated answer must keep what the model said before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.edits import EditRequest
from workbench.events import ProbeResult
from workbench.probing.answers import Question, read_answers

Kind = Literal["efficacy", "paraphrase", "neighbourhood"]


@dataclass(frozen=True)
class Probe:
    """A prompt, the answer that must win, and the one that must lose."""

    kind: Kind
    prompt: str
    expected: str = ""
    """Empty until `settle`: whatever the model says."""
    rival: str = ""
    """Empty until `settle`; empty after it: the model already said `expected`, so it must be its likeliest answer."""
    before: float | None = None
    """p(expected) when it was settled."""


def probes_of(request: EditRequest) -> list[Probe]:
    """Everything `request` asks to be watched, the edit itself first."""
    new, true = request.target_new, request.target_true or ""
    return [
        Probe("efficacy", request.text, new, true),
        *(Probe("paraphrase", prompt, new, true) for prompt in request.paraphrases),
        *(Probe("neighbourhood", n.prompt, n.expected or "", new) for n in request.neighbours),
    ]


def settle(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe]) -> list[Probe]:
    """Fills in what a probe leaves open with what the model says now, and `before`."""
    asked = [Question(p.prompt, (p.expected,) if p.expected else ()) for p in probes]
    settled = []
    for probe, reading in zip(probes, read_answers(model, tokenizer, asked, top=1), strict=True):
        answer, p_answer = reading.top[0]
        before = reading.probabilities[0] if probe.expected else p_answer
        expected = probe.expected or answer
        rival = probe.rival or ("" if _says(answer, expected) else answer)
        settled.append(replace(probe, expected=expected, rival=rival, before=before))
    return settled


def ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    probes: Sequence[Probe],
    *,
    edit: str = "",
    side: str = "",
) -> list[ProbeResult]:
    """The results of settled probes on the model as it is now."""
    asked = [Question(p.prompt, (p.expected, p.rival) if p.rival else (p.expected,)) for p in probes]
    results = []
    for probe, reading in zip(probes, read_answers(model, tokenizer, asked, top=1), strict=True):
        answer, p_answer = reading.top[0]
        p_expected = reading.probabilities[0]
        p_rival = reading.probabilities[1] if probe.rival else None
        results.append(
            ProbeResult(
                kind=probe.kind,
                prompt=probe.prompt,
                expected=probe.expected,
                rival=probe.rival,
                p_expected=p_expected,
                p_rival=p_rival,
                answer=answer,
                p_answer=p_answer,
                before=probe.before,
                passed=_says(answer, probe.expected) if p_rival is None else p_expected > p_rival,
                edit=edit,
                side=side,
            )
        )
    return results


def tally(results: Sequence[ProbeResult], kind: Kind) -> tuple[int, int] | None:
    """(held, asked) over the probes of `kind`; None if there are none."""
    passed = [bool(r.passed) for r in results if r.kind == kind]
    return (sum(passed), len(passed)) if passed else None


def _says(answer: str, expected: str) -> bool:
    """Whether the next token `answer` begins `expected`."""
    said = answer.strip()
    return bool(said) and expected.strip().startswith(said)
