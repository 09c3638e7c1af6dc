"""The closed forms of MEMIT and EMMET on small random keys: what they promise, and where they cannot keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.editing.helpers import error
from workbench.editing import SecondMoment
from workbench.editing.spread import ROUNDING, DependentKeyError, ridge_of, spread
from workbench.edits import Recipe
from workbench.errors import EditError

D_IN, D_OUT = 12, 7


@dataclass(frozen=True, eq=False)
class Problem:
    """Keys, residuals and C, all drawn from one seed; a row a request."""

    keys: Tensor
    residuals: Tensor
    moment: SecondMoment

    @property
    def C(self) -> Tensor:  # noqa: N802  the field's own letter
        return self.moment.C.double()


def problem(seed: int, n: int, d_in: int = D_IN, d_out: int = D_OUT) -> Problem:
    drawn = torch.Generator().manual_seed(seed)
    keys = torch.randn(n, d_in, generator=drawn)
    residuals = torch.randn(n, d_out, generator=drawn)
    root = torch.randn(d_in, 3 * d_in, generator=drawn)
    second = root @ root.T / (3 * d_in) + 0.05 * torch.eye(d_in)
    return Problem(keys, residuals, SecondMoment((second + second.T) / 2, 10_000, "drawn"))


SEEDS = st.integers(0, 10_000)
FEW = st.integers(1, 6)
"""So few keys that C's metric keeps them well apart."""
ANY = st.integers(1, 30)
quick = settings(max_examples=40, deadline=None)


@quick
@given(seed=SEEDS, n=FEW)
def test_equalities_are_met_by_the_least_update_under_c(seed: int, n: int) -> None:
    """EMMET without slack: D K = R, and D C is made of the keys alone, as the minimum of |D L| must be."""
    at = problem(seed, n)
    keys, residuals = at.keys.double(), at.residuals.double()
    delta = spread(at.keys, at.residuals, at.moment, 0.0).delta
    assert error(delta @ keys.T, residuals.T) < 1e-9
    gradient = delta @ at.C
    inside = gradient @ torch.linalg.pinv(keys) @ keys
    assert error(inside, gradient) < 1e-8
    free = torch.eye(D_IN, dtype=torch.float64) - torch.linalg.pinv(keys) @ keys
    lower = torch.linalg.cholesky(at.C)
    for sign in (0.1, -0.1):
        other = delta + sign * torch.ones(D_OUT, D_IN, dtype=torch.float64) @ free
        assert (other @ lower).norm() >= (delta @ lower).norm()


@quick
@given(seed=SEEDS, n=ANY, weight=st.floats(1e-3, 1e3))
def test_memit_is_where_its_objective_has_no_slope(seed: int, n: int, weight: float) -> None:
    """The gradient of |D K − R|² + λ |D L|² is (D K − R) Kᵀ + λ D C."""
    at = problem(seed, n)
    keys, residuals = at.keys.double(), at.residuals.double()
    delta = spread(at.keys, at.residuals, at.moment, weight).delta
    slope = (delta @ keys.T - residuals.T) @ keys + weight * delta @ at.C
    assert float(slope.norm() / (residuals.T @ keys).norm()) < 1e-9


@quick
@given(seed=SEEDS, n=ANY, weight=st.floats(1e-2, 1e3))
def test_memit_is_the_papers_formula(seed: int, n: int, weight: float) -> None:
    at = problem(seed, n)
    keys = at.keys.double()
    wanted = at.residuals.double().T @ torch.linalg.solve(weight * at.C + keys.T @ keys, keys.T).T
    assert error(spread(at.keys, at.residuals, at.moment, weight).delta, wanted) < 1e-8


@quick
@given(seed=SEEDS, n=ANY, weight=st.floats(1e-1, 1e3), mu=st.floats(1e-2, 10))
def test_emmet_is_the_papers_formula(seed: int, n: int, weight: float, mu: float) -> None:
    at = problem(seed, n)
    keys, n_eye = at.keys.double(), torch.eye(n, dtype=torch.float64)
    inverse = torch.linalg.inv(weight * at.C)
    middle = torch.linalg.inv(keys @ inverse @ keys.T + mu * n_eye)
    wanted = at.residuals.double().T @ middle @ keys @ inverse
    assert error(spread(at.keys, at.residuals, at.moment, weight * mu).delta, wanted) < 1e-7


@quick
@given(seed=SEEDS, n=ANY)
def test_float32_factors_give_the_update_back(seed: int, n: int) -> None:
    found = spread(problem(seed, n).keys, problem(seed, n).residuals, problem(seed, n).moment, 1.0)
    assert error(found.b.double() @ found.a.double(), found.delta) < 1e-6
    assert found.a.shape == (min(n, D_OUT), D_IN)
    assert found.b.shape == (D_OUT, min(n, D_OUT))


