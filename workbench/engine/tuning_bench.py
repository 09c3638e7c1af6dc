"""Where one recipe is tried: every fact is edited alone on the base, asked for its probes, and put back.

No stack is touched, and after a trial every weight byte is as it was, however the trial ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn

from workbench.editing.cancel import check
from workbench.editing.edit import make_update
from workbench.editing.second_moment import SecondMoment
from workbench.editing.update import Update
from workbench.edits import EditRequest, Recipe
from workbench.engine.kept_templates import templates_for
from workbench.engine.memory import place_of_factor
from workbench.engine.norms import norm_of_product
from workbench.engine.tuning_record import Measured, Record, trial_key
from workbench.engine.weights import LiveWeights
from workbench.errors import EditError, RequestError
from workbench.events import Event, ModelLoading, OptimStep, ProbeResult
from workbench.models.device import dtype_name, within_memory
from workbench.models.families import EditSite, edit_site
from workbench.models.load import LoadedModel
from workbench.models.second_moment import read_second_moment
from workbench.probing.metrics import scores
from workbench.probing.probes import Probe, ask, probes_of, settle
from workbench.stack.distance import distance
from workbench.stack.record import Factors

IDENTITY = "identity"
FORWARDS = ("forward", "_old_forward")
"""Where a module holds a forward pass that is not its class's."""
CLAMP_ROUNDING = 1e-4
"""An offset this close below the clamp was held back by it."""


@dataclass(frozen=True)
class Outcome:
    """A trial's measures, and what stands behind them."""

    measured: Measured
    second_moment: bool
    """Whether C was measured."""
    kept: bool
    """It was made in an earlier run."""


@dataclass(frozen=True)
class _Edited:
    results: list[ProbeResult]
    size: float | None = None
    """|ΔW|; None: the edit could not be made."""
    clamped: bool = False
    ran_out: bool = False


