"""Watching a stack: its probes, and those that a person has added, asked in each of the states that are named."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from workbench.contrasts import AddedProbe
from workbench.engine.at_state import at_state, check_states, find_state
from workbench.engine.core import Core
from workbench.engine.edit_probes import probes_of_edit
from workbench.events import Event, ProbeResult, Warning  # noqa: A004  the wire's word
from workbench.probing.probes import Probe, ask
from workbench.stack.record import Edit

AT_ONCE = 64
"""Probes asked together."""
Listed = tuple[str, Probe]
"""The id of the edit that a probe belongs to, empty for one that was added; and the probe."""


def watch(
    core: Core,
    states: Sequence[str],
    added: Sequence[AddedProbe] = (),
    *,
    most: int,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, bool]:
    """Yields, state by state, a ProbeResult a probe and one for perplexity, whose `side` is the state's word.

    What a probe leaves open is settled on the base. Those asked are the added ones and those of the edits that are
    active in any of the states, the newest first to stay where there are more than `most`.

    Returns:
        Whether every probe holds in the last state.

    Raises:
        UsageError, StackError, VerificationError, BaseMismatch: as `at_state`.
        EditError: a probe has no token, or more than the model reads.
    """
    check_states(core, states)
    wanted = _of_edits(core, states)
    left = max(0, len(wanted) + len(added) - most)
    if left:
        yield Warning(message=f"{left} probes of the oldest edits are not asked.", hint="workbench probe asks all.")
    listed = [*wanted[left:], *(("", Probe(one.kind, one.prompt, one.expected)) for one in added)]
    held = True
    for word in dict.fromkeys(states):
        held = yield from _in_state(core, word, listed, cancelled)
        if cancelled():
            return False
    return held


def _of_edits(core: Core, states: Sequence[str]) -> list[Listed]:
    """The probes of the edits that are active in any of the states, each edit once."""
    edits: dict[str, Edit] = {}
    for word in states:
        edits |= {edit.id: edit for edit in find_state(core, word).active if not edit.imported}
    return [(edit.id, probe) for edit in edits.values() for probe in probes_of_edit(edit)]


def _in_state(
    core: Core, word: str, listed: Sequence[Listed], cancelled: Callable[[], bool]
) -> Generator[Event, None, bool]:
    loaded, held = core.loaded, True
    with at_state(core, word) as state:
        for start in range(0, len(listed), AT_ONCE):
            if cancelled():
                return False
            some = listed[start : start + AT_ONCE]
            probes = core.base_answers.settle([probe for _, probe in some])
            for (ident, _), result in zip(some, ask(loaded.model, loaded.tokenizer, probes, side=word), strict=True):
                held = held and bool(result.passed)
                yield replace(result, edit=ident)
        value = core.perplexity_here() if state.active else core.perplexity_base()
    if value is not None:
        yield ProbeResult(
            kind="perplexity", prompt="held-out text", value=value, before=core.perplexity_base(), side=word
        )
    return held
