"""Edits whose model is on another device than the CPU are those made on the CPU, up to rounding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests import zoo
from tests.device import pretend
from tests.device.inside.making import CLOSE, apart, on_both, only, open_at, said, verified
from tests.engine.batches import CHANGES, make_deep_model
from tests.engine.making import OTHER, REQUEST, drain, make_model, weight_bytes
from workbench import events as ev
from workbench.editing import Update, make_update, second_moment
from workbench.edits import Recipe
from workbench.engine import memory
from workbench.errors import DeviceError
from workbench.models.device import pick_device
from workbench.models.families import edit_site
from workbench.models.options import LoadOptions

FAMILIES = ("llama", "gpt2", "gemma2", "deepseek_v3", "gpt_neox", "lfm2", "mpt")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 with C at three layers. Read only."""
    return make_deep_model(tmp_path_factory.mktemp("models") / "deep")


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_of_any_family_is_the_cpus(device: str, family: str, tmp_path: Path) -> None:
    here, there = on_both(zoo.save(tmp_path / "model", family), tmp_path, device)
    assert str(there.core.loaded.device) == device
    told = []
    for engine in (here, there):
        events, done = drain(engine.apply(REQUEST))
        assert done
        told.append(said(events))
    assert told[0] == told[1]
    assert apart(there, here) < CLOSE


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_the_plain_way_and_the_fast_one_agree_on_the_device(device: str, family: str) -> None:
    model, tokenizer, recipe = zoo.tiny(family), zoo.tokenizer(family), Recipe(layer=1, steps=5, second_moment=False)
    nn.Module.to(model, device)
    site, templates = edit_site(model, 1), ("{}", "Today {}", "And then {}")

    def update(*, plain: bool) -> Update:
        making = make_update(model, tokenizer, site, REQUEST, recipe, templates, None, lambda: False, plain=plain)
        return drain(making)[1]

    fast, slow = update(plain=False), update(plain=True)
    assert fast.steps == slow.steps
    for one, other in ((fast.u, slow.u), (fast.v, slow.v)):
        assert one.device.type == "cpu"
        assert float((one - other).norm()) < CLOSE * float(other.norm())


@pytest.mark.parametrize("method", ["r-rome", "c-rome", "rome", "p-rome"])
def test_every_method_of_one_edit_gives_the_cpus(device: str, small: Path, method: str, tmp_path: Path) -> None:
    here, there = on_both(small, tmp_path, device)
    told = [drain(engine.apply(REQUEST, {"method": method}))[0] for engine in (here, there)]
    assert apart(there, here) < CLOSE
    mine, theirs = (only(events, ev.ProbeResult) for events in told)
    assert [(p.kind, p.prompt, p.answer) for p in mine] == [(p.kind, p.prompt, p.answer) for p in theirs]
    for one, other in zip(mine, theirs, strict=True):
        for name in ("p_expected", "p_answer", "value"):
            assert getattr(one, name) == (getattr(other, name) and pytest.approx(getattr(other, name), rel=1e-3))


