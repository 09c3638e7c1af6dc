"""The weight at a position is the same, bit for bit, however it was come to; checked against exact arithmetic."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from workbench.errors import BaseMismatch, EditError, ModelError
from workbench.stack.materialise import DTYPES, Materialiser, delta, realised_fraction, weight_sha256
from workbench.stack.record import Factors, Layout
from workbench.stack.tiles import add_outers

M = "h.1.mlp.c_proj"
D_IN, D_OUT = 37, 23
LAYOUTS: tuple[Layout, ...] = ("in,out", "out,in")


def f32(rows: list[list[float]]) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


def draw(count: int, *, d_in: int = D_IN, d_out: int = D_OUT, rank: int = 1, seed: int = 0) -> list[Factors]:
    """Factors whose numbers are of very different sizes, so that the order of the sum matters."""
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> npt.NDArray[np.float32]:
        return (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 3, shape)).astype(np.float32)

    return [Factors(M, matrix(rank, d_in), matrix(d_out, rank)) for _ in range(count)]


def weight(layout: Layout, dtype: torch.dtype, d_in: int = D_IN, d_out: int = D_OUT) -> Tensor:
    shape = (d_in, d_out) if layout == "in,out" else (d_out, d_in)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def materialiser(pristine: Tensor, layout: Layout, device: str = "cpu") -> Materialiser:
    found = Materialiser(device)
    found.add_module(M, pristine, layout)
    return found


def by_numpy(pristine: Tensor, layout: Layout, factors: list[Factors]) -> Tensor:
    total = pristine.float().numpy().astype(np.float64)
    for one in factors:
        for rank in range(one.a.shape[0]):
            outer = np.multiply.outer(one.b[:, rank].astype(np.float64), one.a[rank].astype(np.float64))
            total = total + (outer.T if layout == "in,out" else outer)
    return torch.from_numpy(total.astype(np.float32)).to(pristine.dtype)


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and weight_sha256(one) == weight_sha256(other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_weight_is_that_of_an_independent_float64_sum(layout: Layout, dtype: torch.dtype) -> None:
    pristine, factors = weight(layout, dtype), [*draw(4), *draw(2, rank=3, seed=1)]
    assert same_bits(materialiser(pristine, layout).weight(M, factors), by_numpy(pristine, layout, factors))


def test_every_element_is_that_of_exact_arithmetic_rounded_once_a_product() -> None:
    pristine, factors = weight("out,in", torch.float32, 5, 4), draw(6, d_in=5, d_out=4)
    result = materialiser(pristine, "out,in").weight(M, factors)
    for row in range(4):
        for column in range(5):
            total = float(pristine[row, column])
            for one in factors:
                product = Fraction(float(one.b[row, 0])) * Fraction(float(one.a[0, column]))
                assert Fraction(float(one.b[row, 0]) * float(one.a[0, column])) == product
                total = float(Fraction(total) + product)
            assert float(result[row, column]) == float(np.float32(total))


def test_narrow_dtypes_are_rounded_by_way_of_float32() -> None:
    for dtype, ulp in ((torch.bfloat16, 2.0**-7), (torch.float16, 2.0**-10)):
        beyond_half = 1 + ulp / 2 + 2.0**-40
        one = Factors(M, f32([[1.0, 1.0]]), f32([[ulp / 2]]))
        tiny = Factors(M, f32([[2.0**-40, 2.0**-20]]), f32([[1.0]]))
        result = materialiser(torch.ones(1, 2, dtype=dtype), "out,in").weight(M, [one, tiny])
        assert result.tolist() == [[1.0, 1.0 + ulp]]
        assert float(np.float32(beyond_half)) == 1 + ulp / 2


def test_undoing_everything_gives_back_every_byte() -> None:
    for dtype in DTYPES:
        pristine = weight("in,out", dtype)
        pristine[0, 0], pristine[0, 1], pristine[0, 2] = -0.0, float("inf"), float("nan")
        found = materialiser(pristine.clone(), "in,out")
        assert same_bits(found.weight(M, []), pristine)
        assert same_bits(found.pristine(M), pristine)


def test_the_order_of_edits_is_part_of_the_result() -> None:
    pristine = torch.zeros(1, 1)
    big, small, minus = (Factors(M, f32([[x]]), f32([[1.0]])) for x in (2.0**60, 1.0, -(2.0**60)))
    found = materialiser(pristine, "out,in")
    assert found.weight(M, [big, minus, small]).item() == 1.0
    assert found.weight(M, [big, small, minus]).item() == 0.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_way_to_a_position_gives_the_bits_of_starting_again(dtype: torch.dtype) -> None:
    pristine, factors, other = weight("in,out", dtype), draw(6), draw(1, seed=9)
    walked = materialiser(pristine, "in,out")
    paths = [factors[:n] for n in (1, 2, 3, 2, 6, 0, 4, 4, 5)] + [factors[:2] + other, factors[1:], factors[::-1]]
    for path in paths:
        assert same_bits(walked.weight(M, path), materialiser(pristine, "in,out").weight(M, path))


def test_an_append_adds_one_product_to_the_kept_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.stack import sums

    added: list[Factors] = []
    real = add_outers

    def counting(total: Tensor, some: list[Factors], layout: Layout) -> None:
        added.extend(some)
        real(total, some, layout)

    monkeypatch.setattr(sums, "add_outers", counting)
    found, factors = materialiser(weight("in,out", torch.float32), "in,out"), draw(5)
    found.weight(M, factors[:4])
    assert len(added) == 4
    found.weight(M, factors)
    assert added[4:] == factors[4:]
    read_again = [Factors(M, one.a.copy(), one.b.copy()) for one in factors]
    found.weight(M, [*read_again, *draw(1, seed=3)])
    assert len(added) == 6
    found.weight(M, [Factors(M, -one.a, one.b) for one in factors])
    assert len(added) == 11


def test_a_negative_zero_is_another_factor() -> None:
    zero = Factors(M, f32([[0.0]]), f32([[1.0]]))
    negative = Factors(M, f32([[-0.0]]), f32([[1.0]]))
    found = materialiser(torch.full((1, 1), -0.0), "out,in")
    assert str(found.weight(M, [zero]).item()) == "0.0"
    assert str(found.weight(M, [negative]).item()) == "-0.0"


def test_an_interruption_leaves_no_half_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.stack import sums

    pristine, factors = weight("in,out", torch.float32), draw(4)
    found = materialiser(pristine, "in,out")
    found.weight(M, factors[:1])
    real = add_outers

    def interrupted(total: Tensor, some: list[Factors], layout: Layout) -> None:
        real(total, some[:1], layout)
        raise KeyboardInterrupt

    monkeypatch.setattr(sums, "add_outers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found.weight(M, factors)
    monkeypatch.undo()
    for path in (factors[:1], factors, factors[:2]):
        assert same_bits(found.weight(M, path), by_numpy(pristine, "in,out", path))


def test_the_result_is_never_a_view_of_what_is_kept() -> None:
    found, factors = materialiser(weight("in,out", torch.float32), "in,out"), draw(2)
    for path in ([], factors):
        before = weight_sha256(found.weight(M, path))
        found.weight(M, path).zero_()
        found.pristine(M).zero_()
        assert weight_sha256(found.weight(M, path)) == before


def test_a_live_weight_that_changes_leaves_the_pristine_copy_alone() -> None:
    live = torch.nn.Parameter(weight("in,out", torch.float32))
    before = weight_sha256(live)
    found = materialiser(live, "in,out")
    with torch.no_grad():
        live.zero_()
    assert weight_sha256(found.pristine(M)) == before
    assert not found.weight(M, draw(1)).requires_grad


def test_the_number_of_threads_does_not_matter() -> None:
    pristine, factors = weight("in,out", torch.bfloat16, 700, 300), draw(5, d_in=700, d_out=300)
    threads = torch.get_num_threads()
    hashes = set()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            hashes.add(weight_sha256(materialiser(pristine, "in,out").weight(M, factors)))
    finally:
        torch.set_num_threads(threads)
    assert len(hashes) == 1


def test_rounding_in_blocks_is_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.stack import hashing

    pristine, factors = weight("out,in", torch.float16), draw(3)
    whole = materialiser(pristine, "out,in").weight(M, factors)
    monkeypatch.setattr(hashing, "CPU_BLOCK", 50)
    assert same_bits(materialiser(pristine, "out,in").weight(M, factors), whole)


def test_every_module_gets_its_own_factors() -> None:
    first, second = weight("in,out", torch.float32), weight("out,in", torch.float32)
    found = Materialiser()
    found.add_module(M, first, "in,out")
    found.add_module("h.2", second, "out,in")
    one, two, three = draw(3)
    elsewhere = Factors("h.2", two.a, two.b)
    weights = found.weights([(one, elsewhere), (three,)])
    assert same_bits(weights[M], by_numpy(first, "in,out", [one, three]))
    assert same_bits(weights["h.2"], by_numpy(second, "out,in", [elsewhere]))
    assert same_bits(found.weights([])["h.2"], second)


def test_what_does_not_fit_is_refused_before_anything_is_computed() -> None:
    found, (one,) = materialiser(weight("in,out", torch.float32), "in,out"), draw(1)
    with pytest.raises(BaseMismatch, match=r"no module h\.9"):
        found.weights([(one,), (Factors("h.9", one.a, one.b),)])
    with pytest.raises(BaseMismatch, match="does not fit"):
        found.weight(M, [Factors(M, one.a[:, :-1], one.b)])
    with pytest.raises(ModelError, match="not a matrix"):
        found.add_module("q", torch.zeros(3, 3, dtype=torch.int8), "in,out")
    with pytest.raises(ModelError):
        found.add_module("q", torch.zeros(3), "in,out")


def test_a_weight_beyond_the_dtype_is_refused() -> None:
    huge = Factors(M, f32([[300.0]]), f32([[300.0]]))
    with pytest.raises(EditError, match="not be finite"):
        materialiser(torch.zeros(1, 1, dtype=torch.float16), "in,out").weight(M, [huge])
    assert materialiser(torch.zeros(1, 1), "in,out").weight(M, [huge]).item() == 90_000.0


def test_the_hash_is_of_tag_dtype_shape_and_little_endian_bytes() -> None:
    tensor = torch.tensor([[1.0, -2.0, 0.5]])
    expected = hashlib.sha256(
        b"workbench-weight-1\0float32 1x3\0" + np.array([1, -2, 0.5], "<f4").tobytes()
    ).hexdigest()
    assert weight_sha256(tensor) == expected
    assert weight_sha256(torch.nn.Parameter(tensor)) == expected
    assert weight_sha256(tensor.T.contiguous().T) == expected
    others = [tensor.T, tensor.bfloat16(), tensor.half(), -tensor, tensor[:, :2]]
    assert len({expected, *(weight_sha256(other) for other in others)}) == 6
    bf16 = hashlib.sha256(b"workbench-weight-1\0bfloat16 1x3\0" + bytes.fromhex("803f00c0003f")).hexdigest()
    assert weight_sha256(tensor.bfloat16()) == bf16


def test_delta_lies_as_the_module_does() -> None:
    (one,) = draw(1)
    outer = one.b.astype(np.float64) @ one.a.astype(np.float64)
    assert np.array_equal(delta(one, "out,in").numpy(), outer)
    assert np.array_equal(delta(one, "in,out").numpy(), outer.T)


def test_the_realised_fraction_says_how_much_survived_rounding() -> None:
    (one,) = draw(1)
    pristine = weight("in,out", torch.float32)
    after = materialiser(pristine, "in,out").weight(M, [one])
    assert realised_fraction(pristine, after, delta(one, "in,out")) == pytest.approx(1.0, rel=1e-5)
    lost = Factors(M, np.full((1, 4), 1e-6, np.float32), np.ones((4, 1), np.float32))
    ones = torch.ones(4, 4, dtype=torch.bfloat16)
    kept = materialiser(ones, "in,out").weight(M, [lost])
    assert realised_fraction(ones, kept, delta(lost, "in,out")) == 0.0
    assert realised_fraction(ones, ones, torch.zeros(4, 4)) == 1.0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cpu_and_cuda_give_the_same_bits(layout: Layout, dtype: torch.dtype) -> None:
    pristine, factors = weight(layout, dtype, 3000, 800), draw(12, d_in=3000, d_out=800)
    on_cpu, on_gpu = materialiser(pristine, layout), materialiser(pristine.cuda(), layout, "cuda")
    for path in (factors[:5], factors, factors[:2], []):
        assert weight_sha256(on_gpu.weight(M, path)) == weight_sha256(on_cpu.weight(M, path))
