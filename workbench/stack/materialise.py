"""Materialise: compute edited weights from pristine ones, bit for bit the same everywhere.

    W_p = round( float64(W_0) + b_1 a_1 + b_2 a_2 + ... )      one outer product after the other

The product of two float32 numbers is exact in float64, so a fused and an unfused multiply-add agree; every element is
rounded once an outer product, in stack order, on any device and any number of threads. A float64 sum becomes float32
first and then, for bfloat16 and float16, the narrower type: two roundings, to nearest even, always both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from workbench.errors import BaseMismatch, EditError, ModelError
from workbench.models.device import is_out_of_memory, room_on_host
from workbench.stack.cores import cores_for, on_cores
from workbench.stack.distance import distance
from workbench.stack.hashing import block_of, blocks_sha256
from workbench.stack.hashing import weight_sha256 as weight_sha256
from workbench.stack.hashing import weights_sha256 as weights_sha256
from workbench.stack.record import Factors, Layout
from workbench.stack.sums import Sums, copies_within
from workbench.stack.tiles import add_outers

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What a weight may be stored in."""


@dataclass(frozen=True, eq=False)
class _Module:
    pristine: Tensor
    """On the CPU; in pinned memory where the weight lives on an accelerator."""
    finite: bool
    layout: Layout
    sums: Sums

    @cached_property
    def size(self) -> float:
        """|W_0|."""
        return distance(self.pristine)


class Materialiser:
    """Keeps pristine copies of edited modules in host memory and computes their weights at any position.

    Float64 sums at a few positions are kept, so an append costs one outer product and an undo a few; the result is that
    of starting again. Factors that were given are never changed in place.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._modules: dict[str, _Module] = {}
        self._last: list[str] = []
        """Modules that may have sums, the last used one last."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Dotted paths of the modules known."""
        return tuple(self._modules)

    def add_module(self, module: str, weight: Tensor, layout: Layout) -> None:
        """Keeps a copy of the pristine `weight`: (d_in, d_out) if `layout` is "in,out", else (d_out, d_in).

        Raises:
            ModelError: it is not a matrix of float32, bfloat16 or float16.
        """
        if weight.dtype not in DTYPES or weight.dim() != 2:
            raise ModelError(
                f"The weight of {module} is not a matrix of float32, bfloat16 or float16.",
                "Quantised models have none.",
            )
        pristine = room_on_host(weight.shape, weight.dtype, self._device)
        pristine.copy_(weight.detach())
        sums = Sums(
            lambda: pristine.to(self._device, non_blocking=True).to(torch.float64, copy=True),
            layout,
            copies_within(pristine.numel(), pristine.nbytes),
            lambda factors: _check_fit(module, pristine, layout, factors),
        )
        self._modules[module] = _Module(pristine, _all_finite(pristine), layout, sums)

    def pristine(self, module: str) -> Tensor:
        """A copy of the pristine weight, on the CPU. Raises BaseMismatch."""
        return self._get(module).pristine.clone()

    def weight(self, module: str, factors: Sequence[Factors], dtype: torch.dtype | None = None) -> Tensor:
        """W_p of one module, with its factors in stack order, on the materialiser's device, or the CPU if that is full.

        `dtype` is what it is rounded to; None: that of the pristine weight.

        Raises:
            BaseMismatch: the module is not known, or a factor does not fit it.
            EditError: the weight would not be finite in that dtype.
        """
        try:
            return self._weight(module, factors, dtype)
        except RuntimeError as error:
            if self._device.type == "cpu" or not is_out_of_memory(error):
                raise
        return self._weight_on_cpu(module, factors, dtype)

    def _weight_on_cpu(self, module: str, factors: Sequence[Factors], dtype: torch.dtype | None) -> Tensor:
        """`weight` without the device: an edit that ran out of memory there can always be taken back."""
        self.forget_sums()
        kept, spare = self._get(module), Materialiser()
        spare.add_module(module, kept.pristine, kept.layout)
        return spare.weight(module, factors, dtype)

    def _weight(self, module: str, factors: Sequence[Factors], dtype: torch.dtype | None) -> Tensor:
        pristine = self._get(module).pristine
        if not factors:
            return pristine.to(self._device, dtype or pristine.dtype, copy=True)
        rounded = torch.empty(pristine.shape, dtype=dtype or pristine.dtype, device=self._device)
        for _ in self._rounding(module, factors, rounded):
            pass
        return rounded

    def sha256(self, module: str, factors: Sequence[Factors], dtype: torch.dtype | None = None) -> str:
        """`weight_sha256` of W_p, hashed while it is rounded. Raises as `weight`."""
        pristine = self._get(module).pristine
        if self._device.type != "cpu" or not factors:
            return weight_sha256(
                self.weight(module, factors, dtype) if factors else pristine.to(dtype or pristine.dtype)
            )
        rounded = torch.empty_like(pristine, dtype=dtype)
        return blocks_sha256(rounded.dtype, rounded.shape, self._rounding(module, factors, rounded))

    def weights(self, edits: Iterable[Sequence[Factors]]) -> dict[str, Tensor]:
        """W_p of every known module from the factors of the active edits, oldest first. Raises as `weight`."""
        wanted: dict[str, list[Factors]] = {module: [] for module in self._modules}
        for factors in edits:
            for one in factors:
                self._get(one.module)
                wanted[one.module].append(one)
        return {module: self.weight(module, found) for module, found in wanted.items()}

    def moved(self, module: str, weight: Tensor) -> float:
        """|W − W_0| for `weight` W of a module, Frobenius in float64. Raises BaseMismatch."""
        return distance(weight, self._get(module).pristine)

    def size(self, module: str) -> float:
        """|W_0| of a module, Frobenius in float64, read once. Raises BaseMismatch."""
        return self._get(module).size

    def forget_sums(self) -> None:
        """Frees the float64 sums; the next weight starts again from the pristine one."""
        for kept in self._modules.values():
            kept.sums.forget()

    def _get(self, module: str) -> _Module:
        if module not in self._modules:
            raise BaseMismatch(f"The model has no module {module} that is edited.", "The edit is for another model.")
        return self._modules[module]

    def _rounding(self, module: str, factors: Sequence[Factors], rounded: Tensor) -> Iterator[Tensor]:
        """Fills `rounded` with W_p and gives its rows, some at a time, as they are done. Raises as `weight`."""
        kept = self._get(module)
        total = self._summed(module, kept, factors)
        every = _rows(rounded)
        pieces = list(zip(torch.split(total, every), torch.split(rounded, every), strict=True))
        found: list[Tensor] = []
        for rows, finite in on_cores(_round, pieces, cores_for(4 * total.numel(), total.device)):
            found.append(finite)
            yield rows
        if kept.finite and not bool(torch.stack(found).all()):
            kept.sums.forget()
            raise EditError(
                f"The edited weight of {module} would not be finite.", "Use a wider dtype or a smaller edit."
            )

    def _summed(self, module: str, kept: _Module, factors: Sequence[Factors]) -> Tensor:
        """The float64 sum; those of modules not used for longer go where all together would take too much memory."""
        total = kept.sums.at(factors)
        self._last = [*(name for name in self._last if name != module), module]
        room = max(self._get(name).sums.room for name in self._last)
        while len(self._last) > 1 and sum(self._get(name).sums.bytes for name in self._last) > room:
            self._get(self._last.pop(0)).sums.forget()
        return total