def test_c_is_factorised_on_the_device_where_there_is_room(
    device: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = on_both(small, tmp_path, device)
    monkeypatch.setattr(memory, "PART", 1 << 30)
    full = open_at(small, tmp_path / "full", device)
    site, key = here.core.site(1), torch.arange(1.0, 1.0 + here.core.site(1).d_in)
    moments = [engine.core.second_moment(site) for engine in (here, there, full)]
    assert [moment.factorisation.lower.device.type for moment in moments] == ["cpu", "pretend", "cpu"]
    solved = [moment.solve(key).cpu() for moment in moments]
    torch.testing.assert_close(solved[1], solved[0], rtol=1e-12, atol=0)
    assert torch.equal(solved[2], solved[0])


@pytest.mark.parametrize("room", [0, 1 << 30])
def test_a_factor_that_cannot_be_made_there_or_is_not_cs_is_made_on_the_cpu(
    device: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    moment = open_at(small, tmp_path / "stack", device).core.second_moment(edit_site(zoo.tiny("gpt2"), 1))
    made: Any = second_moment.factorise

    def wrong(matrix: torch.Tensor, samples: int) -> Any:
        found = made(matrix, samples)
        return replace(found, lower=found.lower * (1 + 1e-6)) if matrix.device.type != "cpu" else found

    monkeypatch.setattr(second_moment, "factorise", wrong)
    with pretend.memory_limit(torch.accelerator.memory_allocated(device) + room):
        assert moment.factorisation.lower.device.type == "cpu"
    assert moment.device == torch.device(device)


@pytest.mark.parametrize("name", CHANGES)
def test_edits_of_many_requests_are_the_cpus(device: str, small: Path, name: str, tmp_path: Path) -> None:
    here, there = on_both(small, tmp_path, device)
    for engine in (here, there):
        assert drain(engine.apply_batch([REQUEST, OTHER], CHANGES[name]))[1]
    assert apart(there, here) < 10 * CLOSE
    assert verified(there) == {"bit-identical"}


def test_edits_made_together_are_the_cpus(device: str, small: Path, tmp_path: Path) -> None:
    here, there = on_both(small, tmp_path, device)
    for engine in (here, there):
        drain(engine.apply_together([REQUEST, OTHER]))
    assert len(there.stack.line) == 2
    assert apart(there, here) < CLOSE


@pytest.mark.parametrize(("dtype", "keep"), [("bfloat16", False), ("bfloat16", True), ("float16", False)])
def test_half_precision_is_edited_and_undone(device: str, small: Path, dtype: str, keep: bool, tmp_path: Path) -> None:
    engine = open_at(small, tmp_path / "stack", device, dtype, LoadOptions(keep_fp32=keep))
    engine.core.live.adopt_site(engine.core.site(1))
    before = weight_bytes(engine)
    events, done = drain(engine.apply(REQUEST))
    assert done
    assert said(events) == []
    weight = engine.core.live.parameter(engine.core.site(1).module)
    assert (str(weight.device), weight.dtype) == (device, torch.float32 if keep else getattr(torch, dtype))
    assert verified(engine) == {"bit-identical"}
    drain(engine.undo())
    assert weight_bytes(engine) == before


def test_without_float64_on_the_device_all_of_it_is_done_on_the_cpu(device: str, small: Path, tmp_path: Path) -> None:
    with pretend.without_float64():
        here, there = on_both(small, tmp_path, device)
        for engine in (here, there):
            drain(engine.apply(REQUEST))
            drain(engine.apply_batch([REQUEST, OTHER], CHANGES["memit"]))
        assert apart(there, here) < 10 * CLOSE
        assert verified(there) == {"bit-identical"}
        drain(there.trace(OTHER.prompt, OTHER.subject, ""))
        drain(there.health())


def test_an_edit_for_which_the_device_is_too_small_is_refused_and_leaves_every_byte(
    device: str, small: Path, tmp_path: Path
) -> None:
    engine = open_at(small, tmp_path / "stack", device)
    drain(engine.apply(OTHER))
    before, used = weight_bytes(engine), torch.accelerator.memory_allocated(device)
    for room in (0, 50_000, 100_000, 200_000):
        with pretend.memory_limit(used + room), pytest.raises(DeviceError, match="out of memory"):
            drain(engine.apply(REQUEST))
        assert weight_bytes(engine) == before
    assert drain(engine.apply(REQUEST))[1]


def test_an_edit_is_taken_back_though_no_byte_of_the_device_is_free(
    device: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_at(small, tmp_path / "stack", device)
    drain(engine.apply(OTHER))
    before = weight_bytes(engine)

    def full(_: object) -> None:
        if weight_bytes(engine) != before:
            pretend.fill(device)
            torch.empty(1, device=device)

    monkeypatch.setattr("workbench.engine.core.Core.perplexity_here", full)
    with pretend.memory_limit(1 << 40), pytest.raises(DeviceError, match="out of memory"):
        drain(engine.apply(REQUEST))
    assert weight_bytes(engine) == before


def test_the_global_random_state_of_the_device_is_left_alone(device: str, small: Path, tmp_path: Path) -> None:
    engine = open_at(small, tmp_path / "stack", device)
    module: Any = torch.get_device_module(device)
    before = module.get_rng_state(device)
    drain(engine.apply(REQUEST))
    assert torch.equal(module.get_rng_state(device), before)


def test_memory_is_the_devices(device: str, small: Path, tmp_path: Path) -> None:
    engine = open_at(small, tmp_path / "stack", device)
    events, _ = drain(engine.apply(REQUEST))
    used = only(events, ev.MemoryUsed)[-1]
    assert used.used <= torch.accelerator.max_memory_allocated(device)
    assert used.total == torch.accelerator.get_memory_info(device)[1]


def test_only_devices_that_are_there_are_taken(device: str) -> None:
    assert pick_device(device) == torch.device(device)
    with pytest.raises(DeviceError, match="no pretend:2 here: 2 found"):
        pick_device("pretend:2")
    with pytest.raises(DeviceError, match="'xpu' cannot be used"):
        pick_device("xpu")


def test_a_model_that_does_not_fit_is_refused_in_a_sentence(device: str, tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    with pretend.memory_limit(10_000), pytest.raises(DeviceError, match="does not fit on pretend:0"):
        open_at(model, tmp_path / "stack", device)
