"""What every request of a batch asks of the edited layer: its key, and the value it is to have there.

Requests are optimised in chunks of bounded memory, those of like length together: padding costs as much as text.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.editing.cancel import check
from workbench.editing.lookup import Texts
from workbench.editing.objective import prepare
from workbench.editing.optimise import Offset, optimise
from workbench.editing.telling import memory_warnings, slow_warnings
from workbench.editing.together import tell_steps
from workbench.edits import Recipe
from workbench.errors import EditError
from workbench.events import Event, StageStarted
from workbench.models.families import EditSite, layer_count

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CPU_ROWS = 192
"""Rows that are optimised side by side on a CPU: more of them fall out of its caches."""
ROWS = 2048
"""The same elsewhere."""
BYTES = 2**31
"""What keys, values and hidden states of those rows may take."""


@dataclass(frozen=True, eq=False)
class Value:
    """What one request asks for. Tensors are float32 or wider, on the CPU."""

    key: Tensor
    """The batch's key of the request at the last layer, (d_in,), on the model as it is."""
    offset: Offset
    """Of the block's output there: δ, and t0 that it starts from."""

    @property
    def z(self) -> Tensor:
        """t0 + δ: what the block's output is to be, (d_out,)."""
        return self.offset.target_init + self.offset.offset


def make_values(
    model: PreTrainedModel,
    site: EditSite,
    texts: Mapping[int, Texts],
    recipe: Recipe,
    cancelled: Callable[[], bool],
    *,
    plain: bool = False,
) -> Generator[Event, None, dict[int, Value | EditError]]:
    """The value of every request, by its number; or why there is none.

    Yields a StageStarted a chunk and a StepTogether an evaluation.

    Raises:
        Cancelled, ModelError: as `make_update`.
    """
    found: dict[int, Value | EditError] = {}
    order, told = by_length(texts), False
    step = at_once(model, site, [*texts.values()]) if texts else 1
    for start in range(0, len(order), step):
        check(cancelled)
        chunk = order[start : start + step]
        last, most = start + len(chunk), recipe.steps
        yield StageStarted(
            stage="optimise", detail=f"requests {start + 1} to {last} of {len(order)}, at most {most} steps"
        )
        prepared = prepare(model, site, [texts[i] for i in chunk], recipe, plain=plain)
        if not told:
            yield from slow_warnings(prepared.slow)
        offsets = yield from tell_steps(optimise(model, prepared.objective, recipe, cancelled))
        rows = sum(len(texts[i].rows) + 1 for i in chunk)
        if not told:
            yield from memory_warnings(prepared.objective.rows_at_once, rows)
        told = True
        for i, keys, offset in zip(chunk, prepared.keys, offsets, strict=True):
            found[i] = offset if isinstance(offset, EditError) else Value(keys.key_batch, offset)
    return found


def at_once(model: PreTrainedModel, site: EditSite, texts: Sequence[Texts]) -> int:
    """How many of the requests are optimised side by side."""
    rows = len(texts[0].rows) + 1
    columns = max(len(row.ids) + len(text.target) for text in texts for row in text.rows)
    kept = 2 * (layer_count(model) - site.layer) + 2  # keys and values of the layers above, states around the edited
    a_row = columns * kept * site.d_out * model.dtype.itemsize
    most = CPU_ROWS if model.device.type == "cpu" else ROWS
    return max(1, min(most, BYTES // a_row) // rows)


def by_length(texts: Mapping[int, Texts]) -> list[int]:
    """The requests, those with the most to read behind their subject first."""

    def suffix(number: int) -> int:
        bare = texts[number].rows[0]
        return len(bare.ids) - bare.lookup + len(texts[number].target)

    return sorted(texts, key=suffix, reverse=True)


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Vectors as the rows of one tensor, float32 or wider."""
    return torch.stack(list(rows))
