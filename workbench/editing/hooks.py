"""Reading and changing a forward pass: every hook is a context manager that is gone afterwards, come what may."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")


class _Stopped(Exception):  # noqa: N818  a signal, not an error
    """Ends a forward pass at the module where enough has been seen."""


@dataclass(frozen=True, eq=False)
class Capture:
    """What went through a linear map at the looked-up tokens, float32 or wider."""

    inputs: Tensor
    """(rows, d_in)."""
    outputs: Tensor
    """(rows, d_out), bias included."""


@contextmanager
def forward_hook(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """`hook(module, inputs, output)` after each forward of `module`; what it returns, if not None, is the output."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def before_forward(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """`hook(module, args, kwargs)` before each forward of `module`; it changes nothing."""
    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def answering(stand_ins: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Each module's forward is its stand-in; then its own again."""
    own = {module: vars(module).get("forward") for module in stand_ins}
    try:
        for module, stand_in in stand_ins.items():
            module.forward = stand_in
        yield
    finally:
        for module, forward in own.items():
            if forward is None:
                vars(module).pop("forward", None)
            else:
                module.forward = forward


def hooks_on(model: nn.Module) -> int:
    """How many hooks sit on forward passes of `model` and of what it is made of."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def capture(module: nn.Module, lookup: Tensor, forward: Callable[[], object]) -> Capture:
    """Runs `forward` as far as `module` and reads its input and output at the flat indices `lookup`, (rows,).

    Raises:
        ModelError: the forward pass does not go through the module.
    """
    return _as_far_as(module, lambda inputs, output: Capture(take(inputs[0], lookup), take(output, lookup)), forward)


def leaving(module: nn.Module, lookup: Tensor, forward: Callable[[], object]) -> Tensor:
    """Runs `forward` as far as `module` and reads its output, the first of several, as `capture` does: (rows, d).

    Raises:
        ModelError: the forward pass does not go through the module.
    """
    return _as_far_as(module, lambda _, output: take(first_of(output), lookup), forward)


def first_of(output: Any) -> Tensor:
    """The hidden states among what a decoder block gives."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


def _as_far_as(module: nn.Module, look: Callable[[tuple[Tensor, ...], Any], T], forward: Callable[[], object]) -> T:
    seen: list[T] = []

    def stop(_: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        seen.append(look(inputs, output))
        raise _Stopped

    with forward_hook(module, stop):
        try:
            forward()
        except _Stopped:
            return seen[0]
    raise ModelError("The model does not use the module to be edited.", "Choose another layer.")


@contextmanager
def added(module: nn.Module, lookup: Tensor, offset: Tensor) -> Iterator[list[Tensor]]:
    """Adds `offset`, (d_out,) or (rows, d_out), to the output of `module` at the flat indices `lookup`, (rows,).

    Of a module that gives several things, a decoder block perhaps, the first is meant. The list that is given fills
    with the clean output at `lookup`, (rows, d_out), float32 or wider, one a forward pass.
    """
    clean: list[Tensor] = []

    def add(_: nn.Module, __: tuple[Tensor, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return add(_, __, output[0]), *output[1:]
        places = lookup.to(output.device)
        before = take(output, places)
        clean.append(before.detach())
        rows = output.reshape(-1, output.shape[-1])  # (rows * length, d_out)
        shifted = (before + offset).to(output.dtype)  # (rows, d_out)
        return rows.index_copy(0, places, shifted).view(output.shape)

    with forward_hook(module, add):
        yield clean


@contextmanager
def changed(changes: Mapping[nn.Module, Tensor]) -> Iterator[None]:
    """Each linear map gives W k + ΔW k (+ b) for its ΔW, (d_out, d_in) in float32 or wider; no weight is written."""

    def change(delta: Tensor) -> Callable[..., Any]:
        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            here = delta.to(inputs[0].device)
            return (output.to(here.dtype) + inputs[0].to(here.dtype) @ here.T).to(output.dtype)

        return add

    with ExitStack() as hooks:
        for module, delta in changes.items():
            hooks.enter_context(forward_hook(module, change(delta)))
        yield


@contextmanager
def only_at(head: nn.Module, places: Tensor) -> Iterator[None]:
    """Lets the language-model head see the flat indices `places`, (n,), alone: its output is (1, n, vocabulary)."""

    def select(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]
        kept = hidden.reshape(-1, hidden.shape[-1])[places.to(hidden.device)]  # (n, d_model)
        return (kept.unsqueeze(0), *inputs[1:])

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def take(states: Tensor, places: Tensor) -> Tensor:
    """The vectors of `states`, (..., d), at flat indices over all but the last axis; at least float32, (n, d)."""
    chosen = states.reshape(-1, states.shape[-1])[places.to(states.device)]
    return chosen if chosen.element_size() >= 4 else chosen.float()
