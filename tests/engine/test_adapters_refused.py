"""A LoRA adapter that is more than an update of linear modules, or not what it seems, is refused, and nothing moves."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.engine.adapter_by_hand import D_IN, D_OUT, KEY, MODULE, write
from tests.engine.making import open_on, weight_bytes
from workbench.engine.adapters import read_adapter
from workbench.engine.engine import Engine
from workbench.errors import BaseMismatch, EditError, StackError, UsageError
from workbench.stack.adapter import CONFIG, MAX_ADAPTER, WEIGHTS
from workbench.stack.record import Factors


@pytest.fixture
def untouched(engine: Engine) -> Iterator[Engine]:
    """An engine whose weights and stack must be the same afterwards."""
    before = weight_bytes(engine)
    yield engine
    assert weight_bytes(engine) == before
    assert engine.stack.line == ()


REFUSED_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "dora": ({"use_dora": True}, "DoRA"),
    "bias": ({"bias": "all"}, "biases"),
    "lora bias": ({"lora_bias": True}, "bias"),
    "whole modules": ({"modules_to_save": ["lm_head"]}, "whole modules"),
    "tokens": ({"trainable_token_indices": [1, 2]}, "token embeddings"),
    "experts": ({"target_parameters": ["experts.gate_up_proj"]}, "not those of linear modules"),
    "weights beside modules": ({"target_parameters": ["a.weight"], "target_modules": ["b"]}, "not those of linear"),
    "modules among weights": (
        {"target_parameters": ["a.weight"], "rank_pattern": {"c_proj": 2}},
        "not a module's name",
    ),
    "repeated layers": ({"layer_replication": [[0, 4], [2, 5]]}, "repeating layers"),
    "activated": ({"alora_invocation_tokens": [5]}, "after certain tokens"),
    "unknown": ({"use_new_thing": {"strength": 2}}, "'use_new_thing'"),
    "changed base": ({"init_lora_weights": "pissa_niter_16"}, "pissa"),
    "not lora": ({"peft_type": "IA3"}, "not a LoRA adapter"),
    "endless pattern": ({"alpha_pattern": {"(a+)+$": 3}}, "not a module's name"),
}


@pytest.mark.parametrize("case", REFUSED_SETTINGS)
def test_an_adapter_that_is_more_than_an_update_is_refused(case: str, untouched: Engine, tmp_path: Path) -> None:
    settings, words = REFUSED_SETTINGS[case]
    with pytest.raises(UsageError, match=words) as refused:
        read_adapter(write(tmp_path / "adapter", settings), untouched.core)
    assert refused.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 0},
        {"r": True},
        {"r": 10**9},
        {"r": "two"},
        {"lora_alpha": None},
        {"lora_alpha": 1e300},
        {"use_rslora": "yes"},
        {"fan_in_fan_out": 3},
        {"rank_pattern": [1]},
        {"rank_pattern": {"c_proj": 2.5}},
        {"alpha_pattern": {f"m{i}": 1 for i in range(300)}},
        {"r": 3},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    settings: dict[str, Any], untouched: Engine, tmp_path: Path
) -> None:
    with pytest.raises(StackError, match="adapter_"):
        read_adapter(write(tmp_path / "adapter", settings), untouched.core)


@pytest.mark.parametrize("text", ["", "[]", "{", "NaN", '{"peft_type": "LORA", "r": NaN}', "[" * 9999, '{"r":1,"r":2}'])
def test_a_configuration_that_is_not_json_is_refused(text: str, untouched: Engine, tmp_path: Path) -> None:
    write(tmp_path / "adapter")
    (tmp_path / "adapter" / CONFIG).write_text(text)
    with pytest.raises(StackError, match=r"adapter_config\.json"):
        read_adapter(tmp_path / "adapter", untouched.core)


FOREIGN_TENSORS = {
    "embedding": ("transformer.wte.lora_embedding_A", "embeddings"),
    "magnitude": (f"{MODULE}.lora_magnitude_vector.weight", "DoRA"),
    "bias": (f"{MODULE}.lora_B.bias", "biases"),
    "module": ("lm_head.modules_to_save.weight", "whole modules"),
}


@pytest.mark.parametrize("case", FOREIGN_TENSORS)
def test_tensors_beside_the_factors_are_refused(case: str, untouched: Engine, tmp_path: Path) -> None:
    name, words = FOREIGN_TENSORS[case]
    write(tmp_path / "adapter", None, **{f"base_model.model.{name}": torch.zeros(2, 2)})
    with pytest.raises(UsageError, match=words):
        read_adapter(tmp_path / "adapter", untouched.core)


A, B = f"{KEY}.lora_A.weight", f"{KEY}.lora_B.weight"
BAD_TENSORS: dict[str, dict[str, torch.Tensor]] = {
    "not a factor": {"base_model.model.lm_head.weight": torch.zeros(2, 2)},
    "a strange name": {"../../etc/passwd": torch.zeros(2, 2)},
    "an escape": {f"base_model.model.{MODULE}\x1b[31m.lora_A.weight": torch.zeros(2, 2)},
    "no counterpart": {"base_model.model.transformer.h.2.mlp.c_proj.lora_A.weight": torch.zeros(2, D_IN)},
    "not finite": {A: torch.full((2, D_IN), float("nan"))},
    "an infinity in half": {A: torch.full((2, D_IN), 1e5).half()},
    "too wide": {A: torch.zeros(2, D_IN, dtype=torch.float64)},
    "whole numbers": {A: torch.zeros(2, D_IN, dtype=torch.int32)},
    "not a matrix": {A: torch.zeros(2, D_IN, 1)},
    "ranks disagree": {A: torch.zeros(3, D_IN)},
    "overflow by scale": {B: torch.full((D_OUT, 2), 3e38)},
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_factors_that_are_none_are_refused(case: str, untouched: Engine, tmp_path: Path) -> None:
    write(tmp_path / "adapter", {"lora_alpha": 40}, **BAD_TENSORS[case])
    with pytest.raises(StackError, match=r"adapter_model\.safetensors") as refused:
        read_adapter(tmp_path / "adapter", untouched.core)
    assert "\x1b" not in refused.value.message


def test_a_module_that_is_not_there_is_another_base(untouched: Engine, tmp_path: Path) -> None:
    other = "base_model.model.model.layers.0.mlp.down_proj.lora"
    write(tmp_path / "a", None, **{f"{other}_A.weight": torch.zeros(2, 4), f"{other}_B.weight": torch.zeros(4, 2)})
    with pytest.raises(BaseMismatch, match=r"no module 'model\.layers"):
        read_adapter(tmp_path / "a", untouched.core)
    write(tmp_path / "b", None, **{A: torch.zeros(2, 7)})
    with pytest.raises(BaseMismatch, match="another shape"):
        read_adapter(tmp_path / "b", untouched.core)


def test_a_head_that_is_the_embedding_is_refused(untouched: Engine, tmp_path: Path) -> None:
    head = "base_model.model.lm_head.lora"
    write(tmp_path / "a", None, **{f"{head}_A.weight": torch.zeros(2, 32), f"{head}_B.weight": torch.zeros(620, 2)})
    with pytest.raises(BaseMismatch, match="also that of another module"):
        read_adapter(tmp_path / "a", untouched.core)


def test_an_embedding_or_a_norm_is_no_linear_module(untouched: Engine, tmp_path: Path) -> None:
    for name in ("wte", "ln_f"):
        key = f"base_model.model.transformer.{name}.lora"
        write(tmp_path / name, None, **{f"{key}_A.weight": torch.zeros(2, 4), f"{key}_B.weight": torch.zeros(4, 2)})
        with pytest.raises(UsageError, match="no linear module"):
            read_adapter(tmp_path / name, untouched.core)


def test_an_update_too_large_for_float16_is_refused(small: Path, tmp_path: Path) -> None:
    engine = open_on(small, tmp_path / "stack", "float16")
    before = weight_bytes(engine)
    write(tmp_path / "adapter", None, **{A: torch.full((2, D_IN), 300.0), B: torch.full((D_OUT, 2), 300.0)})
    with pytest.raises(EditError, match="not be finite"):
        read_adapter(tmp_path / "adapter", engine.core)
    assert weight_bytes(engine) == before
    engine.close()


def link(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to(folder.parent / "elsewhere")


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def huge(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(MAX_ADAPTER + 1)


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-3])


def long_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 2**62) + b"{}")


def no_update(folder: Path) -> None:
    save_file({}, folder / WEIGHTS)


def large_configuration(folder: Path) -> None:
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 2, "auto_mapping": "x" * 2_000_000}))


def folder_instead(folder: Path) -> None:
    (folder / CONFIG).unlink()
    (folder / CONFIG).mkdir()


def missing(folder: Path) -> None:
    (folder / CONFIG).unlink()


TRICKS: dict[Callable[[Path], None], type[Exception]] = {
    link: StackError,
    pickled: UsageError,
    huge: StackError,
    cut: StackError,
    long_header: StackError,
    no_update: StackError,
    large_configuration: StackError,
    folder_instead: StackError,
    missing: UsageError,
}


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)
def test_files_that_are_not_what_they_seem_are_refused(
    trick: Callable[[Path], None], untouched: Engine, tmp_path: Path
) -> None:
    trick(write(tmp_path / "adapter"))
    with pytest.raises(TRICKS[trick]):
        read_adapter(tmp_path / "adapter", untouched.core)


def test_more_modules_than_an_edit_takes_are_refused(untouched: Engine, tmp_path: Path) -> None:
    many = {f"base_model.model.m{i}.lora_{x}.weight": torch.zeros(2, 2) for i in range(256) for x in "AB"}
    write(tmp_path / "adapter", None, **many)
    with pytest.raises((UsageError, StackError), match="more than"):
        read_adapter(tmp_path / "adapter", untouched.core)


def test_reading_moves_nothing(untouched: Engine, tmp_path: Path) -> None:
    edit, factors = read_adapter(write(tmp_path / "adapter"), untouched.core)
    assert isinstance(factors[0], Factors)
    assert edit.id == ""
