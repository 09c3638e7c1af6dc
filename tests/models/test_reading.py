"""Loading: what is said on the way, what is kept of it, and one sentence for each thing that can be wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertLMHeadModel, LlamaConfig, LlamaForCausalLM

from tests import zoo
from tests.models.checkpoints import INDEX, WHOLE, as_pickle, events_of, in_shards, load
from workbench.errors import DeviceError, EditError, ModelError
from workbench.events import ModelLoading, Warning  # noqa: A004  the wire's word
from workbench.models import fingerprint
from workbench.models.fingerprint import base_fingerprint, keep_fingerprint, known_fingerprint
from workbench.models.kept import cache_root
from workbench.models.options import LoadOptions
from workbench.models.quantised import check_editable, keep_differentiable
from workbench.models.task import Stopped, Task

PICKLE = LoadOptions(allow_pickle=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama. Read only."""
    return zoo.save(tmp_path_factory.mktemp("reading") / "model", "llama")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "model"))


def aged(folder: Path) -> None:
    """Makes the weight files old enough for their time of change to mean something."""
    for path in folder.glob("*.safetensors"):
        os.utime(path, (1e9, 1e9))


def test_loading_says_what_it_reads_how_much_and_how_far_it_is(folder: Path) -> None:
    said = [event for event in events_of(folder)[0] if isinstance(event, ModelLoading)]
    assert any("reading" in event.stage and "MB" in event.stage for event in said)
    assert all(event.fraction is None or 0 <= event.fraction <= 1 for event in said)


def test_a_model_in_shards_is_the_same_model(folder: Path) -> None:
    whole = load(folder)
    assert len(set(in_shards(folder).values())) > 3
    sharded = load(folder)
    assert sharded.fingerprint == whole.fingerprint
    for (name, one), (_, other) in zip(whole.model.named_parameters(), sharded.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_bin_file_is_read_after_the_flag_only_and_is_the_same_base(folder: Path) -> None:
    whole = load(folder)
    as_pickle(folder)
    with pytest.raises(ModelError, match=r"only pickle files.*\.bin") as refused:
        load(folder)
    assert "--allow-pickle" in refused.value.hint
    pickled = load(folder, PICKLE)
    assert pickled.fingerprint == whole.fingerprint
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), pickled.model.parameters(), strict=True))


def test_a_half_downloaded_bin_file_is_damaged_in_words(folder: Path) -> None:
    as_pickle(folder)
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="are damaged or hold more than tensors, and are not read"):
        load(folder, PICKLE)


@pytest.mark.parametrize("bomb", [torch.zeros(1).expand(10**14), torch.zeros(3, device="meta")])
def test_a_pickled_tensor_that_is_not_all_stored_is_refused(folder: Path, bomb: torch.Tensor) -> None:
    as_pickle(folder)
    path = folder / "pytorch_model.bin"
    torch.save({**torch.load(path, weights_only=True), "more": bomb}, path)
    with pytest.raises(ModelError, match="larger than what is stored"):
        base_fingerprint(folder, allow_pickle=True)


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(tmp_path / "was-here"),)

    as_pickle(folder)
    torch.save({"x": Hostile()}, folder / "pytorch_model.bin")
    for read in (lambda: load(folder, PICKLE), lambda: base_fingerprint(folder, allow_pickle=True)):
        with pytest.raises(ModelError, match="more than tensors"):
            read()
    assert not (tmp_path / "was-here").exists()


def test_a_fingerprint_is_kept_for_as_long_as_the_files_are_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(folder)
    first = load(folder).fingerprint
    hashed: list[object] = []

    def digest(*given: object) -> str:
        hashed.append(given)
        return "0" * 64

    monkeypatch.setattr(fingerprint, "_tensor_digest", digest)
    assert load(folder).fingerprint == first
    assert not hashed, "nothing is hashed again"
    assert load(folder, LoadOptions(rehash=True)).fingerprint != first
    assert hashed, "unless it is asked for"


@pytest.mark.parametrize("odd", ["../" * 21 + "x", "z" * 64, 5])
def test_a_kept_fingerprint_that_is_none_is_not_taken(folder: Path, odd: object) -> None:
    aged(folder)
    first = load(folder).fingerprint
    (kept,) = (one for one in (cache_root() / "fingerprints").iterdir() if str(folder) in one.read_text())
    kept.write_text(kept.read_text().replace(f'"{first}"', json.dumps(odd)))
    assert known_fingerprint(folder) is None


