"""Facts of different lengths become one picture: tokens in groups, facts weighed alike."""

from __future__ import annotations

import pytest
import torch

from workbench.probing.tracing import Trace
from workbench.probing.tracing_average import GROUPS, Average, groups_of
from workbench.probing.tracing_text import TraceText


def text(tokens: int, first: int, last: int) -> TraceText:
    return TraceText(tuple(range(tokens)), tuple("t" * tokens), first, last, (1,))


@pytest.mark.parametrize(
    ("tokens", "first", "last", "expected"),
    [
        (9, 1, 4, [[1], [2, 3], [4], [5], [6, 7], [8]]),
        (4, 0, 1, [[0], [], [1], [2], [], [3]]),
        (3, 1, 1, [[], [], [1], [], [], [2]]),
        (3, 0, 2, [[0], [1], [2], [], [], []]),
        (1, 0, 0, [[], [], [0], [], [], []]),
    ],
)
def test_every_token_from_the_subject_on_is_in_one_group(
    tokens: int, first: int, last: int, expected: list[list[int]]
) -> None:
    groups = groups_of(text(tokens, first, last))
    assert groups == expected
    assert sorted(token for group in groups for token in group) == list(range(first, tokens))
    assert len(groups) == len(GROUPS)


def test_tokens_are_averaged_within_a_fact_and_then_facts() -> None:
    average = Average()
    long = torch.zeros(6, 2, dtype=torch.float64)
    long[1:3] = torch.tensor([[0.2, 0.0], [0.6, 0.0]])  # two middle tokens: 0.4 on average
    long[3] = torch.tensor([0.9, 0.1])
    average.add(text(6, 0, 3), Trace(0.9, 0.0, long))
    short = torch.full((3, 2), 0.5, dtype=torch.float64)
    short[1] = torch.tensor([0.6, 0.7])
    average.add(text(3, 1, 1), Trace(0.8, 0.5, short))
    rows = dict(zip((GROUPS[group] for group in average.groups), average.effects().tolist(), strict=True))
    assert rows["middle subject tokens"] == pytest.approx([0.4, 0.0])
    assert rows["last subject token"] == pytest.approx([(0.9 + 0.1) / 2, (0.1 + 0.2) / 2])
    assert "further tokens" not in rows
    assert (average.facts, average.corrupted) == (2, 0.25)
    assert average.clean == pytest.approx(0.85)