@pytest.mark.parametrize("n", [3, 40])
def test_a_heavy_c_leaves_nothing_and_a_light_one_gives_all_that_is_asked(n: int) -> None:
    at = problem(5, n)
    assert spread(at.keys, at.residuals, at.moment, 1e12).delta.norm() < 1e-9
    light = spread(at.keys, at.residuals, at.moment, 1e-9)
    best = torch.linalg.lstsq(at.keys.double(), at.residuals.double()).solution.T
    assert light.missed_in_all == pytest.approx(error(best @ at.keys.double().T, at.residuals.double().T), abs=1e-6)


def test_one_equality_is_the_closed_form_of_a_single_edit() -> None:
    """v uᵀ with u = C⁻¹k / |C⁻¹k| and v = r / (k · u), whatever μ."""
    at = problem(6, 1)
    raw = torch.linalg.solve(at.C, at.keys[0].double())
    u = raw / raw.norm()
    v = at.residuals[0].double() / (at.keys[0].double() @ u)
    found = spread(at.keys, at.residuals, at.moment, ridge_of(Recipe("emmet", mu=0.7), 1))
    assert error(found.delta, torch.outer(v, u)) < 1e-12
    assert error(found.a[0], u.float()) < 1e-6
    assert error(found.b[:, 0], v.float()) < 1e-6


def test_the_ridge_is_lambda_for_memit_and_lambda_mu_for_emmet() -> None:
    assert ridge_of(Recipe("memit", moment_weight=50.0), 1) == 50.0
    assert ridge_of(Recipe("emmet", moment_weight=50.0, mu=0.2), 2) == 10.0
    assert ridge_of(Recipe("emmet", moment_weight=50.0, mu=0.2), 1) == 0.0


def test_without_c_the_metric_is_plain() -> None:
    at = problem(7, 4)
    eye = SecondMoment(torch.eye(D_IN), 10_000, "eye")
    plain, stated = (spread(at.keys, at.residuals, moment, 0.5).delta for moment in (None, eye))
    assert error(plain, stated) < 1e-12


def twins(apart: float) -> Problem:
    """Five keys of which the last is the second, but for a part."""
    at = problem(8, 5)
    keys = at.keys.clone()
    keys[4] = keys[1] + apart * keys[4]
    return Problem(keys, at.residuals, at.moment)


@pytest.mark.parametrize("apart", [0.0, 1e-7])
def test_two_requests_with_one_key_cannot_both_be_met_and_the_second_is_named(apart: float) -> None:
    at = twins(apart)
    with pytest.raises(DependentKeyError, match="request 5") as caught:
        spread(at.keys, at.residuals, at.moment, 0.0)
    assert caught.value.row == 4
    assert "mu above 0" in caught.value.hint


def test_with_slack_two_requests_with_one_key_meet_half_way() -> None:
    at = twins(0.0)
    found = spread(at.keys, at.residuals, at.moment, 1e-6)
    middle = (at.residuals[1] + at.residuals[4]) / 2
    assert error(found.delta @ at.keys[1].double(), middle.double()) < 1e-4
    assert found.missed[0] < 1e-4 < found.missed[1]


@pytest.mark.parametrize("apart", [1e-2, 1e-3, 1e-4])
def test_factors_of_nearly_equal_keys_do_not_cancel(apart: float) -> None:
    """As a row a request, v and u of the two would be huge and opposite: float32 would lose what is left of them."""
    at = twins(apart)
    found = spread(at.keys, at.residuals, at.moment, 0.0)
    assert error(found.b.double() @ found.a.double(), found.delta) <= ROUNDING
    assert error(found.delta @ at.keys.double().T, at.residuals.double().T) < 1e-5


def test_more_equalities_than_dimensions_are_refused_in_words() -> None:
    at = problem(9, D_IN + 1)
    with pytest.raises(EditError, match="13 equalities cannot all hold in 12 dimensions"):
        spread(at.keys, at.residuals, at.moment, 0.0)


@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["keys", "residuals"])
def test_what_is_not_a_number_is_never_solved_with(n: int, value: float, where: str) -> None:
    at = problem(10, n)
    given: dict[str, Any] = {"keys": at.keys.clone(), "residuals": at.residuals.clone()}
    given[where][1, 2] = value
    with pytest.raises(EditError, match="not a number"):
        spread(given["keys"], given["residuals"], at.moment, 1.0)


def test_a_c_of_another_size_is_refused() -> None:
    at = problem(11, 2)
    with pytest.raises(EditError, match="12 dimensions; keys here have 5"):
        spread(at.keys[:, :5], at.residuals, at.moment, 1.0)


def test_a_request_that_asks_for_nothing_misses_nothing() -> None:
    at = problem(12, 3)
    nothing = torch.zeros_like(at.residuals)
    found = spread(at.keys, nothing, at.moment, 1.0)
    assert (float(found.delta.norm()), found.missed, found.missed_in_all) == (0.0, (0.0, 0.0, 0.0), 0.0)