def test_a_changed_weight_file_is_hashed_again_though_it_is_as_long(folder: Path) -> None:
    aged(folder)
    first = load(folder).fingerprint
    assert known_fingerprint(folder) == first
    data = bytearray((folder / WHOLE).read_bytes())
    data[-1] ^= 1
    (folder / WHOLE).write_bytes(data)
    assert known_fingerprint(folder) is None
    assert load(folder).fingerprint != first


def test_a_file_changed_just_now_is_not_trusted_to_stay(folder: Path) -> None:
    (folder / WHOLE).touch()
    keep_fingerprint(folder, "0" * 64)
    assert known_fingerprint(folder) is None


def test_work_that_nobody_follows_any_more_stops() -> None:
    ended: list[str] = []

    def work(tell: Callable[[int, int], None]) -> None:
        try:
            while True:
                tell(0, 1)
        except Stopped:
            ended.append("stopped")
            raise

    with Task(work) as task:
        next(task.follow("waiting"))
    assert ended == ["stopped"]


def test_a_model_named_by_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="is a file, and a model is a folder"):
        load(folder / WHOLE)


def test_a_half_downloaded_shard_says_how_much_of_it_is_there(folder: Path) -> None:
    shard = folder / sorted(set(in_shards(folder).values()))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"is damaged: it ends after [\d,]+ of [\d,]+ bytes"):
        load(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard = sorted(set(in_shards(folder).values()))[0]
    (folder / shard).unlink()
    with pytest.raises(ModelError, match=f"'{shard}' is missing"):
        load(folder)


def test_an_index_that_names_a_tensor_which_is_not_there_is_said(folder: Path) -> None:
    named = in_shards(folder)
    lost, shard = next(item for item in named.items() if "down_proj" in item[0])
    tensors = load_file(folder / shard)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, folder / shard, {"format": "pt"})
    with pytest.raises(ModelError, match=f"does not hold {lost}, which the index names"):
        load(folder)


def test_a_git_lfs_pointer_is_not_taken_for_weights(folder: Path) -> None:
    (folder / WHOLE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    with pytest.raises(ModelError, match="git-lfs pointer"):
        load(folder)


def test_a_configuration_without_weights_is_said(folder: Path) -> None:
    (folder / WHOLE).unlink()
    with pytest.raises(ModelError, match="no safetensors weights"):
        load(folder)
    (folder / INDEX).write_text('{"weight_map": {}}')
    with pytest.raises(ModelError, match="names none"):
        load(folder)


def changed(folder: Path, **settings: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_an_unknown_architecture_is_said_with_the_version_that_does_not_know_it(folder: Path) -> None:
    changed(folder, model_type="hyperbole")
    with pytest.raises(ModelError, match=r"transformers [0-9.]+ does not know"):
        load(folder)


def test_weights_of_another_size_than_the_configuration_says_are_refused_by_name(folder: Path) -> None:
    changed(folder, intermediate_size=64)
    with pytest.raises(ModelError, match=r"config\.json: model\.layers\.0.* is 32 x 48, not 32 x 64"):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("t5", "encoder-decoder"),
        ("bart", "encoder-decoder"),
        ("albert", "is no causal language model"),
        ("llava", r"\(llava\) takes vision besides text"),
        ("qwen2_audio", r"\(qwen2_audio\) takes audio besides text"),
    ],
)
def test_what_is_no_decoder_is_refused(folder: Path, kind: str, said: str) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(ModelError, match=said):
        load(folder)


def test_a_folder_without_a_tokenizer_is_said(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="no tokenizer"):
        load(folder)


def test_a_tokenizer_that_knows_no_offsets_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    with pytest.raises(ModelError, match="offsets"):
        load(folder)


def test_the_tokenizer_of_a_larger_model_is_refused(folder: Path) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    document["model"]["vocab"] |= {f"word{n}": 620 + n for n in range(40)}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match="another model's: it has 660 tokens, the model 620"):
        load(folder)


@pytest.mark.parametrize(("rows", "said"), [(1240, []), (1241, ["names only 620 of the model's 1,241 tokens"])])
def test_the_tokenizer_of_a_much_smaller_model_is_a_warning(tmp_path: Path, rows: int, said: list[str]) -> None:
    folder = zoo.save(tmp_path / "model", "llama")
    zoo.tiny("llama", vocab_size=rows).save_pretrained(folder)
    told = [e.message for e in events_of(folder)[0] if isinstance(e, Warning)]
    assert [message.partition("' ")[2].rstrip(".") for message in told] == said


