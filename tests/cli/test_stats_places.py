"""Where second moments lie: what lies there wrongly is told and never used, and no text is read for a place in vain."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import zoo
from tests.cli.conftest import Workbench
from tests.models.checkpoints import as_pickle

EDIT = ("apply", "-s", "Lisbon", "-p", "{} lies in", "-t", "Peru", "--layer", "2", "--set", "steps=2", "--model")
MEASURED, IDENTITY = ("--set", "second_moment=true"), ("--set", "second_moment=false")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.save(tmp_path_factory.mktemp("zoo") / "gpt2", "gpt2")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(cache: Path, layer: int) -> Path:
    (path,) = cache.rglob(f"second_moment/*.h.{layer}.*.safetensors")
    return path


def test_the_c_of_another_layer_is_never_used(workbench: Workbench, model: Path, cache: Path) -> None:
    assert workbench("stats", model, "--layers", "1,2", "--tokens", "64").code == 0
    shutil.copyfile(kept(cache, 1), kept(cache, 2))
    ran = workbench(*EDIT, model, *MEASURED)
    assert ran.code == 3
    assert "made for another module" in ran.err
    shown = workbench("stats", model, "--show")
    assert "made for another module" in shown.err
    assert "layer 1" in shown.out


def test_a_damaged_c_stops_only_the_edits_that_want_it(workbench: Workbench, model: Path, cache: Path) -> None:
    assert workbench("stats", model, "--layer", "1", "--tokens", "64").code == 0  # the profile's
    kept(cache, 1).write_bytes(b"damaged")
    at_one = [*EDIT, model, "--layer", "1"]
    assert workbench(*at_one, *MEASURED).code == 3
    assert "1 of 1 edits made" in workbench(*at_one, *IDENTITY).err


def test_a_place_that_takes_no_file_is_told_before_the_text_is_read(workbench: Workbench, model: Path) -> None:
    Path("taken").write_text("a file")
    ran = workbench("stats", model, "--tokens", "64", "--out", "taken", "--json")
    assert ran.code == 1
    assert "--out" in ran.err
    assert not [event for event in ran.events if event["type"] == "MomentProgress"]


def test_where_no_checkpoint_can_be_kept_the_run_goes_on_without(
    workbench: Workbench, model: Path, cache: Path
) -> None:
    cache.write_text("a file")
    ran = workbench("stats", model, "--tokens", "64", "--checkpoint", "0", "--out", "mine")
    assert ran.code == 0, ran.err
    assert len([*Path("mine").rglob("*.safetensors")]) == 1


def test_what_there_is_for_a_pickled_model_is_shown(
    workbench: Workbench, model: Path, cache: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(model, tmp_path / "pickled")
    assert workbench("stats", folder, "--layer", "1", "--tokens", "64").code == 0
    as_pickle(folder)
    assert workbench("stats", folder, "--show").code == 3
    assert "layer 1" in workbench("stats", folder, "--show", "--allow-pickle").out
    assert kept(cache, 1).is_file()


def test_a_c_that_no_edit_could_use_does_not_take_the_place_of_a_good_one(
    workbench: Workbench, model: Path, cache: Path
) -> None:
    assert workbench("stats", model, "--layer", "1", "--tokens", "64").code == 0
    before = kept(cache, 1).read_bytes()
    uneven = np.diag(np.linspace(-1, 5, 48)) + 6 * np.eye(48)[::-1]
    arrays: dict[str, Any] = {"mom2.count": np.array(9), "mom2.mom2": (uneven + np.eye(48)).astype(np.float32)}
    np.savez("bad.npz", **arrays)
    ran = workbench("stats", model, "--layer", "1", "--import", "bad.npz")
    assert ran.code == 1
    assert "not positive definite" in ran.err
    assert kept(cache, 1).read_bytes() == before
