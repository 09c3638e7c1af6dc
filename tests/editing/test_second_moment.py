"""C is factorised once, solved with, and given a stated ridge where it needs one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.parity.load import Parity
from workbench.editing import SecondMoment
from workbench.editing.second_moment import CONDITION_LIMIT
from workbench.errors import EditError


def spectrum(values: Tensor) -> Tensor:
    """A symmetric matrix with the eigenvalues `values`, float32."""
    noise = torch.randn(len(values), len(values), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    basis, _ = torch.linalg.qr(noise)
    matrix = basis @ torch.diag(values.double()) @ basis.T
    symmetric: Tensor = (matrix + matrix.T) / 2
    return symmetric.float()


def key(size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2))


def test_a_good_matrix_is_solved_with_as_it_is(parity_gpt2: Parity) -> None:
    matrix = parity_gpt2.tensors["second_moment/1"]
    moment = SecondMoment(matrix, 6279, "golden")
    solved = moment.solve(key(128))
    assert solved.dtype == torch.float64
    assert torch.allclose(matrix.double() @ solved, key(128).double(), rtol=0, atol=1e-12)
    assert (moment.ridge, moment.factorisation.reason) == (0.0, "")


@pytest.mark.parametrize("layer", ["0", "1", "2"])
def test_the_condition_number_is_estimated(parity_gpt2: Parity, layer: str) -> None:
    moment = SecondMoment(parity_gpt2.tensors[f"second_moment/{layer}"], 6279, "golden")
    known = parity_gpt2.document["second_moment"]["condition_number"][layer]
    assert 0.8 * known < moment.factorisation.condition < 1.01 * known


def test_it_is_factorised_once_and_never_inverted(parity_gpt2: Parity, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = torch.linalg.cholesky_ex

    def counted(matrix: Tensor, **into: Any) -> object:
        calls.append(1)
        return real(matrix, **into)

    def forbidden(*_: object) -> None:
        raise AssertionError("inverted")

    monkeypatch.setattr(torch.linalg, "cholesky_ex", counted)
    for place, name in ((torch.linalg, "inv"), (torch, "inverse"), (Tensor, "inverse"), (torch, "cholesky_inverse")):
        monkeypatch.setattr(place, name, forbidden)
    moment = SecondMoment(parity_gpt2.tensors["second_moment/1"], 6279, "golden")
    for _ in range(3):
        moment.solve(key(128))
    assert len(calls) == 1


def test_too_few_samples_get_a_ridge_that_is_stated() -> None:
    matrix = spectrum(torch.linspace(1, 2, 16))
    moment = SecondMoment(matrix, 31, "few")
    ridge = 0.01 * float(matrix.double().diagonal().mean())
    assert moment.ridge == pytest.approx(ridge)
    assert "only 31 keys for 16 dimensions" in moment.factorisation.reason
    shifted = matrix.double() + ridge * torch.eye(16, dtype=torch.float64)
    assert torch.allclose(shifted @ moment.solve(key(16)), key(16).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("smallest", [1e-9, 0.0, -1e-8])
def test_a_bad_condition_gets_the_smallest_ridge_that_helps(smallest: float) -> None:
    values = torch.ones(16, dtype=torch.float64)
    values[0] = smallest
    moment = SecondMoment(spectrum(values), 10_000, "bad")
    assert 1 / CONDITION_LIMIT <= moment.ridge < 4 / CONDITION_LIMIT
    assert "condition number" in moment.factorisation.reason
    assert bool(moment.solve(key(16)).isfinite().all())


def test_dead_keys_do_not_break_it() -> None:
    matrix = spectrum(torch.linspace(1, 2, 16))
    matrix[3, :] = 0
    matrix[:, 3] = 0
    assert SecondMoment(matrix, 10_000, "dead").ridge > 0


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (torch.zeros(4, 5), "square"),
        (torch.full((4, 4), float("nan")), "square matrix of numbers"),
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
        (-torch.eye(4), "not positive definite"),
        (torch.zeros(4, 4), "not positive definite"),
    ],
)
def test_what_is_no_second_moment_is_refused_in_words(matrix: Tensor, words: str) -> None:
    with pytest.raises(EditError, match=words):
        SecondMoment(matrix, 10_000, "x").solve(torch.ones(4))


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(EditError, match="no keys"):
        SecondMoment(torch.eye(3), 0, "x")
