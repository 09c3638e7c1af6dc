"""The live weights of one model: pristine bytes plus the edits that apply, by the exactness rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from workbench.errors import BaseMismatch
from workbench.models.device import DTYPES, dtype_name, for_float64
from workbench.models.families import EditSite, Layout, layout_of
from workbench.models.float32 import hold_float32
from workbench.models.placing import bring_home
from workbench.stack.materialise import Materialiser, weights_sha256
from workbench.stack.record import Base, Edit, Factors, ModuleInfo


class _ByModule:
    """Updates by module; a list that goes on from the one before costs only what is new."""

    def __init__(self) -> None:
        self._seen: list[Sequence[Factors]] = []
        self._factors: dict[str, list[Factors]] = {}

    def of(self, module: str, edits: Sequence[Sequence[Factors]]) -> list[Factors]:
        """The updates of `module` in `edits`, in order."""
        seen, factors = self._seen, self._factors
        if [*edits[: len(seen)]] != seen:
            seen, factors = [], {}
        self._seen, self._factors = [], {}  # an interruption on the way must not leave half a list
        for edit in edits[len(seen) :]:
            for one in edit:
                factors.setdefault(one.module, []).append(one)
        self._seen, self._factors = [*edits], factors
        return factors.get(module, [])


class LiveWeights:
    """Owns every edited module of a model. What the model holds is always `materialise(pristine, edits)`."""

    def __init__(self, model: PreTrainedModel, *, keep_fp32: bool = False) -> None:
        self._model = model
        self._keep_fp32 = keep_fp32
        self._materialiser = Materialiser(for_float64(model.device))  # the sum has the same bits wherever it is made
        self._by_module = _ByModule()
        self._shown: tuple[tuple[Factors, ...], ...] = ()

    def parameter(self, module: str) -> torch.nn.Parameter:
        """The live weight of `module`. Raises BaseMismatch if the model has none."""
        try:
            weight = self._model.get_submodule(module).weight
        except AttributeError:
            weight = None
        if not isinstance(weight, torch.nn.Parameter):
            raise BaseMismatch(f"This model has no module '{module}'.", "The stack was made for another base.")
        return weight

    def adopt(self, edit: Edit, *, hold: bool = True) -> None:
        """Takes pristine copies of the modules that `edit` changes; with `hold` they are held as they were for it.

        Raises:
            BaseMismatch: the model has no such linear map, one of another shape or layout, or one of another name.
        """
        for module in edit.weights:
            info, weight = edit.base.modules[module], self.parameter(module)
            if list(weight.shape) != info["shape"] or layout_of(self._model.get_submodule(module)) != info["layout"]:
                raise BaseMismatch(
                    f"The module '{module}' has another shape here.", "The stack was made for another base."
                )
            self._own(module, info["layout"], float32=hold and info.get("dtype") == "float32")

    def adopt_site(self, site: EditSite) -> None:
        """Takes a pristine copy of the module at `site`."""
        site.weight(self._model)
        self._own(site.module, site.layout)

    def _own(self, module: str, layout: Layout, *, float32: bool = False) -> None:
        if module not in self._materialiser.modules:
            self.check_single(module)
            bring_home(self._model, module)
            self._materialiser.add_module(module, self.parameter(module).detach(), layout)
        if (float32 or self._keep_fp32) and self.parameter(module).dtype != torch.float32:
            hold_float32(self._model.get_submodule(module), layout)
            self._copy(module, self._materialise(module, self._shown))

    def as_held(self, base: Base) -> Base:
        """`base` as an edit made now records it: with what each module is held in, where not in the model's dtype."""
        own, modules = dtype_name(self._model.dtype), {}
        for module, info in base.modules.items():
            modules[module] = ModuleInfo(shape=info["shape"], layout=info["layout"])
            if self.dtype(module) != own:
                modules[module]["dtype"] = self.dtype(module)
        return replace(base, dtype=own, modules=modules)

    def check_single(self, module: str) -> None:
        """Raises BaseMismatch unless `module` is the one name of its weight: two would be two pristine copies."""
        weight = self.parameter(module)
        names = [name for name, other in self._model.named_parameters(remove_duplicate=False) if other is weight]
        if names != [f"{module}.weight"]:
            raise BaseMismatch(
                f"The weight of '{module}' is also that of another module or name.",
                "Only a weight that one module has to itself can be edited, under that module's own name.",
            )

    def pristine(self, module: str) -> Tensor:
        """The untouched weight of an adopted module, on the CPU."""
        return self._materialiser.pristine(module)

    def show(self, edits: Sequence[tuple[Factors, ...]]) -> None:
        """Makes the model hold pristine plus `edits`, in order; on an error it holds what it held before."""
        before, self._shown = self._shown, tuple(edits)
        touched = sorted({f.module for edit in (*before, *edits) for f in edit})
        try:
            self._copy_all(touched)
        except BaseException:
            self._shown = before
            self._copy_all(touched)
            raise

    def _copy_all(self, modules: Sequence[str]) -> None:
        for module in modules:
            self._copy(module, self._materialise(module, self._shown))

    def _materialise(self, module: str, edits: Sequence[tuple[Factors, ...]]) -> Tensor:
        return self._materialiser.weight(module, self._by_module.of(module, edits), self.parameter(module).dtype)

    @torch.no_grad()
    def _copy(self, module: str, weight: Tensor) -> None:
        self.parameter(module).copy_(weight)

    @property
    def shown(self) -> tuple[tuple[Factors, ...], ...]:
        """The edits the model holds now."""
        return self._shown

    def hashes(self, modules: Sequence[str]) -> dict[str, str]:
        """sha256 of the live weight of each module."""
        return weights_sha256({module: self.parameter(module) for module in modules})

    def would_be(self, module: str, edits: Sequence[tuple[Factors, ...]], dtype: str = "") -> str:
        """sha256 that the weight of `module` has after `edits`; the model is left alone.

        `dtype` is what it would be held in; empty: what it is held in now.
        """
        held = DTYPES[dtype] if dtype else self.parameter(module).dtype
        return self._materialiser.sha256(module, self._by_module.of(module, edits), held)

    def drift(self) -> float:
        """|W − W0| / |W0| over the modules that the shown edits change."""
        moved = total = 0.0
        for module in self._changed():
            moved += self._materialiser.moved(module, self.parameter(module)) ** 2
            total += self._materialiser.size(module) ** 2
        return (moved / total) ** 0.5 if total else 0.0

    def _changed(self) -> list[str]:
        return sorted({f.module for edit in self._shown for f in edit})

    @contextmanager
    def at_base(self) -> Iterator[None]:
        """The model as it was before every edit, for as long as the block lasts."""
        kept = {module: self.parameter(module).detach().clone() for module in self._changed()}
        try:
            for module in kept:
                self._copy(module, self.pristine(module))
            yield
        finally:
            for module, weight in kept.items():
                self._copy(module, weight)

    def dtype(self, module: str) -> str:
        """The weight's dtype: "float32"."""
        return dtype_name(self.parameter(module).dtype)
