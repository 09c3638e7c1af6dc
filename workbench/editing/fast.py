"""The fast way to the loss of δ: each step runs only what δ can change.

    clean pass, once      all rows, all layers: keys, t0, hidden states at the edited block, keys and values before it
    each step             the subject's last token to the end, through the blocks above, with the head where it predicts

The model's own forward does both: blocks below are answered from the clean pass, the tokens before come from a cache.
The numbers are those of the plain way; every edit checks that on two rows before it relies on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from workbench.editing.clean import Clean, inputs_of, read_clean, runs_of
from workbench.editing.graphs import is_recording, let_go, shelf_of
from workbench.editing.hooks import added, answering, forward_hook, only_at
from workbench.editing.keys import Keys
from workbench.editing.loss import Evaluation, Fixed, Place, head_of, wide_dtype, zero_offsets
from workbench.editing.prefix import Enough, NotServed, Prefix
from workbench.editing.rows import Aligned, align, check_length
from workbench.editing.scoring import Scoring
from workbench.editing.stand_ins import at_places, in_one_kernel, saying, unchanged, with_offset
from workbench.errors import ModelError
from workbench.models.device import is_out_of_memory
from workbench.models.families import EditSite, decoder_blocks, edit_site, layer_count

if TYPE_CHECKING:
    from transformers import PreTrainedModel

T = TypeVar("T")

MULTIPLES = (8, 4)
"""Where steps are recorded: rows are padded to such multiples, before and from the looked-up token on."""


class FastObjective:
    """loss(δ) from one clean pass and steps over suffixes. Make it and use it inside `frozen` and `gradients`."""

    def __init__(self, model: PreTrainedModel, site: EditSite, scoring: Scoring, place: Place = "mlp") -> None:
        """Makes the clean pass.

        Raises:
            ModelError: no head. EditError: a row too long.
            NotServed, or whatever an unknown decoder raises: it does not decode as the fast way needs it.
        """
        check_length(scoring.rows, model)
        self._model, self._site, self.scoring = model, site, scoring
        self._blocks, self._head = decoder_blocks(model), head_of(model)
        self._last_mlp, self._fused = _last_mlp(model, site), in_one_kernel(model)
        self._rows: Aligned = align(scoring.rows, model.device, MULTIPLES if shelf_of(model) is not None else (1, 1))
        self.rows_at_once = len(scoring.rows)
        """Rows that a pass runs at a time; fewer once memory was short."""
        self._clean: Clean = self._within_memory(self._read_clean)
        self._dtype = wide_dtype(site, model)
        self._device = site.weight(model).device
        self._places: dict[range, Tensor] = {}
        self._place = place
        self._target_init = self._moved[self.scoring.first_rows].to(self._device)
        self._request_of = torch.tensor(scoring.request_of, device=self._device)
        self.adds = place == "block" or self._check_adds()
        """Whether the edited block is answered from the clean pass too."""

    @property
    def target_init(self) -> Tensor:
        """As Objective says; known from the clean pass."""
        return self._target_init

    @property
    def _moved(self) -> Tensor:
        """What δ is added to, (rows, d_out): float32 or wider."""
        if self._place == "mlp":
            return self._clean.at_lookup.outputs
        hidden = self._clean.leaving[:, 0]
        return hidden.to(torch.promote_types(hidden.dtype, torch.float32))

    def keys(self, request: int) -> Keys:
        """The keys and outputs of one request's templates."""
        first = self.scoring.first_rows[request]
        rows, seen = slice(first, first + self.scoring.templates), self._clean.at_lookup
        return Keys(seen.inputs[rows].cpu(), seen.outputs[rows].cpu())

    def zero(self) -> Tensor:
        """As Objective says."""
        return zero_offsets(self._model, self._site, self.scoring.requests)

    def at(self, offsets: Tensor) -> Evaluation:
        """As Objective says. Where memory is short the rows are run in halves, and halves of halves."""
        return self._within_memory(lambda: self._at(offsets))

    def _within_memory(self, run: Callable[[], T]) -> T:
        while True:
            try:
                return run()
            except RuntimeError as error:
                if not is_out_of_memory(error) or not self._lightened():
                    raise

    def _lightened(self) -> bool:
        """Whether less memory can be used than was: without recorded steps, or with half as many rows at a time.

        A step that is being recorded takes more than the same step as it is: its want of memory is no measure.
        """
        if is_recording(self._model):
            return False
        if let_go(self._model):
            return True
        halved = (self.rows_at_once + 1) // 2
        lighter, self.rows_at_once = halved < self.rows_at_once, halved
        return lighter

    def _read_clean(self) -> Clean:
        with answering(self._fused):
            return read_clean(self._model, self._site, self._rows, runs_of(self._rows, self.rows_at_once))

    def _at(self, offsets: Tensor) -> Evaluation:
        total, scoring = len(self.scoring.rows), self.scoring
        chunks = [range(start, min(start + self.rows_at_once, total)) for start in range(0, total, self.rows_at_once)]
        if len(chunks) == 1:
            values = self.values(chunks[0], offsets)
            loss = self._loss(chunks[0], values) + scoring.decay(offsets, self.target_init).sum().to(values.device)
            return Evaluation(self._terms(values, offsets), lambda: torch.autograd.grad(loss, offsets)[0])
        gradient = torch.autograd.grad(scoring.decay(offsets, self.target_init).sum(), offsets)[0]
        found = []
        for rows in chunks:
            values = self.values(rows, offsets)
            gradient = gradient + torch.autograd.grad(self._loss(rows, values), offsets)[0]
            found.append(values.detach())
        return Evaluation(self._terms(torch.cat(found), offsets), lambda: gradient)

    def _terms(self, values: Tensor, offsets: Tensor) -> Any:
        return self.scoring.terms(values, offsets, self.target_init)

    def _loss(self, rows: range, values: Tensor) -> Tensor:
        return (values * self.scoring.share(rows, values.device)).sum()

    def values(self, rows: range, offsets: Tensor) -> Tensor:
        """The values of some rows, (rows,), at `offsets`, (n, d_out), as Scoring defines them."""
        part, where = slice(rows.start, rows.stop), self._where(rows)
        by_row = offsets[self._request_of[part]]
        with only_at(self._head, where), self._mlp_at(where), self._from_here(part, by_row, adds=self.adds):
            logits = self._run(part)
        if logits.shape[:2] != (1, len(where)):
            raise NotServed("the head is not used once a pass")
        return self.scoring.values(rows, logits[0])

    def only(self, requests: Sequence[int]) -> FastObjective:
        """As Objective says."""
        rows, narrow = self.scoring.rows_of(requests), copy(self)
        narrow.scoring, narrow._places = self.scoring.only(requests), {}
        narrow._rows, narrow._clean = self._rows[rows], self._clean.only(torch.tensor(rows))
        narrow._target_init = self._target_init[[*requests]]
        narrow._request_of = torch.tensor(narrow.scoring.request_of, device=self._device)
        return narrow

    def fixed(self) -> Fixed | None:
        """As Objective says."""
        whole = range(len(self.scoring.rows))
        if self.rows_at_once < len(whole) or whole not in self._places:
            return None
        clean, rows = self._clean, self._rows
        entering = [] if self.adds else [clean.entering]
        kept = [tensor for layer in sorted(clean.prefix) for tensor in clean.prefix[layer]]
        beside = [leaf for leaf in tree_leaves([*clean.beside.items()]) if isinstance(leaf, Tensor)]
        tensors = [rows.ids, rows.mask, rows.positions, self._target_init, self._request_of, clean.leaving]
        tensors += [*entering, *kept, *beside, self._places[whole], *self.scoring.tensors(whole)]
        return Fixed((self._site, self._place, self.adds, rows.prefix), tuple(tensors))

    def _where(self, rows: range) -> Tensor:
        """Where the head is needed, as flat indices over the columns behind the prefix; made once."""
        if rows not in self._places:
            flat = [
                (row - rows.start) * self._rows.suffix + index - self.scoring.rows[row].lookup
                for row, index in self.scoring.places(rows)
            ]
            self._places[rows] = torch.tensor(flat, device=self._rows.ids.device)
        return self._places[rows]

    def _run(self, part: slice) -> Tensor:
        """One pass over the suffixes of some rows, behind their prefixes."""
        found = {layer: (k[part], v[part]) for layer, (k, v) in self._clean.prefix.items()}
        given = inputs_of(self._model, self._rows[part], slice(self._rows.prefix, None))
        cache = Prefix(found, self._rows.prefix)
        with answering(self._fused):
            logits: Tensor = self._model(**given, past_key_values=cache, use_cache=True).logits
        return logits

    def _mlp_at(self, places: Tensor) -> AbstractContextManager[None]:
        """The last block's MLP runs where something is predicted: nothing reads it elsewhere."""
        return answering({self._last_mlp: at_places(self._last_mlp, places)}) if self._last_mlp else nullcontext()

    @contextmanager
    def _from_here(self, part: slice, by_row: Tensor, *, adds: bool) -> Iterator[None]:
        """Blocks below are answered from the clean pass; `by_row`, (rows, d_out), is added where δ is.

        With `adds` the edited block is answered too: what it gives is its clean output plus δ.
        """
        layer, clean = self._site.layer, self._clean
        if adds:
            stand_ins = {self._blocks[i]: unchanged(clean.beside[i]) for i in range(layer)}
            stand_ins[self._blocks[layer]] = saying(with_offset(clean.leaving[part], by_row), clean.beside[layer])
            with answering(stand_ins):
                yield
            return
        stand_ins = {self._blocks[i]: unchanged(clean.beside[i]) for i in range(layer - 1)}
        if layer:
            stand_ins[self._blocks[layer - 1]] = saying(clean.entering[part], clean.beside[layer - 1])
        lookup = torch.arange(len(by_row), device=by_row.device) * self._rows.suffix
        with answering(stand_ins), added(self._site.linear(self._model), lookup, by_row):
            yield

    @torch.no_grad()
    def _check_adds(self) -> bool:
        """Whether an offset of the map's output is one of the block's: no norm, no factor between them and the sum."""
        part = slice(0, 1)
        trial = trial_offset(self.target_init[:1])
        # As large as all that leaves the block: what rounding does to outliers there must not hide what becomes of it.
        trial = trial * (self._clean.leaving[part].to(self._dtype).norm().to(trial) / trial.norm())
        left: list[Tensor] = []

        def stop(_: nn.Module, __: tuple[Tensor, ...], output: Any) -> None:
            left.append(output[0] if isinstance(output, tuple) else output)
            raise Enough

        stopping = forward_hook(self._blocks[self._site.layer], stop)
        with self._from_here(part, trial, adds=False), stopping, suppress(Enough):
            self._run(part)
        expected = with_offset(self._clean.leaving[part], trial)
        apart = float((left[0].to(self._dtype) - expected.to(self._dtype)).norm()) / float(trial.norm())
        return apart <= _tolerance(expected.dtype)


def trial_offset(target_init: Tensor) -> Tensor:
    """An offset of about the size of t0, (n, d_out), with a part in every direction; the same every time."""
    steps = torch.arange(1, target_init.shape[1] + 1, device=target_init.device, dtype=target_init.dtype)
    wave: Tensor = steps.mul(0.7).sin()
    trial: Tensor = wave * (target_init.norm(dim=1, keepdim=True) / wave.norm())
    return trial


def _tolerance(dtype: torch.dtype) -> float:
    """How far two orders of the same sums may lie apart, relative to their size: twice eps is what is found."""
    return 8 * float(torch.finfo(dtype).eps)


def _last_mlp(model: PreTrainedModel, site: EditSite) -> nn.Module | None:
    """The MLP of the last block, if the edited block is below it and its MLP is one module."""
    last = layer_count(model) - 1
    try:
        linear = edit_site(model, last).linear(model)
    except ModelError:
        return None  # a mixture of experts, perhaps: it runs everywhere
    around = [m for m in decoder_blocks(model)[last].children() if m is not linear and linear in m.modules()]
    return around[0] if around and site.layer < last else None
