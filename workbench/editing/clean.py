"""The one clean pass of an edit: everything below the edited map, and all that its steps read and never change.

Nothing below the edited layer, and no token before the subject's last, depends on δ.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from workbench.editing.hooks import Capture, before_forward, forward_hook, take
from workbench.editing.prefix import Enough, NotServed, Pair, Recorder
from workbench.editing.rows import Aligned
from workbench.models.families import EditSite, decoder_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


WASTE = 8
"""A row joins those before it unless one column in so many of it would be padding."""


@dataclass(frozen=True, eq=False)
class Clean:
    """What one clean pass over aligned rows has left behind."""

    at_lookup: Capture
    """Input and output of the edited map at the looked-up tokens."""
    entering: Tensor
    """Hidden states that enter the edited block, from the looked-up token on: (rows, suffix, d_model)."""
    leaving: Tensor
    """The same as they leave it."""
    prefix: dict[int, Pair]
    """Keys and values of the columns before the looked-up token, of the edited layer and those above."""
    beside: dict[int, tuple[Any, ...] | None]
    """What each block up to the edited one returns beside its hidden states; None: it returns them alone."""

    def only(self, rows: Tensor) -> Clean:
        """What it has of some rows, in their order."""
        return _joined([self], rows)


@torch.no_grad()
def read_clean(model: PreTrainedModel, site: EditSite, rows: Aligned, runs: Sequence[Sequence[int]]) -> Clean:
    """Runs the model over `rows`, as far as the last layer's keys and values. Call it inside `frozen`.

    `runs` are the rows that go together: with one pass for those of like length little of it is padding.

    Raises:
        NotServed: the model does not go through its blocks and its cache as decoders do.
    """
    if len(runs) == 1:
        return _pass(model, site, rows)
    parts = [_widened(_pass(model, site, rows[run].narrowed()), rows) for run in runs]
    order = torch.tensor([row for run in runs for row in run]).argsort()
    return _joined(parts, order)


def runs_of(rows: Aligned, most: int) -> list[list[int]]:
    """The rows by the length of their prefixes, in runs of at most `most`; a new run where an eighth would be padding.

    On a GPU a pass costs more than its padding, so that only `most` counts.
    """
    lengths = rows.mask[:, : rows.prefix].sum(dim=1).tolist()
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    runs = [order[:1]]
    for row in order[1:]:
        longest = lengths[runs[-1][0]]
        wasted = longest - lengths[row] if rows.ids.device.type == "cpu" else 0
        if len(runs[-1]) == most or wasted * WASTE > longest + rows.suffix:
            runs.append([])
        runs[-1].append(row)
    return runs


def _pass(model: PreTrainedModel, site: EditSite, rows: Aligned) -> Clean:
    blocks = decoder_blocks(model)
    recorder = Recorder(rows.mask, rows.prefix, range(site.layer, len(blocks)), ends=site.layer < len(blocks) - 1)
    seen = _Seen(rows)
    with seen.watching(site, model, blocks), suppress(Enough):
        model(**inputs_of(model, rows, slice(None)), past_key_values=recorder, use_cache=True)
    if len(recorder.found) != len(blocks) - site.layer:
        raise NotServed("not every layer above the edited one has keys and values of its own")
    return seen.clean(recorder.found)


def _widened(part: Clean, rows: Aligned) -> Clean:
    """`part` with as many columns before and behind as `rows` have; zero where its own rows had none."""
    behind = rows.suffix - part.leaving.shape[1]
    before = rows.prefix - next(iter(part.prefix.values()))[0].shape[2]

    def wider(pair: Pair) -> Pair:
        return pad(pair[0], (0, 0, before, 0)), pad(pair[1], (0, 0, before, 0))

    entering, leaving = pad(part.entering, (0, 0, 0, behind)), pad(part.leaving, (0, 0, 0, behind))
    return replace(
        part, entering=entering, leaving=leaving, prefix={layer: wider(pair) for layer, pair in part.prefix.items()}
    )


def _joined(parts: Sequence[Clean], order: Tensor) -> Clean:
    """The rows of all parts, one after the other, and then in `order`."""

    def rows(tensors: Iterable[Tensor]) -> Tensor:
        every = [*tensors]
        joined = torch.cat(every) if len(every) > 1 else every[0]
        return joined[order.to(joined.device)]

    prefix = {
        layer: (rows(p.prefix[layer][0] for p in parts), rows(p.prefix[layer][1] for p in parts))
        for layer in parts[0].prefix
    }
    seen = Capture(rows(p.at_lookup.inputs for p in parts), rows(p.at_lookup.outputs for p in parts))
    entering, leaving = rows(p.entering for p in parts), rows(p.leaving for p in parts)
    return Clean(seen, entering, leaving, prefix, parts[0].beside)


def inputs_of(model: nn.Module, rows: Aligned, columns: slice) -> dict[str, Tensor]:
    """Arguments for a pass over some columns of `rows`: ids, positions where the model takes them, and a mask of all.

    The mask tells models that take no positions (ALiBi) where each row begins.
    """
    given = {"input_ids": rows.ids[:, columns], "attention_mask": rows.mask}
    if "position_ids" in inspect.signature(model.forward).parameters:
        given["position_ids"] = rows.positions[:, columns]
    return given


def hidden_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The hidden states among a block's arguments. Raises KeyError if there are none."""
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    return hidden


class _Seen:
    """What hooks have seen of one pass."""

    def __init__(self, rows: Aligned) -> None:
        self._rows = rows
        self._at_lookup: list[Capture] = []
        self._entering: list[Tensor] = []
        self._leaving: list[Tensor] = []
        self._beside: dict[int, tuple[Any, ...] | None] = {}

    @contextmanager
    def watching(self, site: EditSite, model: nn.Module, blocks: nn.ModuleList) -> Iterator[None]:
        with ExitStack() as hooks:
            hooks.enter_context(forward_hook(site.linear(model), self._map))
            hooks.enter_context(before_forward(blocks[site.layer], self._enter))
            hooks.enter_context(forward_hook(blocks[site.layer], self._leave))
            for index in range(site.layer + 1):
                hooks.enter_context(forward_hook(blocks[index], self._shape_of(index)))
            yield

    def _map(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        rows, columns = self._rows.ids.shape
        lookup = torch.arange(rows, device=output.device) * columns + self._rows.prefix
        if output.numel() != rows * columns * output.shape[-1]:
            raise NotServed("the edited map does not see every token once")
        self._at_lookup.append(Capture(take(inputs[0], lookup), take(output, lookup)))

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._entering.append(hidden_of(args, kwargs)[:, self._rows.prefix :].clone())

    def _leave(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        self._leaving.append(hidden[:, self._rows.prefix :].clone())

    def _shape_of(self, index: int) -> Any:
        def look(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            self._beside[index] = output[1:] if isinstance(output, tuple) else None

        return look

    def clean(self, prefix: dict[int, Pair]) -> Clean:
        """Raises NotServed unless everything was seen exactly once."""
        if not len(self._at_lookup) == len(self._entering) == len(self._leaving) == 1:
            raise NotServed("a pass does not go once through the edited block and its map")
        return Clean(self._at_lookup[0], self._entering[0], self._leaving[0], prefix, self._beside)
