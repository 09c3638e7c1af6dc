"""What is said of a second moment: condition, ranks, ridge, and the layer that its module's name tells."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from workbench.engine.stats.worth import effective_rank, layer_in, worth
from workbench.events import MomentReady
from workbench.models.second_moment import MomentRecord, StoredMoment

D = 40


def told(moment: Tensor, samples: int) -> MomentReady:
    record = MomentRecord("model.layers.7.mlp.down_proj", samples, "b" * 64)
    return worth(StoredMoment(moment, samples, "f"), record, Path("c.safetensors"), torch.device("cpu"))


def with_eigenvalues(values: Tensor) -> Tensor:
    turn, _ = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    moment: Tensor = turn * values @ turn.T
    return moment.float()


def test_a_round_c_has_full_rank_and_needs_no_ridge() -> None:
    found = told(torch.eye(D) * 3, 100)
    assert found.condition == pytest.approx(1.0)
    assert found.effective_rank == pytest.approx(D)
    assert (found.rank, found.ridge, found.reason) == (D, 0.0, "")
    assert found.layer == 7


def test_condition_and_ranks_are_those_of_the_eigenvalues() -> None:
    values = torch.logspace(0, 3, D, dtype=torch.float64)
    found = told(with_eigenvalues(values), 1000)
    assert found.condition == pytest.approx(1000, rel=0.05)
    assert found.effective_rank == pytest.approx(float(values.sum() ** 2 / (values**2).sum()), rel=1e-4)
    assert found.rank == D


def test_a_singular_c_is_told_with_its_rank_and_its_ridge() -> None:
    values = torch.cat([torch.ones(10), torch.zeros(D - 10)]).double()
    found = told(with_eigenvalues(values), 1000)
    assert found.condition is None or found.condition > 1e6
    assert found.rank == 10
    assert found.ridge > 0
    assert found.ridge_part == pytest.approx(found.ridge / 0.25, rel=1e-5)
    assert "condition" in found.reason


def test_too_few_keys_are_told() -> None:
    assert "only 60 keys for 40 dimensions" in told(torch.eye(D), 60).reason


def test_parallel_keys_count_as_one_direction() -> None:
    key = torch.randn(D, 1, generator=torch.Generator().manual_seed(1))
    assert effective_rank(key @ key.T) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("transformer.h.17.mlp.c_proj", 17),
        ("model.decoder.layers.0.fc2", 0),
        ("gpt_neox.layers.15.mlp.dense_4h_to_h", 15),
        ("head", -1),
    ],
)
def test_the_layer_is_read_from_the_modules_name(module: str, layer: int) -> None:
    assert layer_in(module) == layer
