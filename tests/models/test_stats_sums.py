"""Sums of k kᵀ: as exact as float64 to below 1e-6, whatever the family, dtype and layers; the model runs no further."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests import zoo
from tests.models.stats_by_hand import TEXT, distance, moment_by_hand, rows_by_hand
from workbench.engine.stats.sums import ROWS, Keys, Sum
from workbench.errors import ModelError
from workbench.models.families import edit_site

UNIT = 2.0**-24
"""Half a float32 rounding step of 1."""


def keys_like(count: int, d_in: int, seed: int = 0) -> Tensor:
    """Keys as an MLP makes them: mostly positive, a few large, a common mean."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(count, d_in, generator=generator) + torch.randn(d_in, generator=generator)
    return torch.nn.functional.gelu(raw) * torch.logspace(-3, 2, d_in)


def summed(keys: Tensor, piece: int) -> Tensor:
    total = Sum(keys.shape[1], torch.device("cpu"))
    for part in keys.split(piece):  # type: ignore[no-untyped-call]  # torch leaves it untyped
        total.add(part)
    return total.mean(len(keys))


def test_sums_agree_with_float64_far_within_the_bound() -> None:
    keys = keys_like(4096, 640)
    found, wide = summed(keys, 1500).double(), keys.double()
    expected = wide.T @ wide / len(keys)
    scale = expected.diagonal().sqrt()
    worst = ((found - expected).abs() / (scale[:, None] * scale[None, :])).max()
    bound = ROWS * UNIT / (1 - ROWS * UNIT) + UNIT  # the last: stored as float32
    assert float(worst) <= bound
    assert float(worst) <= 1e-6
    assert distance(found, expected) <= 1e-7


def test_the_bound_holds_where_every_rounding_goes_one_way() -> None:
    keys = torch.full((ROWS * 3, 8), 1.0 + 2.0**-12)
    found, wide = summed(keys, ROWS * 3).double(), keys.double()
    expected = wide.T @ wide / len(keys)
    assert float(((found - expected) / expected).abs().max()) <= ROWS * UNIT / (1 - ROWS * UNIT) + UNIT


def test_float64_keys_are_multiplied_in_float64() -> None:
    keys = keys_like(300, 48).double()
    total = Sum(48, torch.device("cpu"))
    total.add(keys)
    assert distance(total.total.tril(), (keys.T @ keys).tril()) < 1e-14


def test_c_is_symmetric_to_the_bit_and_its_sides_need_not_fit_the_tiles() -> None:
    for d_in in (1, 7, 256, 300):
        found = summed(keys_like(50, d_in), 17)
        assert found.shape == (d_in, d_in)
        assert torch.equal(found, found.T)


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_every_family_gives_the_keys_that_a_plain_forward_gives(family: str) -> None:
    model, tokenizer = zoo.tiny(family), zoo.tokenizer(family)
    rows = rows_by_hand(tokenizer, TEXT, 24, 48)
    try:
        sites = [edit_site(model, layer) for layer in (1, 2)]
    except ModelError:
        pytest.skip("no dense layer there")
    keys = Keys(model, sites)
    keys.add(torch.tensor(rows))
    for site in sites:
        expected, count = moment_by_hand(model, site, rows)
        assert count == 48
        assert distance(keys.sums[site.module].mean(count), expected) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keys_are_summed_without_further_loss(dtype: torch.dtype) -> None:
    model = zoo.tiny("llama", dtype=dtype)
    site, rows = edit_site(model, 2), rows_by_hand(zoo.tokenizer(), TEXT, 32, 96)
    keys = Keys(model, [site])
    keys.add(torch.tensor(rows))
    # The keys of one row alone may be rounded otherwise than those of a batch: the same rows, then.
    seen: list[Tensor] = []
    with torch.no_grad():
        hook = site.linear(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        model(input_ids=torch.tensor(rows))
        hook.remove()
    wide = seen[0].reshape(-1, site.d_in).double()
    assert distance(keys.sums[site.module].mean(len(wide)), wide.T @ wide / len(wide)) < 1e-6


def test_nothing_above_the_deepest_module_runs() -> None:
    model = zoo.tiny("gpt2")
    ran: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    keys = Keys(model, [edit_site(model, 2), edit_site(model, 0)])
    keys.add(torch.tensor([[5, 6, 7, 8]]))
    assert "transformer.h.0.mlp.c_proj" in ran
    assert "transformer.h.1" in ran
    assert not {"transformer.h.2.mlp.c_proj", "transformer.h.2", "transformer.h.3.attn", "lm_head"} & set(ran)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_keys_that_are_no_numbers_are_an_error_and_leave_no_hook() -> None:
    model = zoo.tiny("gpt2")
    with torch.no_grad():
        model.get_parameter("transformer.h.0.mlp.c_fc.weight").fill_(float("nan"))
    with pytest.raises(ModelError, match="not numbers"):
        Keys(model, [edit_site(model, 1)]).add(torch.tensor([[1, 2, 3]]))
    assert not any(module._forward_pre_hooks for module in model.modules())
