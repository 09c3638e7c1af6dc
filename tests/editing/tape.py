"""A recorder without a GPU: it writes down every operation of a step, and plays them again on the same tensors.

It refuses what a CUDA capture refuses: whatever would wait for the device, have a shape that depends on numbers, or
bring numbers from the host. Like a capture, what it plays knows nothing of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from workbench.editing import graphs

WAITS = ("_local_scalar_dense", "item", "nonzero", "masked_select", "equal", "_unique2", "is_nonzero", "allclose")
FROM_THE_HOST = ("lift_fresh", "lift_fresh_copy")
BY_MASK = ("index", "index_put", "index_put_")


@dataclass
class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operations of one step, in order."""

    operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, _: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in BY_MASK else ()
        if name in WAITS or any(i is not None and i.dtype == torch.bool for i in indices):
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        if name in FROM_THE_HOST:
            raise RuntimeError("Cannot copy between CPU and CUDA tensors during CUDA graph capture: " + name)
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    def reads(self) -> set[int]:
        """Where the memory lies that is read and was there before."""
        made, read = set[int](), set[int]()
        for _, args, kwargs, result in self.operations:
            read |= {place for leaf in _tensors((args, kwargs)) if (place := _place(leaf)) not in made}
            made |= {place for leaf in _tensors(result) if (place := _place(leaf)) not in read}
        return read

    @torch.no_grad()
    def play(self) -> None:
        """All of them again, each result where it was."""
        for func, args, kwargs, result in self.operations:
            inputs = {_place(leaf) for leaf in _tensors((args, kwargs))}
            for now, then in zip(_tensors(func(*args, **kwargs)), _tensors(result), strict=True):
                if _place(then) not in inputs:
                    then.copy_(now)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@dataclass
class Scribe:
    """Recordings on tapes."""

    made: int = 0
    played: int = 0
    tapes: list[Tape] = field(default_factory=list)

    def record(self, step: Callable[[], Tensor]) -> graphs.Play:
        """As Recorder says."""
        self.made += 1
        with pytest.MonkeyPatch.context() as patch, Tape() as tape:
            patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
            report = step()
        self.tapes.append(tape)

        def play() -> Tensor:
            self.played += 1
            tape.play()
            return report

        return play


@contextmanager
def recording() -> Iterator[Scribe]:
    """Every model's steps are recorded inside, by the scribe that is given."""
    scribe = Scribe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "recorder_for", lambda _: scribe)
        graphs._SHELVES.clear()
        yield scribe
        graphs._SHELVES.clear()