def delta(factors: Factors, layout: Layout) -> Tensor:
    """ΔW of one module in float64 on the CPU, in the module's own orientation."""
    d_in, d_out = factors.a.shape[1], factors.b.shape[0]
    total = torch.zeros((d_in, d_out) if layout == "in,out" else (d_out, d_in), dtype=torch.float64)
    add_outers(total, [factors], layout)
    return total


def realised_fraction(before: Tensor, after: Tensor, update: Tensor) -> float:
    """|after − before| / |ΔW|: how much of the update `update` survived rounding; 1.0 for an update of zero."""
    size = float(torch.linalg.vector_norm(update.double()))
    moved = float(torch.linalg.vector_norm(after.detach().cpu().double() - before.detach().cpu().double()))
    return moved / size if size > 0 and math.isfinite(size) else 1.0


def _round(piece: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Rounds rows of a float64 sum into rows of a weight, by way of float32; those, and whether all are finite."""
    rows, rounded = piece
    rounded.copy_(rows.to(torch.float32))
    return rounded, _finite(rounded)


def _rows(weight: Tensor) -> int:
    """How many rows make a block."""
    return max(1, block_of(weight) // max(1, weight.shape[1]))


def _finite(block: Tensor) -> Tensor:
    """Whether no element is infinite or not a number, on the block's device: there is one pass and no copy."""
    if block.numel() == 0:
        return torch.ones((), dtype=torch.bool, device=block.device)
    low, high = torch.aminmax(block)
    return torch.isfinite(low) & torch.isfinite(high)


def _all_finite(weight: Tensor) -> bool:
    return all(bool(_finite(rows)) for rows in torch.split(weight, _rows(weight)))


def _check_fit(module: str, pristine: Tensor, layout: Layout, factors: Factors) -> None:
    shape = (factors.a.shape[1], factors.b.shape[0])
    expected = tuple(pristine.shape) if layout == "in,out" else tuple(pristine.shape)[::-1]
    if factors.module != module or shape != expected:
        raise BaseMismatch(f"An update does not fit the module {module}.", "The edit is for another model.")
