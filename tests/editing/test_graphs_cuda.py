"""CUDA graphs on a CUDA device: what a recorder without a GPU cannot show."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import zoo
from tests.editing.helpers import TEMPLATES, drain, error, start
from tests.editing.test_fast import REQUEST, edit
from tests.editing.test_graphs import AS_LONG, RECORDED, STEPS
from workbench.editing import graphs

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("family", RECORDED)
def test_steps_are_captured_and_replayed_with_the_numbers_of_the_cpu(family: str) -> None:
    model = zoo.tiny(family)
    nn.Module.to(model, "cuda")
    played = [
        drain(start(model, zoo.tokenizer(family), request, STEPS, TEMPLATES))[1] for request in (REQUEST, AS_LONG)
    ]
    shelf = graphs.shelf_of(model)
    assert graphs.refused(model) == ""
    assert shelf is not None
    assert len(shelf) == 1
    for update, request in zip(played, (REQUEST, AS_LONG), strict=True):
        assert error(update.v, edit(family, STEPS, request)[1].v) < 1e-3


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_a_bfloat16_model_is_captured_with_a_float32_offset(family: str) -> None:
    model = zoo.tiny(family)
    nn.Module.to(model, "cuda", torch.bfloat16)
    update = drain(start(model, zoo.tokenizer(family), REQUEST, STEPS, TEMPLATES))[1]
    assert graphs.refused(model) == ""
    assert update.v.dtype == torch.float32
    assert bool(update.v.isfinite().all())
