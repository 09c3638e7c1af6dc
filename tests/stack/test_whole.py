"""An update kept as itself is added in one go, and not a bit tells it from one product after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stack.test_tiles import matrix
from workbench.stack import tiles, whole
from workbench.stack.materialise import Materialiser
from workbench.stack.record import Factors, Layout
from workbench.stack.tiles import add_outers
from workbench.stack.whole import whole_of

M = "h.1.mlp.c_proj"
SIGNS = np.array([0.0, -0.0, 1.5, -1.5, -2.5, 1e-30], dtype=np.float32)


def kept_whole(draw: np.random.Generator, d_in: int, d_out: int, side: str) -> Factors:
    """An update with zeros of either sign, and rows and columns that are negative throughout."""
    delta = draw.choice(SIGNS, (d_out, d_in))
    delta[draw.integers(d_out)] = -np.abs(delta[draw.integers(d_out)])
    delta[:, draw.integers(d_in)] = -np.abs(delta[:, draw.integers(d_in)])
    if side == "b":
        return Factors(M, delta, np.eye(d_out, dtype=np.float32))
    return Factors(M, np.eye(d_in, dtype=np.float32), delta)


def product_by_product(start: npt.NDArray[np.float64], factors: list[Factors]) -> npt.NDArray[np.float64]:
    """(d_out, d_in), by numpy."""
    total = start.copy()
    for one in factors:
        for rank in range(one.a.shape[0]):
            total = total + np.multiply.outer(one.b[:, rank].astype(np.float64), one.a[rank].astype(np.float64))
    return total


@settings(max_examples=200, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kinds=st.lists(st.sampled_from(["a", "b", "thin"]), min_size=1, max_size=4),
    layout=st.sampled_from(["in,out", "out,in"]),
    chunk=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_bits_are_those_of_one_product_after_the_other(
    sides: tuple[int, int], kinds: list[str], layout: Layout, chunk: int, seed: int
) -> None:
    draw, (d_in, d_out) = np.random.default_rng(seed), sides
    start = draw.choice(np.concatenate([SIGNS, -SIGNS]), (d_out, d_in)).astype(np.float64)
    factors = [
        Factors(M, matrix(draw, 2, d_in), matrix(draw, d_out, 2))
        if kind == "thin"
        else kept_whole(draw, d_in, d_out, kind)
        for kind in kinds
    ]
    lying = start.T.copy() if layout == "in,out" else start.copy()
    total = torch.from_numpy(lying)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "CHUNK", chunk)
        add_outers(total, factors, layout)
    found = total.numpy().T if layout == "in,out" else total.numpy()
    expected = product_by_product(start, factors)
    assert np.ascontiguousarray(found).tobytes() == expected.tobytes()


def test_what_is_kept_whole_is_told_from_what_is_not() -> None:
    eye, delta = np.eye(3, dtype=np.float32), np.ones((3, 3), dtype=np.float32)
    assert whole_of(Factors(M, delta, eye)) is delta
    assert whole_of(Factors(M, eye, delta)) is delta
    assert whole_of(Factors(M, delta, delta)) is None
    assert whole_of(Factors(M, delta[:2], eye[:, :2])) is None
    nearly = eye.copy()
    nearly[0, 1] = 1e-30
    assert whole_of(Factors(M, delta, nearly)) is None
    assert whole_of(Factors(M, delta[:1, :1], np.ones((1, 1), dtype=np.float32))) is None


def test_a_weight_is_the_same_as_by_products(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    one = kept_whole(draw, 24, 16, "b")
    weight = torch.from_numpy(matrix(draw, 24, 16)).bfloat16()
    shas = []
    for found in (whole_of, lambda _: None):
        monkeypatch.setattr(tiles, "whole_of", found)
        materialiser = Materialiser()
        materialiser.add_module(M, weight, "in,out")
        shas.append(materialiser.sha256(M, [one]))
    assert shas[0] == shas[1]


@pytest.mark.cuda
def test_the_bits_are_the_same_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    draw = np.random.default_rng(1)
    start = draw.choice(SIGNS, (32, 20)).astype(np.float64)
    factors = [kept_whole(draw, 20, 32, side) for side in "abba"]
    total = torch.from_numpy(start.copy()).cuda()
    add_outers(total, factors, "out,in")
    assert total.cpu().numpy().tobytes() == product_by_product(start, factors).tobytes()
