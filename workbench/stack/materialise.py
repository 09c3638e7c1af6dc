"""Materialise: compute edited weights from pristine ones, bit for bit the same everywhere.

    W_p = round( float64(W_0) + b_1 a_1 + b_2 a_2 + ... )      one outer product after the other

The product of two float32 numbers is exact in float64, so a fused and an unfused multiply-add agree; every element is
rounded once an outer product, in stack order, on any device and any number of threads. A float64 sum becomes float32
first and then, for bfloat16 and float16, the narrower type: two roundings, to nearest even, always both.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.errors import BaseMismatch, EditError, ModelError
from workbench.stack.record import Factors, Layout
from workbench.stack.tiles import add_outers

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What a weight may be stored in."""

_TAG = b"workbench-weight-1\0"
_BLOCK = 2**22
"""Elements rounded at a time."""


@dataclass
class _Module:
    pristine: Tensor
    layout: Layout
    sum: Tensor | None = None
    """float64: pristine plus the factors in `summed`."""
    summed: list[Factors] = field(default_factory=list)
    """What is in `sum`, in order."""


class Materialiser:
    """Keeps pristine copies of edited modules in host memory and computes their weights at any position.

    The float64 sum of the present position is kept, so an append costs one outer product; the result is that of
    starting again. Factors that were given are never changed in place.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._modules: dict[str, _Module] = {}

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
        pristine = weight.detach().to("cpu", copy=True).contiguous()
        self._modules[module] = _Module(pristine, layout)

    def pristine(self, module: str) -> Tensor:
        """A copy of the pristine weight, on the CPU. Raises BaseMismatch."""
        return self._get(module).pristine.clone()

    def weight(self, module: str, factors: Sequence[Factors]) -> Tensor:
        """W_p of one module, with its factors in stack order; in the model's dtype, on the materialiser's device.

        Raises:
            BaseMismatch: the module is not known, or a factor does not fit it.
            EditError: the weight would not be finite in the model's dtype.
        """
        kept = self._get(module)
        if not factors:
            kept.sum, kept.summed = None, []
            return kept.pristine.to(self._device, copy=True)
        rounded = _round(self._summed(module, kept, list(factors)), kept.pristine.dtype)
        if not bool(torch.isfinite(rounded).all()) and bool(torch.isfinite(kept.pristine).all()):
            kept.sum, kept.summed = None, []
            raise EditError(
                f"The edited weight of {module} would not be finite.", "Use a wider dtype or a smaller edit."
            )
        return rounded

    def weights(self, edits: Iterable[Sequence[Factors]]) -> dict[str, Tensor]:
        """W_p of every known module from the factors of the active edits, oldest first. Raises as `weight`."""
        wanted: dict[str, list[Factors]] = {module: [] for module in self._modules}
        for factors in edits:
            for one in factors:
                self._get(one.module)
                wanted[one.module].append(one)
        return {module: self.weight(module, found) for module, found in wanted.items()}

    def forget_sums(self) -> None:
        """Frees the float64 sums; the next weight starts again from the pristine one."""
        for kept in self._modules.values():
            kept.sum, kept.summed = None, []

    def _get(self, module: str) -> _Module:
        if module not in self._modules:
            raise BaseMismatch(f"The model has no module {module} that is edited.", "The edit is for another model.")
        return self._modules[module]

    def _summed(self, module: str, kept: _Module, factors: list[Factors]) -> Tensor:
        total, done = kept.sum, len(kept.summed)
        if total is None or not _begins(factors, kept.summed):
            total, done = None, 0
        for one in factors[done:]:
            _check_fit(module, kept, one)
        if total is None:
            total = kept.pristine.to(self._device, torch.float64)
        kept.sum, kept.summed = None, []  # an interruption on the way must not leave half a sum
        add_outers(total, factors[done:], kept.layout)
        kept.sum, kept.summed = total, factors
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


def weight_sha256(weight: Tensor) -> str:
    """Hex sha256 over a tag, dtype, shape and the raw little-endian bytes; the same on every device."""
    name = str(weight.dtype).removeprefix("torch.")
    shape = "x".join(str(side) for side in weight.shape)
    digest = hashlib.sha256(_TAG + f"{name} {shape}\0".encode())
    flat = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    if sys.byteorder == "big":
        flat = flat.reshape(-1, weight.element_size())[:, ::-1].copy()
    digest.update(flat.data)
    return digest.hexdigest()


def weights_sha256(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """`weight_sha256` of each module."""
    return {module: weight_sha256(weight) for module, weight in weights.items()}


def _round(total: Tensor, dtype: torch.dtype) -> Tensor:
    """`total` in `dtype`, by way of float32, some rows at a time."""
    rounded = torch.empty(total.shape, dtype=dtype, device=total.device)
    rows = max(1, _BLOCK // max(1, total.shape[1]))
    for start in range(0, total.shape[0], rows):
        rounded[start : start + rows] = total[start : start + rows].to(torch.float32).to(dtype)
    return rounded


def _check_fit(module: str, kept: _Module, factors: Factors) -> None:
    shape = (factors.a.shape[1], factors.b.shape[0])
    expected = tuple(kept.pristine.shape) if kept.layout == "in,out" else tuple(kept.pristine.shape)[::-1]
    if factors.module != module or shape != expected:
        raise BaseMismatch(f"An update does not fit the module {module}.", "The edit is for another model.")


def _begins(factors: list[Factors], summed: list[Factors]) -> bool:
    """Whether `factors` starts with `summed`; the numbers are compared only of what is not the same object."""
    start = factors[: len(summed)]
    return start == summed or (
        len(start) == len(summed) and all(_same(*pair) for pair in zip(start, summed, strict=True))
    )


def _same(one: Factors, other: Factors) -> bool:
    """Whether both add the same bits; −0.0 is not 0.0."""
    return one is other or (
        (one.module, one.a.shape) == (other.module, other.a.shape)
        and one.a.tobytes() == other.a.tobytes()
        and one.b.tobytes() == other.b.tobytes()
    )
