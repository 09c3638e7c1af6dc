"""Second moments on a GPU: those of the CPU, as far as the model itself computes alike."""

from __future__ import annotations

import pytest
import torch

from tests import zoo
from tests.models.stats_by_hand import TEXT, distance, moment_by_hand, rows_by_hand
from workbench.engine.stats.sums import Keys, Sum
from workbench.models.families import edit_site

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gptj"])
def test_c_on_a_gpu_is_that_of_the_cpu(family: str) -> None:
    model = zoo.tiny(family)
    site, rows = edit_site(model, 2), rows_by_hand(zoo.tokenizer(), TEXT, 24, 96)
    expected, count = moment_by_hand(model, site, rows)
    torch.nn.Module.cuda(model)
    keys = Keys(model, [site])
    keys.add(torch.tensor(rows))
    assert keys.sums[site.module].total.is_cuda
    assert distance(keys.sums[site.module].mean(count), expected) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sums_on_a_gpu_agree_with_float64(dtype: torch.dtype) -> None:
    generator = torch.Generator("cuda").manual_seed(0)
    keys = torch.randn(3000, 700, device="cuda", generator=generator).abs().to(dtype)
    total = Sum(700, keys.device)
    total.add(keys)
    wide = keys.double()
    assert distance(total.mean(len(keys)), (wide.T @ wide / len(keys)).cpu()) < 1e-6