def test_an_added_token_that_the_model_does_not_have_is_a_warning(folder: Path) -> None:
    tokenizer = load(folder).tokenizer
    tokenizer.add_special_tokens({"pad_token": "<nothing>"})
    tokenizer.save_pretrained(folder)
    events, loaded = events_of(folder)
    assert [e.message for e in events if isinstance(e, Warning)] == [
        "The model has no embedding for 1 of the tokenizer's added tokens, such as '<nothing>'."
    ]
    assert len(loaded.tokenizer) == 621
    assert loaded.tokenizer("a river")["input_ids"]
    for texts in ("a <nothing>", ["a river", "a <nothing>"]):
        with pytest.raises(EditError, match="no embedding for the token '<nothing>'"):
            loaded.tokenizer(texts)


@pytest.mark.parametrize(
    "quantisation",
    [
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "llm_int8_skip_modules": ["lm_head"]},
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "gptq", "bits": 4, "ignore": 5},
    ],
)
def test_a_quantised_base_is_refused_with_the_reason(folder: Path, quantisation: dict[str, object]) -> None:
    changed(folder, quantization_config=quantisation)
    with pytest.raises(ModelError, match=r"4 bits.*would be lost in rounding"):
        load(folder)


@pytest.mark.parametrize("kept", ["down_proj", "model.layers.2.mlp.down_proj", r"re:.*layers\.3\..*"])
def test_a_quantised_base_that_keeps_an_edited_module_is_not_refused_for_it(folder: Path, kept: str) -> None:
    skip = {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": ["lm_head", kept]}
    changed(folder, quantization_config=skip)
    check_editable(LlamaConfig.from_pretrained(folder), "model")


CODE = """
from transformers import BertConfig, BertLMHeadModel, LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


class Repacked(torch.nn.Linear):
    """A 4-bit map as bitsandbytes has it on some CPUs: what was once used for inference passes no gradient on."""

    support_avx512bf16_for_cpu = True
    packed = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.packed = self.packed or (self.support_avx512bf16_for_cpu and not x.requires_grad)
        return super().forward(x).detach() if self.packed else super().forward(x)


def test_gradients_pass_through_a_quantised_map_that_was_read_with_before() -> None:
    layers = torch.nn.Sequential(Repacked(4, 4), Repacked(4, 4))
    keep_differentiable(layers)
    layers(torch.ones(1, 4))
    x = torch.ones(1, 4, requires_grad=True)
    layers(x).sum().backward()
    assert x.grad is not None
    assert x.grad.norm() > 0


def test_a_model_of_another_structure_is_refused_by_the_name_it_was_asked_for(tmp_path: Path) -> None:
    small: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertLMHeadModel(BertConfig(vocab_size=99, intermediate_size=16, **small)).save_pretrained(tmp_path / "both-ways")
    with pytest.raises(ModelError, match=r"both-ways' cannot be edited: BertLMHeadModel reads its text in both dir"):
        load(tmp_path / "both-ways")


def test_code_of_the_models_own_runs_only_when_told_and_that_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    (folder / "own.py").write_text(CODE)
    changed(folder, model_type="own", auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"})
    with pytest.raises(ModelError, match="code of its own, which is not run"):
        load(folder)
    events, loaded = events_of(folder, LoadOptions(trust_remote_code=True))
    assert type(loaded.model).__name__ == "OwnModel"
    assert any(isinstance(event, Warning) and "Code that comes with" in event.message for event in events)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), RuntimeError("not enough memory: 9 bytes")]
)
def test_memory_that_runs_out_is_said_in_words(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("workbench.models.reading.AutoModelForCausalLM.from_pretrained", fails)
    with pytest.raises(DeviceError, match="does not fit on cpu"):
        load(folder)


PEAK = """
import resource, sys
from tests.models.checkpoints import load
load(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def large(folder: Path) -> Path:
    """Makes the Llama in `folder` one of 240 MB."""
    changed(folder, hidden_size=1024, intermediate_size=4096)
    with torch.device("meta"):
        shapes = LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).state_dict()
    save_file({name: torch.rand(tensor.shape) for name, tensor in shapes.items()}, folder / WHOLE, {"format": "pt"})
    return folder


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in another unit there")
def test_loading_holds_no_second_copy_of_the_weights(model: Path, folder: Path) -> None:
    size = (large(folder) / WHOLE).stat().st_size
    ran = subprocess.run([sys.executable, "-c", PEAK, model, folder], capture_output=True, text=True, check=True)
    assert size > 2e8
    assert int(ran.stdout) * 1024 < 1.25 * size
