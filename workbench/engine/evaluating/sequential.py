"""Edits one after the other, as a real stack: each case scored as soon as it is edited, all so far at checkpoints.

The stack is the memory of a run that was stopped: an edit that is committed is never made again, and one whose lines
are missing is scored where the stack stands.
"""

from __future__ import annotations

import itertools
import math
import random
import shlex
from collections.abc import Callable, Generator, Sequence

from workbench.editing.cancel import check
from workbench.editing.chat import framed
from workbench.editing.objective import forget
from workbench.edits import EditRequest
from workbench.engine.engine import Engine
from workbench.engine.evaluating.cases import CaseScore, failure
from workbench.engine.evaluating.dataset import Case
from workbench.engine.evaluating.outcome import told
from workbench.engine.evaluating.plan import Wanted
from workbench.engine.evaluating.record import CaseLine, CheckpointLine
from workbench.engine.evaluating.results import Results
from workbench.engine.evaluating.scorer import Scorer
from workbench.engine.evaluating.single import Unit, only_warnings, said_of, units_of
from workbench.errors import EditError, RequestError, StackError
from workbench.events import EditFailed, Event
from workbench.stack.record import Edit

NORMS = ("ratio", "delta_norm", "drift", "division_factor")
NOT_MADE = "It cannot be made."


def edit_in_sequence(
    engine: Engine, wanted: Wanted, scorer: Scorer, results: Results, cancelled: Callable[[], bool]
) -> Generator[Event, None, None]:
    """Makes the edits that are not done yet, in order, and scores them; with checkpoints as `wanted` has them.

    Raises:
        Cancelled: `cancelled` said so; what is committed stays.
        StackError: the stack is not where the results say.
        DeviceError, StorageError: as `Engine.apply`.
    """
    run = _Sequence(engine, wanted, scorer, results, cancelled)
    if not run.is_done():
        yield from run.bases()
    for unit in run.units:
        yield from run.edit(unit)
        yield from run.checkpoint(unit)


