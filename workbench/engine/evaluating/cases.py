"""Scoring cases: the probes of requests asked of the model as it stands, many in one pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from workbench.editing.cancel import check
from workbench.editing.chat import framed
from workbench.edits import SLOT, EditRequest
from workbench.engine.core import Core
from workbench.engine.evaluating.dataset import behind
from workbench.errors import EditError, RequestError
from workbench.events import Event, ModelLoading
from workbench.models.device import within_memory
from workbench.probing.answers import Question, Reading, read_answers
from workbench.probing.metrics import CaseScore as CaseScore
from workbench.probing.metrics import ProbeScore as ProbeScore
from workbench.probing.metrics import Summary as Summary
from workbench.probing.metrics import summary as summary
from workbench.probing.probes import Probe, holds, probes_of, settle

AT_ONCE = 32
"""Cases whose probes are asked together, and on which a cancelled scoring ends."""

Settled = tuple[Probe, ...]
"""The probes of one case with nothing left open."""


def score_cases(
    core: Core,
    requests: Sequence[EditRequest],
    *,
    base: Sequence[Settled | None] | None = None,
    prefixes: Sequence[str] | None = None,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, tuple[CaseScore, ...]]:
    """Asks all probes of `requests` of the model as it stands, and says what each case gave, in order.

    What a probe leaves open (a neighbour's answer, the rival of a target without a true answer) is what the base says.
    A case that cannot be asked (longer than the model reads, no token) has failed, and so have all its probes.

    Args:
        core: the model, showing the state to be scored.
        requests: the cases; a chat's frame is filled in.
        base: their probes, as `settle_cases` gave them; None: settled here, each question asked of the base once.
        prefixes: one template with one `{}` a case, put around each of its prompts; None: the bare prompts.
        cancelled: asked before every AT_ONCE cases.

    Raises:
        Cancelled: `cancelled` said so.
        ModelError: a request is a chat's and the model has no chat template.
        DeviceError: the device ran out of memory.
    """
    found: list[CaseScore] = []
    for start in range(0, len(requests), AT_ONCE):
        check(cancelled)
        some = requests[start : start + AT_ONCE]
        yield ModelLoading(stage=f"scoring case {start + 1} of {len(requests)}", fraction=start / len(requests))
        settled = (
            base[start : start + AT_ONCE]
            if base is not None
            else settle_cases(core, some, prefixes[start : start + AT_ONCE] if prefixes else None)
        )
        found += _ask_together(core, some, settled)
    return tuple(found)


def settle_cases(
    core: Core, requests: Sequence[EditRequest], prefixes: Sequence[str] | None = None
) -> list[Settled | None]:
    """The probes of each case, what they leave open filled in by what the base says; None where it cannot be asked."""
    with within_memory():
        return [
            _settle(core, _probes(core, request, prefix))
            for request, prefix in zip(requests, prefixes or [SLOT] * len(requests), strict=True)
        ]


def settle_alone(core: Core, request: EditRequest, prefix: str = SLOT) -> Settled | None:
    """As `settle_cases` for one case, in passes of its own: what comes out depends on no case asked before."""
    try:
        with within_memory(), core.live.at_base():
            return tuple(settle(core.loaded.model, core.loaded.tokenizer, _probes(core, request, prefix)))
    except (EditError, RequestError):
        return None


def _probes(core: Core, request: EditRequest, prefix: str) -> list[Probe]:
    """The probes of a case behind its prefix."""
    return [
        replace(probe, prompt=behind(prefix, probe.prompt))
        for probe in probes_of(framed(core.loaded.tokenizer, request))
    ]


def _settle(core: Core, probes: list[Probe]) -> Settled | None:
    try:
        return tuple(core.base_answers.settle(probes))
    except (EditError, RequestError):
        return None


def _ask_together(core: Core, requests: Sequence[EditRequest], settled: Sequence[Settled | None]) -> list[CaseScore]:
    """Each case that can be asked in one set of passes; where one of them cannot, each alone."""
    asked = [case or () for case in settled]
    try:
        readings = iter(_read(core, [probe for case in asked for probe in case]))
    except (EditError, RequestError):
        return [_ask_alone(core, request, case) for request, case in zip(requests, settled, strict=True)]
    return [
        _scored([(probe, next(readings)) for probe in case]) if case else failure(request, CANNOT_ASK)
        for request, case in zip(requests, settled, strict=True)
    ]


CANNOT_ASK = "Its probes cannot be asked of this model."


def _ask_alone(core: Core, request: EditRequest, settled: Settled | None) -> CaseScore:
    if settled is None:
        return failure(request, CANNOT_ASK)
    try:
        return _scored([*zip(settled, _read(core, settled), strict=True)])
    except (EditError, RequestError) as error:
        return failure(request, error.message)


def _read(core: Core, probes: Sequence[Probe]) -> list[Reading]:
    questions = [Question(probe.prompt, probe.answers, probe.chat) for probe in probes]
    with within_memory():
        return read_answers(core.loaded.model, core.loaded.tokenizer, questions, top=1)


def _scored(asked: Sequence[tuple[Probe, Reading]]) -> CaseScore:
    return CaseScore(tuple(_score(probe, reading) for probe, reading in asked))


def _score(probe: Probe, reading: Reading) -> ProbeScore:
    expected, *rivals = reading.log_p
    rival = rivals[0] if rivals else None
    new, true = (rival, expected) if probe.kind == "neighbourhood" else (expected, rival)
    return ProbeScore(probe.kind, holds(reading), new, true, reading.right[0])


def failure(request: EditRequest, why: str) -> CaseScore:
    """A case of which nothing is known but that it failed: no probe holds, no token is right, nothing is moved."""
    probes = (ProbeScore(probe.kind, False, None, None, 0.0) for probe in probes_of(request))
    return CaseScore(tuple(probes), failed=why)
