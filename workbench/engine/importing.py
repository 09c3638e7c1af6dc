"""Taking others' edits into a stack, all or none, and looking at what they do before anybody relies on them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Generator, Sequence

from workbench.editing.cancel import Cancelled
from workbench.engine import asking
from workbench.engine.core import Core
from workbench.engine.norms import norm_of_product
from workbench.engine.planting import plant
from workbench.engine.views import edit_row
from workbench.events import EditCancelled, EditRow, Event, Imported, ProbeResult
from workbench.models.device import within_memory
from workbench.probing.probes import tally
from workbench.stack.record import Edit, Factors
from workbench.stack.sources import Pair, Source


def import_sources(
    core: Core, sources: Sequence[Source], *, resolve: bool = False, cancelled: Callable[[], bool]
) -> Generator[Event, None, None]:
    """Adds the edits of `sources` after the position, in their order; ends with Imported.

    Those that are applied here already, or of which a copy is, are passed over. If it is stopped, EditCancelled is the
    last event and nothing has changed.

    Args:
        core: the model and the stack, open for writing.
        sources: from `open_source`.
        resolve: make every update anew, for the state that it comes to stand on.
        cancelled: asked at every step.

    Raises:
        BaseMismatch: an edit was made on another base; nothing has changed.
        StackError, VerificationError, EditError, StorageError: an edit cannot be taken; nothing has changed.
    """
    additions, skipped = _additions(core, sources)
    planted: tuple[Edit, ...] = ()
    if additions:
        keep = core.stack.position
        try:
            planted = yield from plant(core, keep, additions, "import", resolve=resolve, cancelled=cancelled)
        except Cancelled:
            yield EditCancelled(position=keep)
            return
    yield Imported(
        sources=tuple(source.name for source in sources),
        added=tuple(edit.id for edit in planted),
        skipped=skipped,
        position=core.stack.position,
    )


def examine(core: Core, added: Collection[str], *, cancelled: Callable[[], bool]) -> Generator[Event, None, None]:
    """Looks at the present state, of which the edits `added` are new.

    Yields a ProbeResult for every probe of every active edit, with the base's answer as `before`, and for perplexity;
    then for each new edit an EditRow with what was measured here, where `ratio` is |ΔW| / |W0|; then StackChanged with
    the drift.
    """
    results: list[ProbeResult] = []
    with within_memory():
        for event in asking.probe(core, cancelled):
            if isinstance(event, ProbeResult):
                results.append(event)
            yield event
    measuring = _Measuring(core, results)
    for number, edit in enumerate(core.stack.line, start=1):
        if edit.id in added:
            yield measuring.row(edit, number)
    yield core.changed()


def _additions(core: Core, sources: Sequence[Source]) -> tuple[list[Pair], int]:
    """What to add, each edit once, and how many are here already."""
    base = core.stack.base or core.base()
    here = {edit.id for edit in core.stack.applied}
    copies = {(edit.copied_from, edit.requests) for edit in core.stack.applied}  # a copy asks for what its source did
    additions: list[Pair] = []
    skipped = 0
    for source in sources:
        source.check_base(base)
        if source.kind == "adapter":
            from workbench.engine.adapters import read_adapter

            additions.append(read_adapter(source.path.resolve(), core))
            continue
        repeated = {edit.id for edit in source.edits if edit.id in here or (edit.id, edit.requests) in copies}
        skipped += len(repeated)
        additions += source.pairs(without=repeated)
        here |= {edit.id for edit in source.edits}
    return additions, skipped


class _Measuring:
    """Rows with the numbers measured here in place of those that the files claim."""

    def __init__(self, core: Core, results: Sequence[ProbeResult]) -> None:
        self._core, self._results = core, results
        self._weights: dict[str, float] = {}

    def row(self, edit: Edit, number: int) -> EditRow:
        """The row of `edit`, the `number`-th of the line."""
        results = [result for result in self._results if result.edit == edit.id]
        efficacy = tally(results, "efficacy")
        return dataclasses.replace(
            edit_row(self._core.stack, edit, number),
            ratio=self._ratio(self._core.stack.factors(edit)),
            drift=None,
            efficacy=None if efficacy is None else efficacy[0] == efficacy[1],
            paraphrases=tally(results, "paraphrase"),
            neighbours=tally(results, "neighbourhood"),
            perplexity=None,
        )

    def _ratio(self, factors: Sequence[Factors]) -> float | None:
        """|ΔW| / |W0| over the modules that an update changes, Frobenius."""
        delta = math.hypot(*(norm_of_product(one) for one in factors))
        weight = math.hypot(*(self._weight(one.module) for one in factors))
        return delta / weight if weight else None

    def _weight(self, module: str) -> float:
        if module not in self._weights:
            self._weights[module] = self._core.live.pristine(module).double().norm().item()
        return self._weights[module]
