"""The reader of adapters' files: whatever it is given, it ends in a typed error or in finite factors. No model."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stack.making import MODULE, factors
from tests.stack.thorough import tries
from workbench.errors import StackError, UsageError
from workbench.stack.adapter import (
    CONFIG,
    WEIGHTS,
    adapter_config,
    adapter_weights,
    joined,
    read_adapter_files,
)
from workbench.stack.lora_config import LoraConfig, read_config

MANY = settings(max_examples=tries(60, 10_000), deadline=None)
TWO = joined([factors(1), factors(2)])
GOOD = adapter_weights(TWO)
SETTINGS = json.loads(adapter_config(TWO, {MODULE: "in,out"}, "someone/model", "abc"))


def read(config: bytes, weights: bytes) -> None:
    """Reads both files: refused, or finite."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / CONFIG).write_bytes(config)
        (Path(name) / WEIGHTS).write_bytes(weights)
        with contextlib.suppress(StackError, UsageError):
            _, found = read_adapter_files(Path(name))
            assert all(np.isfinite(one.a).all() and np.isfinite(one.b).all() for one in found)


@MANY
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_in_words(data: bytes) -> None:
    read(json.dumps(SETTINGS).encode(), data)
    read(data, GOOD)


@MANY
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.integers(0, len(GOOD)))
def test_a_changed_or_cut_weight_file_never_ends_in_anything_else(at: int, by: int, length: int) -> None:
    changed = bytearray(GOOD)
    changed[at] ^= by
    read(json.dumps(SETTINGS).encode(), bytes(changed))
    read(json.dumps(SETTINGS).encode(), GOOD[:length])


ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=2)
)


@MANY
@given(st.sampled_from(sorted(SETTINGS)), st.one_of(ODD, st.dictionaries(st.text(max_size=12), ODD, max_size=2)))
def test_a_changed_setting_never_ends_in_anything_else(name: str, value: object) -> None:
    read(json.dumps({**SETTINGS, name: value}).encode(), GOOD)


def test_what_is_written_is_read_again() -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / CONFIG).write_text(json.dumps(SETTINGS))
        (Path(name) / WEIGHTS).write_bytes(GOOD)
        config, (found,) = read_adapter_files(Path(name))
    assert config == LoraConfig(rank=2, alpha=2.0, base="someone/model")
    assert np.array_equal(found.a, TWO[0].a)
    assert np.array_equal(found.b, TWO[0].b)


def test_joined_factors_are_the_sum_of_the_updates() -> None:
    one, two = factors(1), factors(2, rank=3)
    (both,) = joined([one, two])
    assert both.a.shape[0] == both.b.shape[1] == 4
    np.testing.assert_allclose(both.b @ both.a, one[0].b @ one[0].a + two[0].b @ two[0].a, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "module", "scale"),
    [
        ({}, "a.b", 2.0),
        ({"use_rslora": True}, "a.b", 4.0),
        ({"alpha_pattern": {"b": 4}}, "a.b", 1.0),
        ({"alpha_pattern": {"b": 4}}, "a.xb", 2.0),
        ({"rank_pattern": {"a.b": 8}}, "a.b", 1.0),
        ({"rank_pattern": {"^b": 8}}, "a.b", 2.0),
        ({"alpha_pattern": {"a.b": 4, "b": 8}}, "a.b", 1.0),
    ],
)
def test_the_scale_is_alpha_over_rank_by_the_first_pattern_that_fits(
    changes: dict[str, Any], module: str, scale: float
) -> None:
    assert read_config({"peft_type": "LORA", "r": 4, "lora_alpha": 8, **changes}).scale_of(module) == scale


@pytest.mark.parametrize("extra", [{"new_thing": None}, {"new_thing": False}, {"new_thing": []}, {"use_dora": False}])
def test_a_setting_that_is_not_set_does_no_harm(extra: dict[str, Any]) -> None:
    assert read_config({"peft_type": "LORA", "r": 4, "lora_alpha": 8, **extra}).rank == 4


def test_reading_an_adapter_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, workbench.stack.adapter, workbench.engine.card; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
