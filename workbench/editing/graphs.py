"""Steps recorded once and played again: on CUDA the host says once what to do, and not twenty times an edit.

What is played are the operations of one step on the very tensors they were recorded with. An edit of the same shape
copies its own numbers into those tensors. A recording is believed only after it has given, from the same state, what
the step itself gives; where none can be made the steps run as they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from workbench.editing.descent import Descent
from workbench.editing.flags import frozen, gradients
from workbench.editing.hooks import hooks_on
from workbench.editing.loss import Fixed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Play = Callable[[], Tensor]
AS_THEY_ARE = 2
"""Steps of an edit that run as they are first: what is kept, and which kernels serve, is known when one is recorded."""
WORTH = 4
"""A step is recorded only where so many are left: recording costs about three."""
MOST = 4
"""Recordings kept of a model."""


class Recorder(Protocol):
    """What makes recordings on a device."""

    def record(self, step: Callable[[], Tensor]) -> Play:
        """What plays `step` again on the same tensors and gives its report; recording may run the step, or not.

        Raises:
            RuntimeError: the step waits for the device, or does what cannot be recorded.
        """


class CudaRecorder:
    """CUDA graphs. Their working memory is shared: only one is played at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, step: Callable[[], Tensor]) -> Play:
        """As Recorder says; the step is not run."""
        graph = torch.cuda.CUDAGraph()
        alone = "thread_local"  # what other threads do on the device meanwhile is no part of the recording
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool, capture_error_mode=alone):
            report = step()

        def play() -> Tensor:
            graph.replay()
            return report

        return play


