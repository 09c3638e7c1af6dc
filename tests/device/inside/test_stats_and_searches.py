"""Second moments, searches and evaluations on another device than the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests import zoo
from tests.device import pretend
from tests.engine.evaluations import evaluated, wanted
from tests.engine.making import drain, make_model, weight_bytes
from tests.engine.test_tuning import FAST
from tests.engine.tuning_making import known_requests
from tests.models.stats_by_hand import TEXT
from workbench.engine.evaluating.results import Results
from workbench.engine.stats.documents import TextFiles
from workbench.engine.stats.job import Wanted, measure
from workbench.engine.tuning import Wanted as Search
from workbench.engine.tuning import tune
from workbench.events import MomentReady, TrialResult
from workbench.models.load import load_model
from workbench.models.profiles import profile_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama without C. Read only."""
    return zoo.save(tmp_path_factory.mktemp("zoo") / "llama", "llama")


@pytest.fixture
def asked(folder: Path, tmp_path: Path) -> Wanted:
    """C of two layers over a file, in several batches."""
    text = tmp_path / "text.txt"
    text.write_text("\n".join(TEXT * 8), encoding="utf-8")
    return Wanted(str(folder), (1, 2), TextFiles([str(text)]), tokens=800, window=24, every=0.0)


def moments(asked: Wanted, cancelled: Callable[[], bool] = lambda: False) -> list[torch.Tensor]:
    found = [event for event in drain(measure(asked, cancelled))[0] if isinstance(event, MomentReady)]
    return [load_file(one.file)["second_moment"] for one in found]


@pytest.mark.parametrize("own", [False, True])
def test_second_moments_are_the_cpus(device: str, asked: Wanted, own: bool, tmp_path: Path) -> None:
    asked = replace(asked, documents=None, tokens=120) if own else asked
    here = moments(replace(asked, device="cpu", out=tmp_path / "here"))
    there = moments(replace(asked, device=device, out=tmp_path / "there"))
    assert len(here) == len(there) == 2
    for mine, theirs in zip(there, here, strict=True):
        assert (mine - theirs).norm() < 1e-5 * theirs.norm()
    with pretend.without_float64():
        for mine, theirs in zip(moments(replace(asked, device=device, out=tmp_path / "none")), there, strict=True):
            assert (mine - theirs).norm() < 1e-6 * theirs.norm()


def test_a_run_that_was_stopped_on_the_device_ends_with_the_same_bits(
    device: str, asked: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.engine.stats.reading.AT_ONCE", {"cpu": 96, "pretend": 96})
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    whole = moments(replace(asked, device=device, out=tmp_path / "whole"))
    count = iter(range(100))
    assert moments(replace(asked, device=device, out=tmp_path / "parts"), lambda: next(count) >= 3) == []
    parts = moments(replace(asked, device=device, out=tmp_path / "parts"))
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))


def test_a_search_on_the_device_leaves_every_byte(device: str, folder: Path, tmp_path: Path) -> None:
    loaded = drain(load_model(str(folder), device))[1]
    engine: Any = type("One", (), {"core": type("Core", (), {"loaded": loaded})})
    before, facts = weight_bytes(engine), known_requests(loaded)
    asked = Search(facts=facts, count=2, changes=FAST, layers=(1, 2), trials=3)
    events, _ = drain(tune(loaded, profile_of(loaded, 4), asked, lambda: False))
    assert len([event for event in events if isinstance(event, TrialResult)]) >= 3
    assert weight_bytes(engine) == before


@pytest.mark.parametrize("mode", ["single", "sequential"])
def test_an_evaluation_scores_as_on_the_cpu(device: str, mode: str, tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    found = []
    for place in ("cpu", device):
        asked = wanted(model, tmp_path / place[:3], mode=mode, device=place, limit=3)
        evaluated(asked)
        cases = Results.at(tmp_path / place[:3] / "out").cases.values()
        found.append([[(probe.kind, probe.passed) for probe in case.edited.probes] for case in cases])
    assert found[0]
    assert found[0] == found[1]
