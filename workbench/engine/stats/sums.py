"""Keys summed into Σ k kᵀ while a batch runs as far as the deepest module that is asked about.

Products are float32 over at most ROWS keys, sums of them float64, and only the lower triangle is computed:

    |Ĉ_ij − C_ij| ≤ γ · sqrt(C_ii C_jj),   γ = ROWS · 2⁻²⁴ / (1 − ROWS · 2⁻²⁴) = 3.1e-5

whatever the order of the additions within a product (Higham, *Accuracy and Stability of Numerical Algorithms*, 3.1, and
Cauchy-Schwarz). Roundings of both signs cancel, more so over many blocks: what is found is below 1e-6, and near the
rounding of the float32 that C is stored in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.errors import ModelError
from workbench.models.device import for_float64
from workbench.models.families import EditSite

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

ROWS = 512
"""Keys whose products are summed in float32."""
COLUMNS = 256
"""Side of the square tiles that the lower triangle is computed in."""


class _Enough(Exception):  # noqa: N818  a signal, not an error
    """Ends a forward pass at the last module whose keys are wanted."""


class Sum:
    """Σ k kᵀ of one module's keys."""

    def __init__(self, d_in: int, device: torch.device) -> None:
        self.total = torch.zeros(d_in, d_in, dtype=torch.float64, device=for_float64(device))
        """(d_in, d_in); above the diagonal's tiles it is zero."""

    def add(self, keys: Tensor) -> None:
        """Takes keys, (..., d_in), of any float dtype. Float64 keys are multiplied in float64."""
        flat = keys.reshape(-1, keys.shape[-1]).to(self.total.device)
        flat = flat if flat.dtype == torch.float64 else flat.float()
        for start in range(0, len(flat), ROWS):
            block = flat[start : start + ROWS]
            for first in range(0, block.shape[1], COLUMNS):
                tile = block[:, first : first + COLUMNS].T @ block[:, : first + COLUMNS]  # (COLUMNS, <= d_in)
                self.total[first : first + COLUMNS, : first + COLUMNS] += tile

    @property
    def finite(self) -> bool:
        """Whether every key so far was a number."""
        return bool(self.total.diagonal().isfinite().all())

    def mean(self, samples: int) -> Tensor:
        """C, (d_in, d_in) float32 on the CPU, symmetric to the bit."""
        lower = self.total.tril().div_(samples).float()
        return (lower + lower.tril(-1).T).cpu()


class Keys:
    """Sums for several modules of one model, filled by running it."""

    def __init__(self, model: PreTrainedModel, sites: Sequence[EditSite]) -> None:
        self.model = model
        self.sites = tuple(sorted(sites, key=lambda site: site.layer))
        self.sums = {site.module: Sum(site.d_in, model.device) for site in self.sites}

    @torch.no_grad()
    def add(self, ids: Tensor) -> None:
        """Sums the keys of the texts `ids`, (rows, tokens) without padding.

        Raises:
            ModelError: the model does not use the last module, or its keys are not numbers.
        """
        with self._listening():
            try:
                self.model(input_ids=ids.to(self.model.device), use_cache=False)
            except _Enough:
                pass
            else:
                raise ModelError("The model does not use the module to be edited.", "Choose another layer.")
        for site in self.sites:
            if not self.sums[site.module].finite:
                raise ModelError(
                    f"The keys of layer {site.layer} are not numbers in this dtype.", "Use --dtype float32 or bfloat16."
                )

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Every module hands its input over, and the last one ends the pass before it computes anything."""
        with ExitStack() as hooks:
            for site in self.sites:
                last = site is self.sites[-1]
                hooks.callback(site.linear(self.model).register_forward_pre_hook(self._taking(site, last=last)).remove)
            yield

    def _taking(self, site: EditSite, *, last: bool) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def take(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.sums[site.module].add(inputs[0])
            if last:
                raise _Enough

        return take
