"""What stands between an edit that was measured and its commit: limits, and the question what becomes of it.

The edit is in the model while the question is open and nowhere else: a kill at that moment loses it and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.editing.cancel import Cancelled, check
from workbench.engine.core import Core
from workbench.events import EarlierProbed, Event, GuardAsked, GuardTripped
from workbench.guards import RECENT, Decision, Guard, alone, measured, told, usual
from workbench.stack.record import Edit

Decide = Callable[[tuple[GuardTripped, ...]], Decision]
"""Answers what becomes of an edit that tripped a guard; may take as long as a person does."""


@dataclass(frozen=True)
class Watch:
    """A guard, and who is asked."""

    guard: Guard
    decide: Decide | None = None
    """None: nobody; the edit is discarded."""


class Discarded(Cancelled):
    """The answer was discard; no weight has changed."""


def pass_guard(
    watch: Watch | None, values: Mapping[str, float], cancelled: Callable[[], bool]
) -> Generator[Event, None, tuple[GuardTripped, ...]]:
    """Says what is beyond its limit and asks; returns what tripped and was kept all the same.

    Args:
        watch: None: no guard.
        values: as `guards.measured`.
        cancelled: asked again after the answer, which may have come because of it.

    Raises:
        Discarded: the edit is to go. Cancelled: it was stopped meanwhile.
    """
    tripped = watch.guard.trips(values) if watch else ()
    if watch is None or not tripped:
        return ()
    yield from tripped
    if watch.decide is None:
        answer: Decision = "discard"
    else:
        yield GuardAsked(measures=tuple(one.measure for one in tripped))
        answer = watch.decide(tripped)
    check(cancelled)
    if answer == "discard":
        raise Discarded("; ".join(map(told, tripped)), "No weight has changed.")
    return tripped


class Patience:
    """The guard over several edits of one job: what was answered with continue is not asked about again."""

    def __init__(self, watch: Watch | None) -> None:
        self._given = watch
        self._waived: set[str] = set()

    @property
    def watch(self) -> Watch | None:
        """What the next edit is held to."""
        given = self._given
        if given is None or given.decide is None:
            return given
        return Watch(given.guard.without(sorted(self._waived)), lambda tripped: self._answer(given.decide, tripped))

    def _answer(self, decide: Decide | None, tripped: tuple[GuardTripped, ...]) -> Decision:
        answer: Decision = decide(tripped) if decide else "discard"
        if answer == "continue":
            self._waived |= {one.measure for one in tripped}
        return answer


def watch_of(guard: Guard | None, decide: Decide | None) -> Watch | None:
    """Both together; None where there is no guard."""
    return Watch(guard, decide) if guard else None


def values_of(core: Core, edit: Edit, key_norm: float | None, earlier: EarlierProbed | None) -> dict[str, float]:
    """What is measured of `edit`, which is in the model and not yet on the stack; as `guards.measured`."""
    perplexity = _table(edit.metrics.get("perplexity"))
    probes = edit.metrics.get("probes") or []
    return measured(
        ratio=_ratio(edit),
        usual_ratio=usual([_ratio(one) for one in core.stack.active[-RECENT:]]),
        division_factor=_table(edit.metrics.get("norms")).get("division_factor"),
        key_norm=key_norm,
        perplexity=perplexity.get("after"),
        perplexity_base=perplexity.get("base"),
        neighbours=[one["passed"] for one in probes if one["kind"] == "neighbourhood"],
        earlier=earlier,
    )


def _ratio(edit: Edit) -> float | None:
    """|ΔW| / |W| as the file says, of several requests as of one; None where it says no number."""
    ratio = _table(edit.metrics.get("norms")).get("ratio")
    if not isinstance(ratio, (int, float)) or isinstance(ratio, bool):
        return None
    return alone(ratio, len(edit.requests))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
