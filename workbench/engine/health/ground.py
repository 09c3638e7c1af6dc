"""What a state is held against: facts that no edit is about, and what the base writes. The same all along a stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.editing.lookup import prompt_ids
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
    prompts: tuple[str, ...]
    """Beginnings of some of them, all of one number of tokens: then they are continued in one batch."""
    seed: int
    entropy_base: float | None

    @classmethod
    def of(cls, core: Core, edits: Sequence[Edit], seed: int) -> Ground:
        """Facts that none of `edits` is about, and the entropy of what the base writes behind some of them."""
        items = tuple(items_for(core, [one for edit in edits for one in edit.requests], seed))
        prompts = _alike(core, items)
        with core.live.at_base():
            return cls(items, prompts, seed, entropy_of(core, prompts, seed))


def entropy_of(core: Core, prompts: Sequence[str], seed: int) -> float | None:
    """n-gram entropy in bits of what the model, as it is now, writes behind `prompts`; None without any."""
    return entropy(written(core.loaded.model, core.loaded.tokenizer, prompts, LENGTH, seed))


def _alike(core: Core, items: Sequence[Item]) -> tuple[str, ...]:
    """TEXTS prompts of the most common length, or fewer."""
    lengths = {item.prompt: len(prompt_ids(core.loaded.tokenizer, item.prompt)) for item in items}
    common = Counter(lengths.values()).most_common(1)
    return tuple(prompt for prompt, length in lengths.items() if length == common[0][0])[:TEXTS]
