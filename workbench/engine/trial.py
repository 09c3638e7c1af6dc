"""Trying a union of edits: the probes of both sides are asked of each side alone and of all together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence

from workbench.editing.cancel import check
from workbench.engine.core import Core
from workbench.engine.edit_probes import probes_of_edit
from workbench.events import Conflict, Event, ModelLoading, ProbeResult
from workbench.probing.probes import Probe, ask, settle
from workbench.stack.record import Edit, Factors

State = Sequence[tuple[Factors, ...]]
"""The updates that are in the weights, in order."""


def failing_probes(
    core: Core,
    edits: Mapping[str, Sequence[Edit]],
    states: Sequence[State],
    shared: Collection[str],
    cancelled: Callable[[], bool],
) -> Generator[Event, None, list[Conflict]]:
    """The probes that hold where their side stands alone, and fail in the union; the model is left as it was.

    Args:
        core: the model; every module that is touched is adopted.
        edits: "ours" and "theirs": the edits whose probes are asked.
        states: ours alone, theirs alone, the union.
        shared: ids of edits on both sides; their probes must hold on both to count.
        cancelled: asked before each state.

    Yields a Conflict for each, and a ProbeResult with the union's perplexity, ours alone as `before`.
    """
    asked = list({edit.id: edit for side in edits.values() for edit in side if not edit.imported}.values())
    before = core.live.shown
    try:
        core.live.show([])
        yield ModelLoading(stage=f"asking the probes of {len(asked)} edits")
        owners, probes = _settled(core, asked)
        alone: list[list[ProbeResult]] = []
        perplexities: list[float | None] = []
        for state in states:
            check(cancelled)
            core.live.show(state)
            alone.append(ask(core.loaded.model, core.loaded.tokenizer, probes, side="union"))
            perplexities.append(core.perplexity())
    finally:
        core.live.show(before)
    sides = {edit.id: name for name, side in edits.items() for edit in side}
    found = []
    for owner, own, other, union in zip(owners, *alone, strict=True):
        sets = (own, other) if owner.id in shared else (own,) if sides[owner.id] == "ours" else (other,)
        if not union.passed and all(result.passed for result in sets):
            found.append(_conflict(owner, sides[owner.id], sets[0], union))
    yield from found
    if perplexities[-1] is not None:
        yield ProbeResult(
            kind="perplexity", prompt="held-out text", value=perplexities[-1], before=perplexities[0], side="union"
        )
    return found


def _settled(core: Core, edits: Sequence[Edit]) -> tuple[list[Edit], list[Probe]]:
    """The probes of all edits, settled on the model as it is, and whose each is."""
    listed = [(edit, probe) for edit in edits for probe in probes_of_edit(edit)]
    probes = settle(core.loaded.model, core.loaded.tokenizer, [probe for _, probe in listed])
    return [edit for edit, _ in listed], probes


def _conflict(owner: Edit, side: str, alone: ProbeResult, union: ProbeResult) -> Conflict:
    return Conflict(
        kind="probe",
        ours=owner.id if side == "ours" else "",
        theirs=owner.id if side == "theirs" else "",
        prompt=union.prompt,
        target_ours=union.expected if side == "ours" else "",
        target_theirs=union.expected if side == "theirs" else "",
        answer=union.answer,
        p_alone=alone.p_expected,
        p_union=union.p_expected,
    )
