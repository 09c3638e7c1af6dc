"""Keys and outputs of the edited down-projection at the subject's last token, for all templates in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.editing.flags import frozen
from workbench.editing.hooks import capture
from workbench.editing.lookup import Row
from workbench.editing.rows import collate
from workbench.models.families import EditSite

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Keys:
    """k_j and o_j for every template j; j = 0 is the bare prompt. Float32 or wider, on the CPU."""

    inputs: Tensor
    """(templates, d_in)."""
    outputs: Tensor
    """(templates, d_out), bias included."""

    @property
    def key_bare(self) -> Tensor:
        """k_0, (d_in,)."""
        return self.inputs[0]

    @property
    def key_mean(self) -> Tensor:
        """k̄, (d_in,)."""
        return self.inputs.mean(dim=0)

    @property
    def key_batch(self) -> Tensor:
        """The key that stands for a request in a batch, (d_in,): half k_0, half the mean of all others.

        Source: MEMIT's published code, where the bare prompt is a group of templates and the sampled ones another.
        """
        return (self.inputs[0] + self.inputs[1:].mean(dim=0)) / 2 if len(self.inputs) > 1 else self.inputs[0]

    @property
    def output_bare(self) -> Tensor:
        """o_0, (d_out,)."""
        return self.outputs[0]

    @property
    def output_mean(self) -> Tensor:
        """ō, (d_out,)."""
        return self.outputs.mean(dim=0)

    @property
    def cosine(self) -> float:
        """cos(k_0, k̄)."""
        return float(torch.cosine_similarity(self.key_bare.double(), self.key_mean.double(), dim=0))


def read_keys(model: PreTrainedModel, site: EditSite, rows: Sequence[Row]) -> Keys:
    """The keys and outputs at the rows' looked-up tokens; the forward pass ends at the site.

    Raises:
        ModelError: the site is not part of the model.
    """
    batch = collate(rows, model.device)
    with frozen(model), torch.no_grad():
        seen = capture(
            site.linear(model),
            batch.lookup,
            lambda: model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False),
        )
    return Keys(seen.inputs.cpu(), seen.outputs.cpu())