class OnDevice(TorchFunctionMode):
    """Inside, a number that is made a tensor is made one on its device: copies from the host cannot be recorded."""

    def __torch_function__(
        self, func: Callable[..., Any], _: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is torch.tensor and args and isinstance(args[0], (int, float)) and given.get("device") is not None:
            return torch.full((), *args, **given)
        return func(*args, **given)


@dataclass(frozen=True, eq=False)
class Recording:
    """A step that can be played, and the tensors that it reads and writes."""

    play: Play
    fixed: tuple[Tensor, ...]
    state: tuple[Tensor, ...]


class Shelf:
    """The recordings of one model, the last used last, and what makes them."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.refused = ""
        """Why no step of this model is recorded any more; empty: they are."""
        self.recording = False
        """Whether a step is being recorded now."""
        self._kept: OrderedDict[Hashable, Recording] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, shape: Hashable) -> Recording | None:
        """A recording of that shape, off the shelf: who plays it has it alone."""
        return self._kept.pop(shape, None)

    def put(self, shape: Hashable, recording: Recording) -> None:
        """Keeps it, and no more than MOST."""
        self._kept[shape] = recording
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Lets go of all, and of their memory."""
        self._kept.clear()


_SHELVES: WeakKeyDictionary[nn.Module, Shelf] = WeakKeyDictionary()


def recorder_for(device: torch.device) -> Recorder | None:
    """What records on `device`; None: nothing does, and nothing need."""
    return CudaRecorder(device) if device.type == "cuda" else None


def shelf_of(model: nn.Module) -> Shelf | None:
    """The recordings of `model`; None where it lies on several devices, or on one that records nothing."""
    devices = {parameter.device for parameter in model.parameters()}
    if len(devices) != 1:
        return None
    if model not in _SHELVES:
        recorder = recorder_for(devices.pop())
        if recorder is None:
            return None
        _SHELVES[model] = Shelf(recorder)
    return _SHELVES[model]


def refused(model: nn.Module) -> str:
    """Why steps of `model` are not recorded though its device could; empty: they are, or nothing was tried."""
    shelf = _SHELVES.get(model)
    return "" if shelf is None else shelf.refused


def is_recording(model: nn.Module) -> bool:
    """Whether a step of `model` is being recorded now: then nothing else may be tried in its midst."""
    shelf = _SHELVES.get(model)
    return shelf is not None and shelf.recording


def let_go(model: nn.Module) -> bool:
    """Drops every recording of `model`, for its memory; whether there was one."""
    shelf = _SHELVES.get(model)
    had = bool(shelf)
    if shelf is not None:
        shelf.clear()
    return had


class Steps:
    """The steps of one descent, played where a recording of them can be had. Close it: it gives its recording back."""

    def __init__(self, model: PreTrainedModel, descent: Descent, *, unseen: bool) -> None:
        """`unseen`: the host does not look between a look and a move, so that both are always made."""
        self._model, self._descent = model, descent
        self._shelf = shelf_of(model)
        self._unseen = unseen or self._shelf is not None
        self._made = 0
        self._held: tuple[Hashable, Recording] | None = None

    def run(self, left: int) -> Tensor:
        """One evaluation, after which there are `left` more; its report, as `Descent.look` gives it, until the next."""
        self._made += 1
        shelf = self._shelf
        if self._held is None and self._made > 1 and shelf is not None and not shelf.refused:
            fixed = self._descent.fixed()
            if fixed is not None:
                shape = self._shape_of(fixed)
                self._fetch(shelf, fixed, shape)
                if self._held is None and self._made > AS_THEY_ARE and left >= WORTH:
                    return self._record(shelf, fixed, shape)
        return self._held[1].play() if self._held else self._as_it_is(last=left == 0)

    def narrowed(self) -> None:
        """Says that the descent goes on with fewer requests: its steps have another shape from now on."""
        if self._held is not None:
            self._descent.take([_leaf(tensor) for tensor in self._descent.state])
        self.close()
        self._made = 0

    def close(self) -> None:
        """Gives the recording back: another descent may change its tensors from now on."""
        if self._held is not None and self._shelf is not None:
            self._shelf.put(*self._held)
        self._held = None

    def _as_it_is(self, *, last: bool) -> Tensor:
        with frozen(self._model), gradients():
            report = self._descent.look()
            if not last and (self._unseen or bool((report[:, -1] == 0).any())):
                self._descent.move()
            return report

    def _fetch(self, shelf: Shelf, fixed: Fixed, shape: Hashable) -> None:
        """Takes a recording of that shape, if there is one, with this descent's numbers in its tensors."""
        found = shelf.take(shape)
        if found is not None:
            _copy(fixed.tensors, found.fixed)
            _copy(self._descent.state, found.state)
            self._descent.take(found.state)
            self._held = shape, found

    def _record(self, shelf: Shelf, fixed: Fixed, shape: Hashable) -> Tensor:
        """Runs this step as it is, and a recording of it from the same state; it is held if both give the same."""
        state = self._descent.state
        before = _cloned(state)
        play = self._recorded(shelf)
        _copy(before, state)
        report = self._as_it_is(last=False)
        if play is None:
            return report
        after = _cloned(state)
        _copy(before, state)
        again = play()
        if self._same(again, report) and self._same(state[0], after[0]):
            self._held = shape, Recording(play, fixed.tensors, tuple(state))
        else:
            shelf.refused = "what was recorded gives other numbers"
        _copy(after, state)
        return report

    def _recorded(self, shelf: Shelf) -> Play | None:
        """What plays a step; None, and the shelf says why, where there can be none."""
        shelf.recording = True
        try:
            with frozen(self._model), gradients(), OnDevice():
                return shelf.recorder.record(self._step)
        except RuntimeError as error:
            shelf.refused = str(error).partition("\n")[0]
            return None
        finally:
            shelf.recording = False

    def _step(self) -> Tensor:
        report = self._descent.look()
        self._descent.move()
        return report

    def _same(self, one: Tensor, other: Tensor) -> bool:
        """Whether they are equal up to what another order of sums may change; no number is no number."""
        room = 4 * float(torch.finfo(self._model.dtype).eps) ** 0.5
        found, wanted = one.detach().nan_to_num(), other.detach().nan_to_num()
        apart = (found - wanted).norm() / (1 + wanted.norm())
        return bool((one.isfinite() == other.isfinite()).all()) and float(apart) <= room

    def _shape_of(self, fixed: Fixed) -> Hashable:
        """All that decides which operations on which memory a step is."""
        places = tuple(tensor.data_ptr() for tensor in (*self._model.parameters(), *self._model.buffers()))
        return fixed.shape, self._descent.recipe, places, hooks_on(self._model)


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _cloned(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _copy(sources: Sequence[Tensor], places: Sequence[Tensor]) -> None:
    for source, place in zip(sources, places, strict=True):
        place.copy_(source)
