"""Which model it is, where it runs, and what is said when it cannot."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.making import PARITY, drain, make_model
from workbench.errors import DeviceError, ModelError, UsageError
from workbench.events import Warning  # noqa: A004  the wire's word
from workbench.models.families import edit_site
from workbench.models.fingerprint import base_fingerprint
from workbench.models.held_out import HELD_OUT, held_out_lines
from workbench.models.load import LoadedModel, load_model
from workbench.models.profile_file import ModelFacts
from workbench.models.profiles import PROFILE, find_profile, profile_by_name
from workbench.models.second_moment import accumulate_second_moment, read_second_moment, second_moment_path
from workbench.stack.place import default_stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


def load(name: Path | str, device: str = "cpu", dtype: str = "auto") -> LoadedModel:
    return drain(load_model(str(name), device, dtype))[1]


def test_the_fingerprint_is_the_same_however_the_weights_are_sharded(folder: Path) -> None:
    whole = base_fingerprint(folder)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({n: tensors[n] for n in held}, folder / shard, metadata={"format": "pt"})
    (folder / "model.safetensors").unlink()
    weight_map = {n: shard for shard, held in shards.items() for n in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert base_fingerprint(folder) == whole


def test_one_changed_bit_is_another_base(folder: Path) -> None:
    before = base_fingerprint(folder)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert base_fingerprint(folder) != before


def test_every_dtype_has_the_same_fingerprint(folder: Path) -> None:
    assert load(folder).fingerprint == load(folder, dtype="bfloat16").fingerprint
    assert load(folder, dtype="float16").dtype == torch.float16


@pytest.mark.parametrize("damage", [b"", b"\xff" * 8, b"\x10\0\0\0\0\0\0\0{not json at all", b"\x02\0\0\0\0\0\0\0[]"])
def test_a_damaged_weight_file_is_said(folder: Path, damage: bytes) -> None:
    (folder / "model.safetensors").write_bytes(damage)
    with pytest.raises(ModelError, match="damaged"):
        load(folder)


def test_a_truncated_weight_file_is_said(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="damaged"):
        load(folder)


def test_a_shard_outside_the_folder_is_not_followed(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"x": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="missing"):
        load(folder)


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        load(tmp_path)


def test_pickle_weights_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no safetensors"):
        load(folder)


def test_an_unknown_model_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="There is no model 'no/such-model'"):
        load("no/such-model")


def test_a_device_that_is_not_there_is_said(folder: Path) -> None:
    with pytest.raises(DeviceError, match="no device"):
        load(folder, device="toaster")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no CUDA"):
            load(folder, device="cuda")
    with pytest.raises(UsageError, match="dtype"):
        load(folder, dtype="int8")


def test_the_second_moment_is_the_mean_of_outer_products(folder: Path) -> None:
    loaded = load(folder)
    site = edit_site(loaded.model, 1)
    lines = ["Vienna is the old capital city", "Clara plays the piano in the golden museum", "Clara"]
    keys: list[torch.Tensor] = []
    hook = site.linear(loaded.model).register_forward_pre_hook(lambda _, inputs: keys.append(inputs[0][0]))
    for line in lines:
        loaded.model(**loaded.tokenizer(line, return_tensors="pt"))
    hook.remove()
    k = torch.cat(keys).double()

    def run(steps: Generator[int, None, tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, int]:
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                value: tuple[torch.Tensor, int] = stop.value
                return value

    moment, seen = run(accumulate_second_moment(loaded.model, loaded.tokenizer, site, lines, batch=2))
    assert seen == len(k)
    torch.testing.assert_close(moment.double(), k.T @ k / len(k), rtol=1e-5, atol=1e-7)


def test_a_second_moment_of_another_base_is_refused(folder: Path) -> None:
    loaded = load(folder)
    site = edit_site(loaded.model, 1)
    assert read_second_moment(folder, site, loaded.fingerprint) is not None
    with pytest.raises(ModelError, match="another base"):
        read_second_moment(folder, site, "0" * 64)
    path = second_moment_path(folder, site)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        read_second_moment(folder, site, loaded.fingerprint)


def test_a_profile_that_makes_no_sense_is_said(folder: Path) -> None:
    small = ModelFacts("small", "gpt2", 4)
    assert find_profile(folder, small).known
    for text in ("not json", '{"layer": -1}', '{"colour": "red"}', "[]"):
        (folder / PROFILE).write_text(text)
        with pytest.raises(ModelError, match="cannot be used"):
            find_profile(folder, small)
    (folder / PROFILE).unlink()
    assert not find_profile(folder, small).known


def test_the_parity_models_load_as_what_they_are() -> None:
    assert load(PARITY / "llama" / "model").family == "llama"


def test_a_checkpoint_that_lacks_a_tensor_is_refused_and_not_filled_with_random_numbers(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("h.1.mlp.c_proj.weight"))
    save_file({n: t for n, t in tensors.items() if n != lost}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"h\.1\.mlp\.c_proj\.weight is missing"):
        load(folder)


@pytest.mark.parametrize(
    "config", ["[]", "3", '{"model_type": []}', '{"model_type": "gpt2", "n_layer": "four"}', "[" * 9_999]
)
def test_a_strange_configuration_is_said(folder: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder)


def test_a_weight_file_that_only_looks_sound_is_said(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data.replace(b'"F32"', b'"Q32"', 1))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder)


@pytest.mark.parametrize("shard", [3, None, "a\0b", "x" * 300, ["a"]])
def test_an_index_that_names_no_file_is_said(folder: Path, shard: object) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": shard}}))
    with pytest.raises(ModelError, match="missing"):
        load(folder)


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/model", "a\0b"])
def test_a_name_that_cannot_be_a_folder_is_an_unknown_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="There is no model"):
        load(name)
    default_stack(name)


def test_held_out_text_that_is_no_text_is_said(folder: Path) -> None:
    (folder / HELD_OUT).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        held_out_lines(folder)


@pytest.mark.parametrize("samples", ["1e999", "[" * 9_999, '"many"', "null"])
def test_a_second_moment_that_says_nonsense_of_itself_is_refused(folder: Path, samples: str) -> None:
    loaded = load(folder)
    site = edit_site(loaded.model, 1)
    path = second_moment_path(folder, site)
    about = f'{{"samples": {samples}, "base": "{loaded.fingerprint}"}}'
    save_file(load_file(path), path, metadata={"workbench": about})
    with pytest.raises(ModelError, match="damaged"):
        read_second_moment(folder, site, loaded.fingerprint)


@pytest.mark.parametrize("part", [{"n_layer": 10**30}, {"text_config": {"num_hidden_layers": 10**12}}])
def test_a_configuration_of_endless_layers_is_refused_before_one_is_made(folder: Path, part: dict[str, object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | part))
    with pytest.raises(ModelError, match="more layers than any model has"):
        load(folder)
    with pytest.raises(ModelError, match="more layers than any model has"):
        profile_by_name(str(folder))


@pytest.mark.parametrize(("dtype", "slow"), [("float16", True), ("bfloat16", False), ("float32", False)])
def test_half_precision_that_a_cpu_is_slow_in_is_said(folder: Path, dtype: str, slow: bool) -> None:
    events = list(load_model(str(folder), "cpu", dtype))
    said = [event.message for event in events if isinstance(event, Warning)]
    assert any("slow in float16" in message for message in said) == slow
