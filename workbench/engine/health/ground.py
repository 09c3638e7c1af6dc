"""What a state is held against: facts that no edit is about, and what the base writes. The same all along a stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.engine.core import Core
from workbench.engine.health.cloze import Item, items_for
from workbench.probing.metrics_sampling import written
from workbench.probing.metrics_text import entropy
from workbench.stack.record import Edit

TEXTS = 16
"""Prompts that are continued."""
LENGTH = 48
"""Tokens of such a text, its prompt included."""


@dataclass(frozen=True)
class Ground:
    """What every state of one stack is asked."""

    items: tuple[Item, ...]
    seed: int
    entropy_base: float | None

    @classmethod
    def of(cls, core: Core, edits: Sequence[Edit], seed: int) -> Ground:
        """Facts that none of `edits` is about, and the entropy of what the base makes of the first of them."""
        items = tuple(items_for(core, [one for edit in edits for one in edit.requests], seed))
        with core.live.at_base():
            return cls(items, seed, entropy_here(core, items, seed))


def entropy_here(core: Core, items: Sequence[Item], seed: int) -> float | None:
    """n-gram entropy in bits of what the model, as it is now, writes behind the first prompts; None without any."""
    loaded = core.loaded
    return entropy(written(loaded.model, loaded.tokenizer, [item.prompt for item in items[:TEXTS]], LENGTH, seed))
