"""The step loop on a device that tells what waits for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import zoo
from tests.device import pretend
from tests.editing.helpers import TEMPLATES, drain, error, start, steps
from tests.editing.tape import recording
from tests.editing.test_fast import RECIPE, REQUEST, edit, slow
from tests.editing.test_graphs import STEPS
from workbench.editing import make_update
from workbench.editing.update import Update
from workbench.events import Event, OptimStep
from workbench.models.families import edit_site


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers looks at numbers of the attention mask unless the pass is being recorded."""
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)


def on_device(family: str, device: str) -> tuple[list[Event], Update, list[pretend.Counts]]:
    """An edit, and what was done on the device between one step's event and the next's."""
    model = zoo.tiny(family)
    nn.Module.to(model, device)
    making = start(model, zoo.tokenizer(family), REQUEST, STEPS, TEMPLATES)
    events: list[Event] = []
    counted: list[pretend.Counts] = []
    while True:
        with pretend.counting() as counts:
            try:
                events.append(next(making))
            except StopIteration as stop:
                return events, stop.value, counted
        if isinstance(events[-1], OptimStep) and events[-1].step > 1:
            counted.append(counts)


@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gpt_neox", "opt"])
def test_a_step_waits_for_nothing_but_the_report_of_the_one_before_it(family: str, device: str) -> None:
    events, update, counted = on_device(family, device)
    for counts in counted[:-1]:
        assert (counts.scalars, counts.to_host, counts.to_device, counts.answers) == (0, 0, 0, 0)
        assert (counts.synchronised, counts.later_to_host, counts.too_early) == (1, 1, 0)
    assert [step.step for step in steps(events)] == [*range(1, STEPS.steps + 1)]
    assert error(update.v, edit(family, STEPS)[1].v) < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_recorded_steps_wait_for_nothing_more(family: str, device: str) -> None:
    with recording() as scribe:
        _, update, counted = on_device(family, device)
    assert scribe.played == 1 + STEPS.steps - 3
    for counts in counted[3:-1]:
        assert (counts.waits, counts.synchronised, counts.later_to_host) == (1, 1, 1)
    assert error(update.v, edit(family, STEPS)[1].v) < 1e-5


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_the_fast_way_needs_no_float64_of_the_device(family: str, device: str) -> None:
    model = zoo.tiny(family)
    nn.Module.to(model, device)
    with pretend.without_float64():
        making = make_update(
            model, zoo.tokenizer(family), edit_site(model, 1), REQUEST, RECIPE, TEMPLATES, None, lambda: False
        )
        events, update = drain(making)
    assert not slow(events)
    assert error(update.v, edit(family)[1].v) < 1e-5
