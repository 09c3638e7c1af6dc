"""What the base says, asked once a question: it does not change while it is loaded, so nothing kept here goes stale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from workbench.models.load import LoadedModel
from workbench.probing.answers import Question, Reading, read_answers
from workbench.probing.probes import Probe, kept, opening, probes_of, settle, settled

if TYPE_CHECKING:
    from workbench.edits import EditRequest
    from workbench.engine.core import Core

MOST = 8192
"""Questions whose answers are kept; the one asked longest ago gives way."""


class BaseAnswers:
    """The answers of one base.

    Args:
        loaded: the model.
        at_base: makes it the base for as long as a block lasts; entered only where something new is asked.
    """

    def __init__(self, loaded: LoadedModel, at_base: Callable[[], AbstractContextManager[None]]) -> None:
        self._loaded, self._at_base = loaded, at_base
        self._known: dict[Question, Reading] = {}

    def read(self, questions: Sequence[Question]) -> list[Reading]:
        """The likeliest next token and what else each question asks for, as `read_answers` with `top` 1 on the base."""
        asked = {one: self._known.pop(one, None) for one in dict.fromkeys(questions)}  # to the end
        new = [one for one, reading in asked.items() if reading is None]
        found = {one: reading for one, reading in asked.items() if reading is not None}
        try:
            if new:
                with self._at_base():
                    said = read_answers(self._loaded.model, self._loaded.tokenizer, new, top=1)
                found.update(zip(new, said, strict=True))
        finally:
            self._known.update(found)
            for oldest in [*self._known][:-MOST]:
                del self._known[oldest]
        return [found[one] for one in questions]

    def keep_unstated(self, probes: Sequence[Probe]) -> list[Probe]:
        """Gives the neighbours without a stated answer what the base says."""
        return kept(probes, self.read([opening(probe) for probe in probes if probe.unstated]))

    def settle(self, probes: Sequence[Probe]) -> list[Probe]:
        """Fills in what a probe leaves open with what the base says, and `before`."""
        return settled(self._loaded.tokenizer, probes, self.read([opening(probe) for probe in probes]))


def settled_here(core: Core, request: EditRequest) -> list[Probe]:
    """The probes of an edit to come, as `settle_here`."""
    return settle_here(core, probes_of(request))


def settle_here(core: Core, probes: Sequence[Probe]) -> list[Probe]:
    """Fills in what probes leave open: neighbours keep what the base says, the rest what the present state says."""
    if not core.live.shown:
        return core.base_answers.settle(probes)
    loaded = core.loaded
    return settle(loaded.model, loaded.tokenizer, core.base_answers.keep_unstated(probes))
