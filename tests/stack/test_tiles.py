"""Tiles are a matter of speed only: the bits are those of one whole product after the other."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from workbench.stack import tiles
from workbench.stack.materialise import DTYPES, Materialiser, weight_sha256
from workbench.stack.record import Factors, Layout

M = "h.1.mlp.c_proj"


def one_after_the_other(pristine: Tensor, layout: Layout, factors: list[Factors]) -> Tensor:
    """The same weight from numpy: whole products, no tiles, no stacking."""
    total = pristine.float().numpy().astype(np.float64)
    for one in factors:
        for rank in range(one.a.shape[0]):
            product = np.multiply.outer(one.b[:, rank].astype(np.float64), one.a[rank].astype(np.float64))
            total = total + (product.T if layout == "in,out" else product)
    return torch.from_numpy(total.astype(np.float32)).to(pristine.dtype)


def matrix(draw: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Numbers of very different sizes, so that the order of the sum matters."""
    shape = (rows, columns)
    return (draw.standard_normal(shape) * 10.0 ** draw.integers(-4, 4, shape)).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    ranks=st.lists(st.integers(1, 7), min_size=1, max_size=9),
    split=st.integers(0, 9),
    layout=st.sampled_from(["in,out", "out,in"]),
    dtype=st.sampled_from(DTYPES),
    tile=st.integers(1, 300),
    chunk=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_tile_and_any_chunk_give_the_bits_of_one_product_after_the_other(
    sides: tuple[int, int],
    ranks: list[int],
    split: int,
    layout: Layout,
    dtype: torch.dtype,
    tile: int,
    chunk: int,
    seed: int,
) -> None:
    draw, (d_in, d_out) = np.random.default_rng(seed), sides
    factors = [Factors(M, matrix(draw, rank, d_in), matrix(draw, d_out, rank)) for rank in ranks]
    pristine = torch.from_numpy(matrix(draw, *(sides if layout == "in,out" else sides[::-1]))).to(dtype)
    if not bool(torch.isfinite(pristine).all()):
        pristine = torch.zeros_like(pristine)
    expected = one_after_the_other(pristine, layout, factors)
    if not bool(torch.isfinite(expected).all()):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "CPU_TILE", tile)
        patch.setattr(tiles, "CHUNK", chunk)
        found = Materialiser()
        found.add_module(M, pristine, layout)
        if factors[:split]:
            found.weight(M, factors[:split])
        assert weight_sha256(found.weight(M, factors)) == weight_sha256(expected)


@pytest.mark.parametrize("shape", [(3000, 70), (70, 3000), (1, 200_000), (200_000, 1)])
def test_tiles_cover_a_weight_larger_than_one_of_them(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    factors = [Factors(M, matrix(draw, 2, shape[1]), matrix(draw, shape[0], 2)) for _ in range(3)]
    pristine = torch.from_numpy(matrix(draw, *shape))
    found = Materialiser()
    found.add_module(M, pristine, "out,in")
    assert weight_sha256(found.weight(M, factors)) == weight_sha256(one_after_the_other(pristine, "out,in", factors))


@pytest.mark.parametrize("shape", [(1, 1), (1024, 256), (256, 1024), (1, 10**8), (10**8, 1), (6400, 1600)])
def test_a_tile_fits_in_the_cache(shape: tuple[int, int]) -> None:
    total = torch.empty(shape, dtype=torch.float64, device="meta")
    rows, columns = tiles.tile_shape(total)
    assert 1 <= rows * columns <= tiles.CUDA_TILE
    on_cpu = torch.empty(1, dtype=torch.float64).expand(shape)
    rows, columns = tiles.tile_shape(on_cpu)
    assert 1 <= rows * columns <= tiles.CPU_TILE * torch.get_num_threads()


def test_ten_thousand_updates_are_stacked_a_few_thousand_at_a_time() -> None:
    one = Factors(M, np.ones((1, 600), np.float32), np.ones((400, 1), np.float32))
    sizes = [a.shape[0] for a, _ in tiles._stacked([one] * 10_000, torch.device("cpu"))]
    assert sum(sizes) == 10_000
    assert max(sizes) == tiles.CHUNK // 1000
    assert len(sizes) == 2


def test_a_weight_wider_than_the_cache_costs_less_in_tiles_than_in_whole_products() -> None:
    draw = np.random.default_rng(0)
    factors = [Factors(M, matrix(draw, 1, 4096), matrix(draw, 2048, 1)) for _ in range(24)]
    whole, tiled = torch.zeros(2048, 4096, dtype=torch.float64), torch.zeros(2048, 4096, dtype=torch.float64)

    def seconds(total: Tensor, room: int) -> float:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiles, "CPU_TILE", room)
            start = time.process_time()
            tiles.add_outers(total, factors, "out,in")
            return time.process_time() - start

    times = [(seconds(whole, 2**40), seconds(tiled, tiles.CPU_TILE)) for _ in range(3)]
    assert torch.equal(whole, tiled)
    assert min(t for _, t in times) < 1.5 * min(w for w, _ in times)
