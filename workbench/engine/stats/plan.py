"""How many tokens are read, in rows of which length: settled before the first one, so that every run cuts alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.errors import UsageError
from workbench.models.context import context_length
from workbench.models.load import LoadedModel

BUDGET = 10
"""Tokens for every dimension of the keys unless told otherwise."""
WINDOW = 512
"""Longest row of written text unless told otherwise, in tokens."""
OWN_WINDOW = 128
"""The same of sampled text: a token costs more the longer its row is, for the attention's keys and values."""
SHORTEST = 2
"""A row of fewer tokens says nothing about text."""


@dataclass(frozen=True)
class Plan:
    """The budget cut into batches: each is (rows, tokens a row)."""

    tokens: int
    """The budget; every token that is read gives one key."""
    window: int
    """Tokens of a row; the last row may be shorter."""
    rows: int
    """Rows of a batch."""

    def shapes(self) -> Iterator[tuple[int, int]]:
        """(rows, tokens a row) of every batch, in order."""
        full, rest = divmod(self.tokens, self.window)
        for start in range(0, full, self.rows):
            yield min(self.rows, full - start), self.window
        if rest >= SHORTEST:
            yield 1, rest

    @property
    def whole(self) -> int:
        """Tokens of all batches: the budget, but for a last row that would be too short."""
        return sum(rows * length for rows, length in self.shapes())


def context_of(loaded: LoadedModel) -> int:
    """The longest text the model can read, in tokens; WINDOW where its configuration does not say."""
    return context_length(loaded.model) or WINDOW


def window_of(loaded: LoadedModel, asked: int | None, most: int = WINDOW) -> int:
    """Tokens of a row: what was asked, else the model's context, at most `most`.

    Raises:
        UsageError: it is longer than the context, or too short to be text.
    """
    context = context_of(loaded)
    if asked is None:
        return min(context, most)
    if not 2 * SHORTEST <= asked <= context:
        raise UsageError(f"A window of {asked} tokens does not fit.", f"Choose {2 * SHORTEST} to {context}.")
    return asked
