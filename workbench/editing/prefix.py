"""Keys and values of the tokens that no offset can reach: recorded once, read by every step.

Both caches are the model's own kind (transformers' Cache), so that its attention, whatever it is, does the rest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache

Pair = tuple[Tensor, Tensor]
"""Keys and values of one layer, (rows, heads, columns, d_head) both."""


class NotServed(Exception):  # noqa: N818  a finding: the plain way is taken
    """This model does not decode as the fast way needs it; says how."""


class Enough(Exception):  # noqa: N818  a signal, not an error
    """Ends a forward pass where everything has been seen."""


class Recorder(Cache):
    """Keeps the keys and values of the first `prefix` columns, and may end the pass where the last are known."""

    def __init__(self, mask: Tensor, prefix: int, layers: range, *, ends: bool) -> None:
        """`mask`, (rows, columns): 1 where there is a token. `layers` are kept; `ends`: the last of them is the end."""
        super().__init__(layers=[])
        self._mask, self._prefix, self._wanted, self._ends = mask, prefix, layers, ends
        self.found: dict[int, Pair] = {}

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Pair:
        """Looks at what goes by. Raises NotServed unless states lie as (rows, heads, columns, d_head)."""
        if key_states.dim() != 4 or key_states.shape[::2] != self._mask.shape:
            raise NotServed("its keys do not lie as rows, heads, columns, dimensions")
        if layer_idx in self._wanted:
            self.found[layer_idx] = (self._cut(key_states), self._cut(value_states))
            if self._ends and layer_idx == self._wanted[-1]:
                raise Enough
        return key_states, value_states

    def _cut(self, states: Tensor) -> Tensor:
        """The prefix's columns, with nothing in padded places: zero times NaN is NaN, however little it weighs."""
        padded = self._mask[:, None, : self._prefix, None] == 0
        return states[:, :, : self._prefix].masked_fill(padded.to(states.device), 0)

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002  the signature is transformers'
        """Nothing is there yet."""
        return 0

    def get_mask_sizes(self, query_length: Any, layer_idx: int = 0) -> tuple[int, int]:  # noqa: ARG002
        """As without a cache."""
        return _length(query_length), 0


class Prefix(Cache):
    """Puts recorded keys and values before those of every pass, and keeps nothing of the pass."""

    def __init__(self, found: dict[int, Pair], columns: int) -> None:
        super().__init__(layers=[])
        self._found, self._columns = found, columns

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Pair:
        """Recorded and new, one after the other. Raises KeyError for a layer that was not recorded."""
        keys, values = self._found[layer_idx]
        return torch.cat([keys, key_states], dim=2), torch.cat([values, value_states], dim=2)

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        """Columns before the pass."""
        return self._columns

    def get_mask_sizes(self, query_length: Any, layer_idx: int = 0) -> tuple[int, int]:  # noqa: ARG002
        """Every column can be seen, also by a layer with a sliding window: its mask says how far it looks."""
        return self._columns + _length(query_length), 0


def _length(query: Any) -> int:
    """A number of queries, or the places that they have: what transformers gives has changed."""
    return query if isinstance(query, int) else int(query.shape[0])
