"""The probes of an edit of many requests, asked before and after it, and counted.

Every request's efficacy is asked; of more than EVERY requests, paraphrases and neighbours of a stated sample only. Told
one by one are the probes of that sample; all of them are in the counts and scores.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from workbench.editing.cancel import check
from workbench.edits import EditRequest
from workbench.engine.base_answers import settle_here
from workbench.engine.core import Core
from workbench.engine.edit_probes import Owned, owned_probes, sample
from workbench.errors import EditError
from workbench.events import BatchProbed, Event, ProbeResult, Warning  # noqa: A004  the wire's word
from workbench.probing.metrics import scores
from workbench.probing.probes import Probe, ask, tally

AT_ONCE = 256
"""Probes asked together, and between which a cancel is heard."""


@dataclass(frozen=True)
class Probed:
    """How the probes of a batch came out."""

    told: tuple[tuple[int, ProbeResult], ...]
    """Those of the sample, each with its request's place in the edit."""
    counted: BatchProbed


class BatchProbing:
    """The probes of `requests`, settled on the model as it is when `settle` runs; `left_out` more are in no edit."""

    def __init__(self, core: Core, requests: Sequence[EditRequest], seed: int, left_out: int = 0) -> None:
        self._core, self._requests, self._seed, self._left_out = core, requests, seed, left_out
        self._settled: list[Owned] = []

    def settle(self, cancelled: Callable[[], bool]) -> Iterator[Warning]:
        """Fills in what the probes leave open; one that this model cannot be asked is left out, and that is said."""
        reasons: list[str] = []
        listed = owned_probes(self._requests, self._seed)
        for start in range(0, len(listed), AT_ONCE):
            check(cancelled)
            self._settled += self._settle_some(listed[start : start + AT_ONCE], reasons)
        if reasons:
            many = "1 probe cannot" if len(reasons) == 1 else f"{len(reasons)} probes cannot"
            yield Warning(message=f"{many} be asked of this model, and will not count. {reasons[0]}")

    def _settle_some(self, some: Sequence[Owned], reasons: list[str]) -> list[Owned]:
        try:
            return [*zip((place for place, _ in some), settle_here(self._core, [p for _, p in some]), strict=True)]
        except EditError as error:
            if len(some) == 1:
                reasons.append(error.message)
                return []
            return [found for one in some for found in self._settle_some([one], reasons)]

    def ask(self, cancelled: Callable[[], bool]) -> Generator[Event, None, Probed]:
        """Asks them of the model as it is now; yields the results of the sample, and a BatchProbed."""
        loaded = self._core.loaded
        results: list[tuple[int, ProbeResult]] = []
        for start in range(0, len(self._settled), AT_ONCE):
            check(cancelled)
            some = self._settled[start : start + AT_ONCE]
            probes: list[Probe] = [probe for _, probe in some]
            said = ask(loaded.model, loaded.tokenizer, probes, side="stack")
            results += zip((place for place, _ in some), said, strict=True)
        sampled = {*sample(len(self._requests), self._seed)}
        told = tuple((place, result) for place, result in results if place in sampled)
        yield from (result for _, result in told)
        counted = self._counted(results, len(sampled))
        yield counted
        return Probed(told, counted)

    def _counted(self, results: Sequence[tuple[int, ProbeResult]], sampled: int) -> BatchProbed:
        by_request: dict[int, list[ProbeResult]] = {}
        for place, result in results:
            by_request.setdefault(place, []).append(result)
        found, every = scores([*by_request.values()]), [result for _, result in results]
        return BatchProbed(
            requests=len(self._requests),
            sampled=sampled,
            seed=self._seed,
            efficacy=tally(every, "efficacy") or (0, 0),
            paraphrases=tally(every, "paraphrase"),
            neighbours=tally(every, "neighbourhood"),
            es=found.es,
            ps=found.ps,
            ns=found.ns,
            s=found.s,
            left_out=self._left_out,
        )
