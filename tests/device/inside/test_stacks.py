"""A stack on another device than the CPU has the bytes that it has on the CPU, wherever it goes from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.device import pretend
from tests.device.inside.making import only, open_at, verified
from tests.engine.comparing import RELATIVE, difference
from tests.engine.making import OTHER, REQUEST, drain, make_model, weight_bytes
from workbench import events as ev
from workbench.cli.main import run
from workbench.engine.asking import Sampling
from workbench.engine.exporting import export_merged, export_peft
from workbench.models.fingerprint import base_fingerprint
from workbench.stack.materialise import Materialiser, weight_sha256
from workbench.traces import TraceSettings


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with C, a profile and held-out text. Read only."""
    return make_model(tmp_path_factory.mktemp("models") / "small", "llama")


@pytest.fixture
def stack(small: Path, tmp_path: Path, device: str) -> Path:
    """A stack of one edit, made on the device."""
    engine = open_at(small, tmp_path / "stack", device)
    drain(engine.apply(REQUEST))
    engine.close()
    return tmp_path / "stack"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_position_has_the_cpus_bytes(device: str, small: Path, dtype: str, tmp_path: Path) -> None:
    here = open_at(small, tmp_path / "stack", "cpu", dtype)
    bytes_at = [weight_bytes(here)]
    for request in (REQUEST, OTHER):
        drain(here.apply(request, {"steps": 2}))
        bytes_at.append(weight_bytes(here))
    here.close()
    there = open_at(small, tmp_path / "stack", device, dtype)
    assert weight_bytes(there) == bytes_at[2]
    drain(there.undo())
    assert weight_bytes(there) == bytes_at[1]
    drain(there.undo())
    assert weight_bytes(there) == bytes_at[0]
    drain(there.redo())
    assert weight_bytes(there) == bytes_at[1]
    drain(there.travel(2))
    assert weight_bytes(there) == bytes_at[2]
    assert verified(there) == {"bit-identical"}


def test_a_stack_made_on_the_device_is_bit_identical_on_the_cpu(device: str, small: Path, tmp_path: Path) -> None:
    there = open_at(small, tmp_path / "stack", device)
    for request in (REQUEST, OTHER):
        drain(there.apply(request))
    there.close()
    assert verified(open_at(small, tmp_path / "stack", "cpu", write=False)) == {"bit-identical"}


def test_nothing_is_read_from_pinned_memory_before_it_is_there(device: str, small: Path, tmp_path: Path) -> None:
    with pretend.counting() as counts:
        engine = open_at(small, tmp_path / "stack", device)
        drain(engine.apply(REQUEST))
        drain(engine.undo())
        torch.accelerator.synchronize(device)
    assert counts.later > 0
    assert counts.too_early == 0


def test_a_system_without_pinned_memory_does_without(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    empty: Any = torch.empty

    def refused(*shape: object, pin_memory: bool = False, **more: object) -> Any:
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return empty(*shape, **more)

    monkeypatch.setattr(torch, "empty", refused)
    weight, found = torch.arange(12.0).reshape(3, 4), Materialiser(device)
    found.add_module("m", weight.to(device), "out,in")
    assert found.sha256("m", []) == weight_sha256(weight) == weight_sha256(weight.to(device))


def test_what_is_exported_is_what_the_cpu_exports(device: str, small: Path, tmp_path: Path) -> None:
    there = open_at(small, tmp_path / "stack", device)
    drain(there.apply(REQUEST))
    there.close()
    engines = [open_at(small, tmp_path / "stack", place, write=False) for place in ("cpu", device)]
    for engine in engines:
        name = engine.core.loaded.device.type
        export_merged(engine, tmp_path / name / "merged")
        export_peft(engine, tmp_path / name / "adapter")
    merged = [base_fingerprint(tmp_path / name / "merged") for name in ("cpu", "pretend")]
    assert merged[0] == merged[1]
    first, second = (
        load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("cpu", "pretend")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    difference_of_adapter, moved = difference(engines[0], tmp_path / "pretend" / "adapter", "float32")
    assert difference_of_adapter < RELATIVE["float32"]
    assert moved > 10 * difference_of_adapter


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("replay --verify", "bit-identical: 1 edit"),
        ("verify", "bit-identical"),
        ("probe", "efficacy"),
        ("health", "drift"),
        ("doctor", "pretend:1       Pretend, "),
    ],
)
def test_commands_about_a_stack_take_the_device(
    device: str, stack: Path, command: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *rest = command.split()
    assert run([name, str(stack), *rest, "--device", device]) in (0, 1), capsys.readouterr().err
    assert word in capsys.readouterr().out


def test_a_trace_on_the_device_shows_the_cpus_picture(device: str, small: Path, tmp_path: Path) -> None:
    found = []
    for place in ("cpu", device):
        engine = open_at(small, tmp_path / place[:3], place)
        traced = drain(engine.trace(REQUEST.prompt, REQUEST.subject, settings=TraceSettings(samples=2)))[1]
        assert traced is not None
        found.append(traced)
    assert found[0].answer == found[1].answer
    assert (found[0].peak_row, found[0].peak_layer) == (found[1].peak_row, found[1].peak_layer)
    for mine, theirs in zip(found[1].effects, found[0].effects, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-6)  # of probabilities in float32


def test_two_states_are_compared_as_on_the_cpu(device: str, stack: Path, small: Path, tmp_path: Path) -> None:
    told, kls = [], []
    for place in ("cpu", device):
        engine = open_at(small, stack, place, write=False)
        events = drain(engine.generate(REQUEST.text, sampling=Sampling(max_new=3)))[0]
        told.append("".join(event.text for event in only(events, ev.GenerationChunk)))
        (apart,) = only(events, ev.Compared)
        assert apart.kl
        kls.append(apart.kl)
    assert told[0] == told[1]
    assert kls[1] == pytest.approx(kls[0], rel=1e-2)
