"""Sums kept on the way make journeys short and change no bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.benchmarks.measuring import threads
from tests.stack.test_tiles import M, matrix, one_after_the_other
from workbench.errors import BaseMismatch
from workbench.stack import cores, sums, tiles
from workbench.stack.distance import distance
from workbench.stack.hashing import blocks_sha256, weight_sha256, weights_sha256
from workbench.stack.materialise import DTYPES, Materialiser
from workbench.stack.record import Factors, Layout
from workbench.stack.sums import Sums, copies_within, round_positions

SIDES = (5, 3)


def draw(count: int, seed: int = 0, sides: tuple[int, int] = SIDES) -> list[Factors]:
    rng, (d_in, d_out) = np.random.default_rng(seed), sides
    return [Factors(M, matrix(rng, 1, d_in), matrix(rng, d_out, 1)) for _ in range(count)]


def no_check(_: Factors) -> None:
    """Everything fits."""


@contextmanager
def counted() -> Iterator[list[int]]:
    """How many factors were added, one number a call."""
    numbers: list[int] = []
    real = tiles.add_outers

    def counting(total: Tensor, some: Sequence[Factors], layout: Layout) -> None:
        numbers.append(len(some))
        real(total, some, layout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "add_outers", counting)
        yield numbers


def sums_of(copies: int) -> Sums:
    return Sums(lambda: torch.zeros(SIDES[::-1], dtype=torch.float64), "out,in", copies, no_check)


@settings(max_examples=60, deadline=None)
@given(
    journey=st.lists(
        st.tuples(
            st.sampled_from(["go", "other branch", "without one", "read again", "hash", "forget"]), st.integers(0, 40)
        ),
        min_size=1,
        max_size=12,
    ),
    copies=st.integers(1, 7),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(["in,out", "out,in"]),
    threads_=st.integers(1, 3),
    tile=st.sampled_from([1, 4, 7, 2**18]),
)
def test_every_journey_ends_at_the_bits_of_starting_again(
    journey: list[tuple[str, int]], copies: int, dtype: torch.dtype, layout: Layout, threads_: int, tile: int
) -> None:
    line, other = draw(40), draw(40, seed=1)
    pristine = torch.from_numpy(matrix(np.random.default_rng(2), *SIDES[:: 1 if layout == "in,out" else -1])).to(dtype)
    found = Materialiser()
    with pytest.MonkeyPatch.context() as patch, threads(threads_):
        patch.setattr(sums, "BUDGET", 8 * pristine.numel() * copies)
        patch.setattr(cores, "FEW", 30)
        patch.setattr(tiles, "CPU_TILE", tile)
        found.add_module(M, pristine, layout)
        for what, place in journey:
            path = {
                "other branch": [*line[: place // 2], *other[:place]],
                "without one": [*line[:place], *line[place + 1 :]],
                "read again": [Factors(M, one.a.copy(), one.b.copy()) for one in line[:place]],
            }.get(what, line[:place])
            expected = one_after_the_other(pristine, layout, path)
            if what == "forget":
                found.forget_sums()
            if not bool(torch.isfinite(expected).all()):
                continue
            if what == "hash":
                assert found.sha256(M, path) == weight_sha256(expected)
            assert weight_sha256(found.weight(M, path)) == weight_sha256(expected)


def test_the_undo_of_the_last_of_ten_thousand_adds_fewer_products_than_the_smallest_stride() -> None:
    line, kept = draw(1) * 10_000, sums_of(3)
    kept.at(line)
    with counted() as added:
        kept.at(line[:-1])
    assert sum(added) <= 32
    assert len(kept.positions) <= 3


def test_going_down_step_by_step_adds_a_few_products_a_step_and_not_the_whole_line() -> None:
    line, kept = draw(2_000), sums_of(5)
    last = kept.at(line).clone()
    with counted() as added:
        for end in range(1_999, 1_000, -1):
            kept.at(line[:end])
        assert sum(added) < 40 * 999
    assert torch.equal(kept.at(line), last)


def test_coming_back_to_the_end_after_a_look_at_the_base_adds_nothing() -> None:
    line, found = draw(30), Materialiser()
    found.add_module(M, torch.zeros(SIDES[::-1]), "out,in")
    there = weight_sha256(found.weight(M, line))
    found.weight(M, [])
    with counted() as added:
        assert weight_sha256(found.weight(M, line)) == there
    assert sum(added) == 0


def test_toggling_an_edit_starts_from_the_last_sum_before_it() -> None:
    line, kept = draw(1_000), sums_of(5)
    kept.at(line)
    before = max(position for position in kept.positions if position <= 990)
    with counted() as added:
        kept.at([*line[:990], *line[991:]])
    assert sum(added) == 999 - before
    assert before > 900
    kept.at([*draw(1, seed=5), *line])
    assert all(position in {1001, *round_positions(1001, 4)} for position in kept.positions)


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 9])
def test_no_more_sums_are_kept_than_allowed(copies: int) -> None:
    line, kept = draw(1) * 600, sums_of(copies)
    for end in (600, 599, 300, 301, 302, 64, 600, 1, 577):
        kept.at(line[:end])
        assert end in kept.positions
        assert len(kept.positions) <= copies
        assert kept.bytes <= kept.room
    kept.forget()
    assert kept.bytes == 0


def test_round_positions_come_nearer_and_nearer_and_stay_put_while_a_line_grows() -> None:
    assert round_positions(10_000, 2) == {10_000 // 32 * 32, 10_000 // 512 * 512}
    assert round_positions(9, 0) == set()
    for end in (1, 2, 3, 500, 8191):
        assert all(0 < position < end for position in round_positions(end, 4))
    assert round_positions(5_001, 3) & round_positions(5_003, 3) == round_positions(5_003, 3)


def test_the_budget_is_256_mib_or_four_times_the_weight() -> None:
    xl, large = 6400 * 1600, 14336 * 4096
    assert copies_within(xl, 4 * xl) == 3
    assert copies_within(1024 * 256, 4 * 1024 * 256) == 128
    assert copies_within(large, 2 * large) == 1
    assert copies_within(large, 4 * large) == 2


def test_modules_share_the_budget_and_the_one_in_use_keeps_its_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "BUDGET", 3 * 8 * 15)
    found = Materialiser()
    names = [f"h.{number}" for number in range(4)]
    for name in names:
        found.add_module(name, torch.zeros(SIDES[::-1]), "out,in")
    lines = {name: [Factors(name, one.a, one.b) for one in draw(20)] for name in names}
    for name in names:
        found.weight(name, lines[name])
    taken = [found._modules[name].sums.bytes for name in names]
    assert sum(taken) <= 3 * 8 * 15
    assert taken[0] == 0
    assert taken[-1] > 0
    assert len({weight_sha256(found.weight(name, lines[name])) for name in names}) == 1


def test_what_does_not_fit_leaves_the_sums_that_were_there() -> None:
    line, found = draw(8), Materialiser()
    found.add_module(M, torch.zeros(SIDES[::-1]), "out,in")
    found.weight(M, line)
    with pytest.raises(BaseMismatch):
        found.weight(M, [*line, *draw(1, sides=(4, 4))])
    with counted() as added:
        found.weight(M, line)
    assert sum(added) == 0


def test_tiles_on_all_cores_leave_torch_as_many_threads_as_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "FEW", 1)
    total, seen = torch.zeros(64, 64, dtype=torch.float64), []
    real = tiles._add_to_tile

    def watched(*given: Tensor) -> None:
        seen.append((threading.current_thread(), torch.get_num_threads()))
        real(*given)

    monkeypatch.setattr(tiles, "_add_to_tile", watched)
    with threads(3):
        tiles.add_outers(total, draw(9, sides=(64, 64)), "out,in")
        assert torch.get_num_threads() == 3
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [3]
    assert {number for _, number in seen} == {1}
    assert threading.main_thread() not in {who for who, _ in seen}
    assert len(seen) >= 3


def test_what_fails_in_a_tile_is_raised_and_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "FEW", 1)
    kept, line = sums_of(3), draw(9)

    def failing(*_: Tensor) -> None:
        raise MemoryError

    with threads(2), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_add_to_tile", failing)
        with pytest.raises(MemoryError):
            kept.at(line)
    assert kept.positions == ()
    assert torch.equal(kept.at(line), sums_of(1).at(line))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hash_of_blocks_is_the_hash_of_the_whole(dtype: torch.dtype) -> None:
    weight = torch.randn(37, 11, generator=torch.Generator().manual_seed(0)).to(dtype)
    for rows in (1, 5, 37):
        assert blocks_sha256(dtype, weight.shape, torch.split(weight, rows)) == weight_sha256(weight)
    several = {f"h.{number}": weight + number for number in range(3)}
    assert weights_sha256(several) == {name: weight_sha256(other) for name, other in several.items()}


def test_a_distance_is_that_of_float64_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.stack.hashing.CPU_BLOCK", 100)
    one, other = torch.randn(2, 37, 11, generator=torch.Generator().manual_seed(0)).unbind()
    for dtype in DTYPES:
        a, b = one.to(dtype), other.to(dtype)
        assert distance(a, b) == pytest.approx(float((a.double() - b.double()).norm()), rel=1e-12)
        assert distance(a) == pytest.approx(float(a.double().norm()), rel=1e-12)
        assert distance(a, a) == 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
def test_cpu_and_cuda_keep_the_same_sums_and_hashes(dtype: torch.dtype) -> None:
    line = draw(300, sides=(3000, 900))
    pristine = torch.randn(3000, 900, generator=torch.Generator().manual_seed(0)).to(dtype)
    on_cpu, on_gpu = Materialiser(), Materialiser("cuda")
    on_cpu.add_module(M, pristine, "in,out")
    on_gpu.add_module(M, pristine.cuda(), "in,out")
    for path in (line, line[:-1], line[:100], [*line[:50], *line[51:]], [], line):
        expected = on_cpu.sha256(M, path)
        assert weight_sha256(on_cpu.weight(M, path)) == expected
        assert on_gpu.sha256(M, path) == expected
        assert weight_sha256(on_gpu.weight(M, path)) == expected
        live = on_gpu.weight(M, path)
        assert on_gpu.moved(M, live) == pytest.approx(on_cpu.moved(M, live), rel=1e-9)
        assert weights_sha256({"a": live, "b": live}) == {"a": expected, "b": expected}
