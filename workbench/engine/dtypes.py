"""One stack replayed in two dtypes: how far the weights come to lie apart, and how much of the edits survives."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from workbench.engine.mismatch import weight_of
from workbench.events import Event, Finding, WeightsDiffer
from workbench.models.device import DTYPES, dtype_name
from workbench.models.load import LoadedModel, load_model
from workbench.models.options import PLAIN, LoadOptions
from workbench.stack.materialise import Materialiser, delta, realised_fraction, weight_sha256
from workbench.stack.record import Base, Edit, Factors, Layout
from workbench.stack.view import StackView


def pristine_weights(loaded: LoadedModel, base: Base) -> dict[str, Tensor]:
    """Copies, on the CPU, of the modules that a stack on `base` edits."""
    found = {module: weight_of(loaded.model, module) for module in base.modules}
    return {module: weight.detach().to("cpu", copy=True) for module, weight in found.items() if weight is not None}


def measure_dtypes(
    stack: StackView, base: Base, model: str, here: Mapping[str, Tensor], options: LoadOptions = PLAIN
) -> Generator[Event, None, None]:
    """Replays the applied edits on `here` and on the same weights in the base's dtype; yields what lies between them.

    Args:
        stack: whose active edits are replayed.
        base: the stack's.
        model: read once more, in the base's dtype.
        here: pristine weights in another dtype, by module.
        options: as for `load_model`; all of it comes to the CPU.

    Raises:
        WorkbenchError: the model cannot be read, an edit is damaged, or a weight would not be finite in one dtype.
    """
    active = stack.active
    updates = [one for edit in active for one in stack.factors(edit)]
    loaded = yield from load_model(model, "cpu", base.dtype, replace(options, device_map=""))
    there = pristine_weights(loaded, base)
    del loaded
    held = {module: edit.base.dtype_of(module) for edit in active for module in edit.weights}
    for module in sorted({one.module for one in updates}):
        factors = [one for one in updates if one.module == module]
        layout = base.modules[module]["layout"]
        weights = [
            _replayed(module, layout, here[module], factors),
            _replayed(module, layout, there[module], factors, DTYPES.get(held[module])),
        ]
        yield WeightsDiffer(
            module=module,
            distance=_norm(weights[0], weights[1]) / _norm(there[module]),
            sha_a=weight_sha256(weights[0]),
            sha_b=weight_sha256(weights[1]),
        )
        yield _apart(module, (here[module], weights[0]), (there[module], weights[1]), factors, layout)
        yield from _recorded(module, active, stack, weights[1])


def _replayed(
    module: str, layout: Layout, pristine: Tensor, factors: Sequence[Factors], dtype: torch.dtype | None = None
) -> Tensor:
    materialiser = Materialiser()
    materialiser.add_module(module, pristine, layout)
    return materialiser.weight(module, factors, dtype)


def _apart(
    module: str, here: tuple[Tensor, Tensor], there: tuple[Tensor, Tensor], factors: Sequence[Factors], layout: Layout
) -> Finding:
    """Says it in numbers; `here` and `there` are (pristine, edited) in the two dtypes."""
    change = torch.zeros(there[0].shape, dtype=torch.float64)
    for one in factors:
        change += delta(one, layout)
    size = _norm(there[0])
    names = [dtype_name(weight.dtype) for weight in (here[0], there[0])]
    return Finding(
        topic="two dtypes",
        verdict="note",
        message=f"{module}: edited in {names[0]} and in {names[1]} it differs by "
        f"{_norm(here[1], there[1]) / size:.3g} of |W_0|, the base alone by {_norm(here[0], there[0]) / size:.3g}; "
        f"the edits move it by {float(change.norm()) / size:.3g}, and {realised_fraction(*here, change):.2%} of that "
        f"is realised in {names[0]}",
    )


def _recorded(module: str, active: Sequence[Edit], stack: StackView, weight: Tensor) -> Generator[Event, None, None]:
    """Whether the replay in the recorded dtype gives the recorded bytes, where they were recorded for this state."""
    edit = next(edit for edit in reversed(active) if module in edit.weights)
    before = {one.id for one in stack.applied[: edit.number - 1]}
    if edit.off != stack.off & before:
        return
    same = edit.weights[module]["after"] == weight_sha256(weight)
    dtype = dtype_name(weight.dtype)
    yield Finding(
        topic="recorded dtype",
        verdict="fine" if same else "mismatch",
        message=f"{module}: in {dtype} the replay is {'bit-identical to' if same else 'not'} what was recorded",
        hint="" if same else "An edit file is not what it was; see workbench verify.",
    )


def _norm(weight: Tensor, other: Tensor | None = None) -> float:
    """|weight|, or |weight − other|, in float64."""
    wide = weight.double() if other is None else weight.double() - other.double()
    return float(torch.linalg.vector_norm(wide))