class _Sequence:
    """One run, and how far it has come."""

    def __init__(
        self, engine: Engine, wanted: Wanted, scorer: Scorer, results: Results, cancelled: Callable[[], bool]
    ) -> None:
        self._engine, self._wanted, self._scorer, self._results = engine, wanted, scorer, results
        self._cancelled = cancelled
        self._cases = wanted.cases
        self.units = units_of(self._cases, wanted.batch)
        self._through: list[Case] = []
        """Cases whose turn has come."""
        self._position = 0
        """Where the stack stands, or is to stand, after them."""

    def is_done(self) -> bool:
        """Whether all there is to score is in the results."""
        ends = list(itertools.accumulate(map(len, self.units)))
        due = [end for unit, end in zip(self.units, ends, strict=True) if self._is_due(unit, end)]
        known = self._results
        return all(case.number in known.cases for case in self._cases) and all(end in known.checkpoints for end in due)

    def _is_due(self, unit: Unit, edited: int) -> bool:
        """Whether there is a checkpoint after `unit`, which is the last of so many that are edited."""
        every = self._wanted.every or len(self._cases)
        return edited // every > (edited - len(unit)) // every or edited == len(self._cases)

    def bases(self) -> Generator[Event, None, None]:
        """Asks everything of the base first: later it would have to be shown in between."""
        for done, case in enumerate(self._cases):
            check(self._cancelled)
            yield said_of((case,), done, len(self._cases), "base, ")
            self._scorer.base(case)

    def edit(self, unit: Unit) -> Generator[Event, None, None]:
        """Makes and scores one edit, unless it is done."""
        lines = [line for case in unit if (line := self._results.cases.get(case.number))]
        if len(lines) < len(unit):
            check(self._cancelled)
            yield said_of(unit, len(self._through), len(self._cases))
            why = "" if self._is_made(unit) else (yield from self._make(unit))
            yield from self._score(unit, why)
            lines = [self._results.cases[case.number] for case in unit]
        self._position += any(line.norms for line in lines)
        self._through.extend(unit)

    def _is_made(self, unit: Unit) -> bool:
        """Whether the stack holds the edit of `unit` already. Raises StackError if it holds anything else."""
        stack = self._engine.stack
        ahead = stack.position - self._position
        if ahead == 1 and self._holds(stack.applied[-1], unit):
            return True
        if ahead:
            raise StackError(
                f"The stack is at position {stack.position}; by the results it would be at {self._position}.",
                f"Take it there: workbench travel {shlex.quote(str(stack.folder))} {self._position}; "
                "or begin anew with another --out.",
            )
        return False

    def _holds(self, edit: Edit, unit: Unit) -> bool:
        asked = self._requests(unit)
        return all(request in asked for request in edit.requests)

    def _requests(self, unit: Unit) -> list[EditRequest]:
        tokenizer = self._engine.core.loaded.tokenizer
        return [framed(tokenizer, case.request) for case in unit]

    def _make(self, unit: Unit) -> Generator[Event, None, str]:
        """Makes the edit of `unit`; returns why not, if it cannot be made."""
        failures: list[str] = []
        forget(self._engine.core.loaded.model)
        try:
            made = yield from only_warnings(_noting(self._making(unit), failures))
        except (EditError, RequestError) as error:
            return error.message
        if not made:
            check(self._cancelled)
        return "" if made else (failures or [NOT_MADE])[0]

    def _making(self, unit: Unit) -> Generator[Event, None, bool]:
        engine, changes = self._engine, self._wanted.changes
        requests, index, of = self._requests(unit), len(self._through) + 1, len(self._cases)
        if engine.core.recipe(changes).batched:
            return engine.apply_batch(requests, changes, index=index, of=of, cancelled=self._cancelled)
        return engine.apply(requests[0], changes, index=index, of=of, cancelled=self._cancelled)

    def _score(self, unit: Unit, why: str) -> Generator[Event, None, None]:
        """Writes the lines of `unit` that are missing."""
        core = self._engine.core
        edit = None if why else self._engine.stack.applied[-1]
        held = [*edit.requests] if edit else []
        lines = []
        for case, request in zip(unit, self._requests(unit), strict=True):
            made = edit if request in held else None
            score = self._scorer.now(case) if made else failure(case.request, why or NOT_MADE)
            norms = norms_of(made) if made else {}
            lines.append(
                CaseLine(
                    case.number,
                    case.request.subject,
                    case.request.target_new,
                    self._scorer.base(case),
                    score,
                    norms,
                    core.perplexity_here() if made else None,
                    case.name,
                )
            )
        for line in lines:
            if line.case not in self._results.cases:
                self._results.add(line)
            yield line.event(len(self._results.cases), len(self._cases))

    def checkpoint(self, unit: Unit) -> Generator[Event, None, None]:
        """Scores the edits so far again, where that is due."""
        edited = len(self._through)
        if not self._is_due(unit, edited):
            return
        line = self._results.checkpoints.get(edited)
        if line is None:
            if self._engine.stack.position != self._position:
                self._is_made(())
            line = yield from self._measure(edited)
            self._results.add_checkpoint(line)
        yield told(line, len(self._cases))

    def _measure(self, edited: int) -> Generator[Event, None, CheckpointLine]:
        cases = self._sampled(edited)
        asked = [case for case in cases if not self._results.cases[case.number].edited.failed]
        found = yield from self._scorer.together(asked)
        scores: dict[int, CaseScore] = {case.number: self._results.cases[case.number].edited for case in cases}
        scores.update(zip((case.number for case in asked), found, strict=True))
        core = self._engine.core
        return CheckpointLine(edited, scores, core.perplexity_here(), core.live.drift())

    def _sampled(self, edited: int) -> Sequence[Case]:
        """All cases so far, or so many of them as are asked for, by the seed."""
        most = self._wanted.sample
        if most is None or most >= edited:
            return self._through
        rng = random.Random(f"{self._wanted.draw} {edited}")  # noqa: S311  a sample, not a secret
        return [self._through[place] for place in sorted(rng.sample(range(edited), most))]


def norms_of(edit: Edit) -> dict[str, float]:
    """Those of NORMS that the record of `edit` holds as finite numbers."""
    found = edit.metrics.get("norms", {})
    known = {name: found[name] for name in NORMS if isinstance(found.get(name), int | float)}
    return {name: float(value) for name, value in known.items() if math.isfinite(value)}


def _noting(making: Generator[Event, None, bool], failures: list[str]) -> Generator[Event, None, bool]:
    """Passes a job on, and notes why it failed."""
    while True:
        try:
            event = next(making)
        except StopIteration as stop:
            made: bool = stop.value
            return made
        if isinstance(event, EditFailed):
            failures.append(event.message)
        yield event
