"""Distances of keys under C⁻¹, and the range of ordinary ones."""

from __future__ import annotations

import math

import pytest
import torch

from workbench.editing.preflight import implied_range, key_range, mahalanobis
from workbench.editing.second_moment import SecondMoment

GENERATOR = torch.Generator().manual_seed(0)
KEYS = torch.randn(400, 12, generator=GENERATOR) @ torch.randn(12, 12, generator=GENERATOR)
MOMENT = SecondMoment(KEYS.T @ KEYS / len(KEYS), len(KEYS), "f")


def test_over_the_text_that_c_is_from_the_mean_of_squares_is_the_dimension() -> None:
    squares = mahalanobis(KEYS, MOMENT) ** 2
    assert float(squares.mean()) == pytest.approx(12.0, rel=1e-5)


def test_a_distance_is_the_root_of_the_quadratic_form() -> None:
    inverse = torch.linalg.inv(MOMENT.C.double())
    by_hand = torch.einsum("ni,ij,nj->n", KEYS.double(), inverse, KEYS.double()).sqrt()
    torch.testing.assert_close(mahalanobis(KEYS, MOMENT), by_hand, rtol=1e-5, atol=0)


def test_a_ridge_shortens_distances() -> None:
    few = SecondMoment(MOMENT.C, 13, "few")
    assert few.ridge > 0
    assert bool((mahalanobis(KEYS, few) < mahalanobis(KEYS, MOMENT)).all())


def test_the_range_of_ordinary_keys_is_their_quantiles() -> None:
    found = key_range(torch.arange(101, dtype=torch.float64))
    assert (found.low, found.high, found.largest, found.keys) == (1.0, 99.0, 100.0, 101)


def test_what_c_alone_implies_is_three_times_the_root_of_the_dimension() -> None:
    found = implied_range(16)
    assert (found.low, found.high, found.largest, found.keys) == (0.0, 12.0, 12.0, 0)
    # Markov: of anything whose mean square is d, at most a ninth is beyond 3 √d.
    distances = mahalanobis(KEYS, MOMENT)
    assert float((distances > implied_range(12).high).double().mean()) <= 1 / 9
    assert math.isclose(implied_range(12).high, 3 * math.sqrt(12))
