"""Traces of several facts as one: tokens are put into groups by where they stand, as in ROME's figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.probing.tracing import Trace
from workbench.probing.tracing_text import TraceText

GROUPS = (
    "first subject token",
    "middle subject tokens",
    "last subject token",
    "first token after it",
    "further tokens",
    "last token",
)
SUBJECT_GROUPS = (0, 1, 2)
LAST_SUBJECT = 2
"""Where the facts that editing changes are read: the only token of a subject that has one."""


def groups_of(text: TraceText) -> list[list[int]]:
    """The indices of the tokens in each of GROUPS; tokens before the subject are in none."""
    end = len(text.prompt) - 1
    after = range(text.last + 1, end)
    return [
        [text.first] if text.first < text.last else [],
        [*range(text.first + 1, text.last)],
        [text.last],
        [*after[:1]],
        [*after[1:]],
        [end] if end > text.last else [],
    ]


@dataclass
class Average:
    """The mean effect by group and layer: first over a fact's tokens in the group, then over the facts with any."""

    _sums: dict[int, Tensor] = field(default_factory=dict)
    _counts: dict[int, int] = field(default_factory=dict)
    _clean: list[float] = field(default_factory=list)
    _corrupted: list[float] = field(default_factory=list)

    def add(self, text: TraceText, trace: Trace) -> None:
        """Takes in one fact."""
        effects = trace.restored - trace.corrupted  # (tokens, layers)
        for group, tokens in enumerate(groups_of(text)):
            if tokens:
                mean = effects[tokens].mean(0)
                self._sums[group] = self._sums[group] + mean if group in self._sums else mean
                self._counts[group] = self._counts.get(group, 0) + 1
        self._clean.append(trace.clean)
        self._corrupted.append(trace.corrupted)

    @property
    def facts(self) -> int:
        """How many facts were taken in."""
        return len(self._clean)

    @property
    def groups(self) -> Sequence[int]:
        """Which of GROUPS some fact has, in order."""
        return sorted(self._sums)

    @property
    def clean(self) -> float:
        """Mean p(answer)."""
        return sum(self._clean) / len(self._clean)

    @property
    def corrupted(self) -> float:
        """Mean p(answer) under noise."""
        return sum(self._corrupted) / len(self._corrupted)

    def effects(self) -> Tensor:
        """(groups, layers), the rows as in `groups`."""
        return torch.stack([self._sums[group] / self._counts[group] for group in self.groups])