class Bench:
    """One model at its base, the facts' settled probes, and the trials already made."""

    def __init__(self, loaded: LoadedModel, cancelled: Callable[[], bool]) -> None:
        self.loaded, self.cancelled = loaded, cancelled
        self.record = Record(loaded.fingerprint)
        self._probes: dict[EditRequest, list[Probe] | None] = {}
        self._moment: tuple[int, SecondMoment | None] = (-1, None)
        """C of the layer that was tried last; that of one large layer may take gigabytes."""

    def trial(self, recipe: Recipe, requests: Sequence[EditRequest], name: str) -> Generator[Event, None, Outcome]:
        """Tries `recipe`, or tells what it gave in an earlier run; yields how far it is under `name`.

        Raises:
            Cancelled: asked before every edit and step; this trial is lost, those before it are kept.
            DeviceError: the device ran out of memory.
            StorageError: the record cannot be written.
        """
        moment = self._second_moment(recipe)
        key = trial_key(recipe, requests, moment.fingerprint if moment else IDENTITY, self._where())
        kept = self.record.get(key)
        if kept is None:
            with within_memory():
                measured = yield from self._measure(recipe, requests, moment, name)
            self.record.add(key, recipe, measured)
        return Outcome(kept or measured, moment is not None, kept is not None)

    def _measure(
        self, recipe: Recipe, requests: Sequence[EditRequest], moment: SecondMoment | None, name: str
    ) -> Generator[Event, None, Measured]:
        started = time.monotonic()
        site = edit_site(self.loaded.model, recipe.layer)
        # Of the base as it was loaded, before a module of it is held in float32.
        templates = templates_for(self.loaded, recipe)
        probes = [self._settled(request) for request in requests]
        edited: list[_Edited] = []
        with _as_it_was(site.linear(self.loaded.model)):
            live = LiveWeights(self.loaded.model, keep_fp32=self.loaded.keep_fp32)
            live.adopt_site(site)
            for index, (request, asked) in enumerate(zip(requests, probes, strict=True)):
                yield ModelLoading(stage=f"{name}, fact {index + 1} of {len(requests)}", fraction=index / len(requests))
                check(self.cancelled)
                making = self._making(site, request, recipe, templates, moment)
                edited.append(self._edit(live, site, request, asked, making))
        return _measured(edited, distance(live.pristine(site.module)), time.monotonic() - started)

    def _edit(
        self,
        live: LiveWeights,
        site: EditSite,
        request: EditRequest,
        probes: list[Probe] | None,
        making: Generator[Event, None, Update],
    ) -> _Edited:
        """One edit, asked for its probes and taken back; where it cannot be made or asked, no probe holds."""
        if probes is None:
            return _failed(request)
        try:
            update, clamped = _made(making)
        except (EditError, RequestError):
            return _failed(request)
        factors = Factors(site.module, update.u[None, :].numpy(), update.v[:, None].numpy())
        try:
            live.show([(factors,)])
            results = ask(self.loaded.model, self.loaded.tokenizer, probes)
        finally:
            live.show([])
        return _Edited(results, norm_of_product(factors), clamped, update.stopped == "steps")

    def _making(
        self,
        site: EditSite,
        request: EditRequest,
        recipe: Recipe,
        templates: tuple[str, ...],
        moment: SecondMoment | None,
    ) -> Generator[Event, None, Update]:
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        return make_update(model, tokenizer, site, request, recipe, templates, moment, self.cancelled)

    def _settled(self, request: EditRequest) -> list[Probe] | None:
        """The request's probes; None where they cannot be asked, being longer than the model reads."""
        if request not in self._probes:
            try:
                self._probes[request] = settle(self.loaded.model, self.loaded.tokenizer, probes_of(request))
            except (EditError, RequestError):
                self._probes[request] = None
        return self._probes[request]

    def _second_moment(self, recipe: Recipe) -> SecondMoment | None:
        """C of the recipe's layer; None: there is none, or it is not wanted."""
        if not recipe.second_moment:
            return None
        if self._moment[0] != recipe.layer:
            site = edit_site(self.loaded.model, recipe.layer)
            read = read_second_moment(self.loaded.folder, site, self.loaded.fingerprint)
            place = place_of_factor(self.loaded.device, site.d_in)
            self._moment = (recipe.layer, SecondMoment(*read, place) if read else None)
        return self._moment[1]

    def _where(self) -> str:
        loaded = self.loaded
        versions = f"torch {torch.__version__} transformers {transformers.__version__}"
        dtype = f"{dtype_name(loaded.dtype)}{' edited in float32' * loaded.keep_fp32}"
        return f"{loaded.device.type} {dtype} {versions} {loaded.tokenizer_fingerprint}"


@contextmanager
def _as_it_was(linear: nn.Module) -> Iterator[None]:
    """Gives a module its own weight and forward pass back, where it was held in float32 meanwhile."""
    held: Any = linear
    weight = held.weight
    own = {name: held.__dict__[name] for name in FORWARDS if name in held.__dict__}
    try:
        yield
    finally:
        held.weight = weight
        for name in FORWARDS:
            held.__dict__.pop(name, None)
        held.__dict__.update(own)


def _made(making: Generator[Event, None, Update]) -> tuple[Update, bool]:
    """The update, and whether the clamp held its offset back on the way."""
    clamped = False
    while True:
        try:
            event = next(making)
        except StopIteration as stop:
            return stop.value, clamped
        if isinstance(event, OptimStep):
            clamped |= event.delta_norm > event.clamp * (1 - CLAMP_ROUNDING)


def _failed(request: EditRequest) -> _Edited:
    return _Edited([ProbeResult(kind=one.kind, prompt=one.prompt, passed=False) for one in probes_of(request)])


def _measured(edited: Sequence[_Edited], weight: float, seconds: float) -> Measured:
    """What a trial gave, on a weight of norm `weight`."""
    found = scores([one.results for one in edited])
    ratios = [one.size / weight for one in edited if one.size is not None]
    return Measured(
        es=found.es,
        ps=found.ps,
        ns=found.ns,
        s=found.s,
        ratio=sum(ratios) / len(ratios) if ratios else 0.0,
        failed=len(edited) - len(ratios),
        clamped=sum(one.clamped for one in edited),
        ran_out=sum(one.ran_out for one in edited),
        seconds=seconds,
    )
