"""The engine: owns one model and one stack, does what it is asked, and says so in events.

Every state of the weights is materialised from pristine bytes and the stack; nothing is ever subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from workbench.contrasts import AddedProbe
from workbench.editing.chat import framed
from workbench.edits import EditRequest
from workbench.engine import asking, checking, rearranging, tracing, watching
from workbench.engine.applying import apply_edit
from workbench.engine.asking import Sampling
from workbench.engine.at_state import PRESENT, at_state, name_of
from workbench.engine.batching import apply_batch
from workbench.engine.core import Core, base_of
from workbench.engine.fallback import rebuild
from workbench.engine.guarding import Decide, watch_of
from workbench.engine.health.examine import examine_stack
from workbench.engine.preflight import look_ahead, told
from workbench.engine.together import Stops, apply_together
from workbench.errors import EditError, UsageError
from workbench.events import (
    Diagnosed,
    EditFailed,
    Event,
    ModelLoading,
    Preflight,
    StacksBeside,
    Traced,
    Warning,  # noqa: A004  the wire's word
)
from workbench.guards import Guard
from workbench.models.device import within_memory
from workbench.models.families import layer_count
from workbench.models.load import load_model
from workbench.models.options import PLAIN, LoadOptions
from workbench.models.profiles import find_one, profile_of
from workbench.stack.beside import stacks_beside
from workbench.stack.place import default_stack
from workbench.stack.record import Edit
from workbench.stack.store import Stack
from workbench.traces import TraceSettings

Cancelled = Callable[[], bool]
"""Asked at every step; True stops the work."""


def _never() -> bool:
    return False


class Engine:
    """One model and one stack. Every job is a generator of events; exhaust it before starting the next."""

    def __init__(self, core: Core) -> None:
        self.core = core

    @property
    def stack(self) -> Stack:
        """The stack that is open."""
        return self.core.stack

    def close(self) -> None:
        """Lets go of the stack."""
        self.core.stack.close()

    def apply(
        self,
        request: EditRequest,
        changes: dict[str, Any] | None = None,
        *,
        index: int = 1,
        of: int = 1,
        guard: Guard | None = None,
        decide: Decide | None = None,
        cancelled: Cancelled = _never,
    ) -> Generator[Event, None, bool]:
        """Makes one edit with the profile's recipe and `changes` to it.

        Ends with EditCommitted, EditCancelled or EditFailed; after the latter two every weight is as it was. Returns
        whether the edit was committed. If it passes a limit of `guard`, `decide` says what becomes of it, before it is
        committed; without `decide` it is discarded.

        Raises:
            UsageError: a change is no setting, or out of range.
            ModelError: the request is to be put into a chat template, and the model has none.
            StackError, StorageError: the stack could not take the edit; every weight is as it was.
        """
        recipe = self.core.recipe(changes or {})
        if recipe.batched:
            return (
                yield from self.apply_batch(
                    [request], changes, index=index, of=of, guard=guard, decide=decide, cancelled=cancelled
                )
            )
        request = framed(self.core.loaded.tokenizer, request)
        try:
            watch = watch_of(guard, decide)
            yield from told(self.core, [request], recipe)
            return (
                yield from apply_edit(self.core, request, recipe, index=index, of=of, cancelled=cancelled, watch=watch)
            )
        except EditError as error:
            yield EditFailed(message=error.message, hint=error.hint, exit_code=error.exit_code)
            return False

    def preflight(
        self, request: EditRequest, changes: dict[str, Any] | None = None, *, quick: bool = False
    ) -> Generator[Event, None, tuple[Preflight, ...]]:
        """Says what is likely to go wrong with an edit of `request`, and changes nothing; as `preflight.look_ahead`."""
        return (yield from look_ahead(self.core, request, self.core.recipe(changes or {}), quick=quick))

    def apply_together(
        self,
        requests: Sequence[EditRequest],
        changes: dict[str, Any] | None = None,
        *,
        index: int = 1,
        of: int | None = None,
        guard: Guard | None = None,
        decide: Decide | None = None,
        cancelled: Cancelled = _never,
        enough: Cancelled = _never,
    ) -> Generator[Event, None, int]:
        """Optimises the updates of `requests` side by side on the present state, then makes the edits in order.

        The first of them is edit `index` of `of`. Where `enough` is true after one of them, the others are not made.
        Returns how many were committed. Raises as `apply`; EditError where there is no second moment; UsageError for
        a method that makes one edit of many requests.
        """
        recipe, tokenizer = self.core.recipe(changes or {}), self.core.loaded.tokenizer
        if recipe.batched:
            raise UsageError(f"{recipe.method} makes one edit of many requests.", "Apply them as a batch.")
        asked = [framed(tokenizer, request) for request in requests]
        total = len(asked) if of is None else of
        watch = watch_of(guard, decide)
        yield from told(self.core, asked, recipe)
        stops = Stops(cancelled, enough)
        return (yield from apply_together(self.core, asked, recipe, index=index, of=total, stops=stops, watch=watch))

    def apply_batch(
        self,
        requests: Sequence[EditRequest],
        changes: dict[str, Any] | None = None,
        *,
        index: int = 1,
        of: int = 1,
        guard: Guard | None = None,
        decide: Decide | None = None,
        cancelled: Cancelled = _never,
    ) -> Generator[Event, None, bool]:
        """Makes one edit of all `requests`, by a batched method; as `apply`, which does the same for one request.

        Requests that cannot be made are left out, and a Warning says so; if none is left, the edit has failed.
        """
        recipe, tokenizer = self.core.recipe(changes or {}), self.core.loaded.tokenizer
        asked = [framed(tokenizer, request) for request in requests]
        watch = watch_of(guard, decide)
        try:
            yield from told(self.core, asked, recipe)
            return (
                yield from apply_batch(self.core, asked, recipe, index=index, of=of, cancelled=cancelled, watch=watch)
            )
        except EditError as error:
            yield EditFailed(message=error.message, hint=error.hint, exit_code=error.exit_code)
            return False

    def undo(self, count: int = 1) -> Generator[Event, None, None]:
        """Steps back over the newest `count` applied edits. Raises UsageError at the base."""
        yield from self._move(lambda: self.stack.undo(count))

    def redo(self, count: int = 1) -> Generator[Event, None, None]:
        """Takes `count` undone edits back in. Raises UsageError at the end of the line."""
        yield from self._move(lambda: self.stack.redo(count))

    def travel(self, to: int | str) -> Generator[Event, None, None]:
        """Goes to a position, or to the edit whose id starts with `to`, on whatever branch it lies."""
        yield from self._move(lambda: self.stack.travel(to))

    def toggle(
        self, edit: str, *, off: bool, resolve: bool = False, cancelled: Cancelled = _never
    ) -> Generator[Event, None, None]:
        """Leaves an edit out, wherever it stands on the line, or takes it in again; as `rearranging.toggle`."""
        yield from rearranging.toggle(self.core, edit, off=off, resolve=resolve, cancelled=cancelled)

    def arrange(
        self, order: Sequence[str], *, resolve: bool = False, branch: str = "", cancelled: Cancelled = _never
    ) -> Generator[Event, None, tuple[Edit, ...]]:
        """Makes the applied edits with the ids `order`, in that order, the line; as `rearranging.arrange`."""
        return (yield from rearranging.arrange(self.core, order, resolve=resolve, branch=branch, cancelled=cancelled))

    def switch(self, name: str) -> Generator[Event, None, None]:
        """Goes over to another branch, to its end."""
        yield from self._move(lambda: self.stack.switch(name))

    def start_branch(self, name: str, at: str | None = None) -> Generator[Event, None, None]:
        """Begins a branch here, or where `at` says, and goes there."""
        yield from self._move(lambda: self.stack.start_branch(name, at))

    def note(self, edit: str, text: str) -> Generator[Event, None, None]:
        """Writes a note on an edit."""
        self.stack.note(edit, text)
        yield self.core.changed()

    def refresh(self) -> Generator[Event, None, None]:
        """Says again what the stack is."""
        yield self.core.changed()

    def beside(self) -> Generator[Event, None, None]:
        """Says which other stacks lie beside the open one. Raises StorageError."""
        present = self.stack.folder
        found = stacks_beside(present, self.core.loaded.fingerprint)
        rows = tuple((str(one.folder), one.words, one.problem) for one in found)
        yield StacksBeside(folder=str(present.resolve().parent), stacks=rows)

    def verify(self, *, cancelled: Cancelled = _never) -> Generator[Event, None, bool]:
        """Compares every position of the line with the sha256 its edit recorded; returns whether all agree."""
        return (yield from checking.verify(self.core, cancelled=cancelled))

    def health(
        self,
        at: str = PRESENT,
        *,
        sample: int | None = None,
        seed: int = 0,
        every: int | None = None,
        cancelled: Cancelled = _never,
    ) -> Generator[Event, None, Diagnosed | None]:
        """Says how healthy the stack is, and in which phase; as `examine_stack`."""
        return (yield from examine_stack(self.core, at, sample=sample, seed=seed, every=every, cancelled=cancelled))

    def replay(
        self, to: int | None = None, *, verify: bool = True, cancelled: Cancelled = _never
    ) -> Generator[Event, None, bool]:
        """Puts the line up to `to` into the model (default: the stack's position), without touching the stack.

        Returns whether every replayed position is bit-identical to what was recorded; True if not asked to verify.
        """
        return (yield from checking.replay(self.core, to, verify=verify, cancelled=cancelled))

    def probe(self, *, cancelled: Cancelled = _never) -> Generator[Event, None, bool]:
        """Asks all probes of the applied edits, on the base and now; returns whether all hold."""
        with within_memory():
            return (yield from asking.probe(self.core, cancelled))

    def watch(
        self,
        states: Sequence[str] = ("base", "stack"),
        added: Sequence[AddedProbe] = (),
        *,
        most: int = 1_000,
        cancelled: Cancelled = _never,
    ) -> Generator[Event, None, bool]:
        """Asks the probes of the edits and those `added`, in each of `states`; as `watching.watch`."""
        with within_memory():
            return (yield from watching.watch(self.core, states, added, most=most, cancelled=cancelled))

    def answer(
        self,
        prompt: str,
        target: str = "",
        *,
        states: Sequence[str] = ("stack",),
        top: int = 5,
        chat: bool = False,
        go_on: int = 0,
    ) -> Generator[Event, None, None]:
        """Says the likeliest next tokens after `prompt`, in each of `states` (see `at_state.find_state`).

        As `asking.answer`.
        """
        with within_memory():
            yield from asking.answer(self.core, prompt, target, states, top, chat, go_on)

    def generate(
        self,
        prompt: str,
        *,
        states: Sequence[str] = ("base", "stack"),
        sampling: Sampling = Sampling(),  # noqa: B008  frozen
        cancelled: Cancelled = _never,
    ) -> Generator[Event, None, None]:
        """Continues `prompt` in each of `states`; says their next tokens first, and how far the first two lie apart."""
        with within_memory():
            yield from asking.generate(self.core, prompt, states, sampling, cancelled)

    def trace(
        self,
        prompt: str,
        subject: str,
        answer: str = "",
        *,
        settings: TraceSettings = TraceSettings(),  # noqa: B008  frozen
        chat: bool = False,
        side: str = "base",
        cancelled: Cancelled = _never,
    ) -> Generator[Event, None, Traced | None]:
        """Says which states of the model carry a fact, in the state of the stack that `side` names.

        As `tracing.trace_fact`.
        """
        name = name_of(self.core, side)
        with within_memory(), at_state(self.core, side):
            return (
                yield from tracing.trace_fact(
                    self.core.loaded, prompt, subject, answer, settings, chat=chat, side=name, cancelled=cancelled
                )
            )

    def open_stack(self, folder: Path, *, fall_back: bool = False) -> Generator[Event, None, None]:
        """Goes over to another stack of the same base; on any error the present one stays open.

        With `fall_back`, a damaged edit is no error, as for `open_engine`.
        """
        if folder.resolve() == self.stack.folder.resolve():
            yield self.core.changed()
            return
        core = self.core
        other = Stack.open(folder, write=core.writable, base=core.base())
        previous, core.stack = core.stack, other
        try:
            yield from rebuild(core, fall_back=fall_back)
        except BaseException:
            core.stack = previous
            other.close()
            raise
        previous.close()
        yield from _findings(other)
        yield core.changed()

    def _move(self, step: Callable[[], None]) -> Generator[Event, None, None]:
        """Takes `step` on the disk and then in the model; where the model cannot follow, the disk goes back."""
        with self.stack.or_back():
            step()
            self.core.rebuild()
        yield self.core.changed()


def open_engine(
    model: str = "atlas",
    *,
    device: str = "auto",
    dtype: str = "auto",
    options: LoadOptions = PLAIN,
    stack: Path | None = None,
    write: bool = True,
    fall_back: bool = False,
) -> Generator[Event, None, Engine]:
    """Loads a model and opens a stack on it; yields ModelLoading, ModelReady and StackChanged; returns the engine.

    Args:
        model: "atlas", a folder or a Hub name.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto", "float32", "bfloat16" or "float16".
        options: a device map, float32 masters, pickled weights, code of the model's own.
        stack: the stack's folder; default edits/<base>.
        write: False opens the stack for reading only.
        fall_back: go back to before the first damaged edit, and say so, in place of the error.

    Raises:
        ModelError, DeviceError, UsageError: as `load_model`.
        StackBusy, StackError, BaseMismatch: the stack cannot be opened on this model.
    """
    loaded = yield from load_model(model, device, dtype, options)
    profile = profile_of(loaded, layer_count(loaded.model))
    folder = stack or default_stack(loaded.name)
    opened = Stack.open(folder, write=write, base=base_of(loaded))
    try:
        core = Core(loaded, opened, profile.recipe, writable=write, methods=profile.methods)
        if opened.position:
            yield ModelLoading(stage=f"rebuilding {opened.position} edits", fraction=0.9)
        yield from rebuild(core, fall_back=fall_back)
        yield core.ready()
        if write and not profile.known:
            yield Warning(
                message=f"There is no editing profile for {loaded.name}: layer {profile.recipe.layer}, which is taken "
                "unless another is chosen, and the strengths are guesses.",
                hint=find_one(model),
            )
        yield from _findings(opened)
        yield core.changed()
    except BaseException:
        opened.close()
        raise
    return Engine(core)


def _findings(stack: Stack) -> Generator[Event, None, None]:
    for finding in stack.findings:
        yield Warning(message=finding)
    for file, reason in stack.broken.items():
        yield Warning(message=f"{file}: {reason}")
