"""The module that an edit changes is found by structure, in both orientations, or refused in words."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, BartConfig, BartForConditionalGeneration, PreTrainedModel

from tests.zoo import EXPERTS, FAMILIES, GROUPED_HEADS, HYBRIDS, built, tiny
from workbench.errors import ModelError
from workbench.models.families import EditSite, decoder_blocks, edit_site, editable_layers, layer_count
from workbench.models.load import LoadedModel
from workbench.models.profiles import profile_of, shipped_profiles

SITES = {
    "gpt2": "transformer.h.1.mlp.c_proj",
    "gpt_bigcode": "transformer.h.1.mlp.c_proj",
    "gptj": "transformer.h.1.mlp.fc_out",
    "codegen": "transformer.h.1.mlp.fc_out",
    "gpt_neo": "transformer.h.1.mlp.c_proj",
    "gpt_neox": "gpt_neox.layers.1.mlp.dense_4h_to_h",
    "gpt_neox_sequential": "gpt_neox.layers.1.mlp.dense_4h_to_h",
    "opt": "model.decoder.layers.1.fc2",
    "opt_post_norm": "model.decoder.layers.1.fc2",
    "bloom": "transformer.h.1.mlp.dense_4h_to_h",
    "mpt": "transformer.blocks.1.ffn.down_proj",
    "falcon": "transformer.h.1.mlp.dense_4h_to_h",
    "falcon_grouped": "transformer.h.1.mlp.dense_4h_to_h",
    "falcon_sequential": "transformer.h.1.mlp.dense_4h_to_h",
    "phi": "model.layers.1.mlp.fc2",
    "starcoder2": "model.layers.1.mlp.c_proj",
    "persimmon": "model.layers.1.mlp.dense_4h_to_h",
    "xglm": "model.layers.1.fc2",
    "biogpt": "biogpt.layers.1.fc2",
    "qwen2_moe": "model.layers.1.mlp.shared_expert.down_proj",
}
"""Where the down-projection of layer 1 is; of all others it is Llama's."""
LLAMA = "model.layers.1.mlp.down_proj"
D_IN = {"bloom": 128, "mpt": 128}
"""Where it is not 48."""


@cache
def shared(family: str) -> PreTrainedModel:
    """Read only."""
    return tiny(family)


@cache
def other(kind: str) -> PreTrainedModel:
    """A model of a kind that is not in the zoo. Read only."""
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    return built(kind, OTHERS[kind])


OTHERS: dict[str, dict[str, Any]] = {
    "mixtral": EXPERTS,
    "qwen3_moe": EXPERTS,
    "gpt_oss": EXPERTS,
    "granitemoe": EXPERTS,
    "olmoe": EXPERTS,
    "jamba": {
        **EXPERTS,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "mamba": {**GROUPED_HEADS, "state_size": 4},
    "rwkv": {**GROUPED_HEADS, "attention_hidden_size": 32},
    "bert": GROUPED_HEADS,
    "xlnet": {"vocab_size": 620, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
    "ctrl": {"vocab_size": 620, "n_embd": 32, "n_layer": 2, "n_head": 4, "dff": 48, "n_positions": 96},
    "openai-gpt": {"vocab_size": 620, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96},
    "recurrent_gemma": {**GROUPED_HEADS, "lru_width": 32, "attention_window_size": 8},
    "bart": {"vocab_size": 620, "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_down_projection_is_found_and_used_once_a_pass(family: str) -> None:
    model, d_in = shared(family), D_IN.get(family, 48)
    site = edit_site(model, 1)
    layout = "in,out" if family == "gpt2" else "out,in"
    assert site == EditSite(1, SITES.get(family, LLAMA), layout, d_in, 32)  # type: ignore[arg-type]
    assert site.weight(model).shape == ((d_in, 32) if layout == "in,out" else (32, d_in))
    assert layer_count(model) == len(decoder_blocks(model)) == 4
    assert editable_layers(model) == (0, 1, 2, 3)
    seen: list[tuple[int, int]] = []
    handle = site.linear(model).register_forward_hook(lambda _, i, o: seen.append((i[0].shape[-1], o.shape[-1])))
    with torch.no_grad():
        model(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
    handle.remove()
    assert seen == [(d_in, 32)]


@pytest.mark.parametrize(
    ("family", "module", "layers"),
    [
        ("bamba", "feed_forward.down_proj", (0, 1, 2, 3)),
        ("falcon_h1", "feed_forward.down_proj", (0, 1, 2, 3)),
        ("granite_hybrid", "shared_mlp.output_linear", (0, 1, 2, 3)),
        ("nemotron_h", "mixer.down_proj", (1, 3)),
        ("lfm2", "feed_forward.w2", (0, 1, 2, 3)),
        ("olmo_hybrid", "mlp.down_proj", (0, 1, 2, 3)),
    ],
)
def test_it_is_found_in_layers_that_are_no_attention(family: str, module: str, layers: tuple[int, ...]) -> None:
    if family not in HYBRIDS:
        pytest.skip(f"this transformers has no {family}")
    assert editable_layers(shared(family)) == layers
    assert edit_site(shared(family), 1) == EditSite(1, f"model.layers.1.{module}", "out,in", 48, 32)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gpt2", {"n_inner": 32}),
        ("gptj", {"n_inner": 32}),
        ("gpt_neox", {"intermediate_size": 32}),
        ("opt", {"ffn_dim": 32}),
        ("phi", {"intermediate_size": 32}),
        ("llama", {"intermediate_size": 32}),
        ("gemma2", {"intermediate_size": 32}),
        ("phi3", {"intermediate_size": 32}),
        ("phi3", {"intermediate_size": 32, "num_key_value_heads": 4}),
    ],
)
def test_it_is_found_where_attention_and_mlp_have_maps_of_one_shape(family: str, changes: dict[str, Any]) -> None:
    site = edit_site(tiny(family, **changes), 1)
    assert (site.module, site.d_in, site.d_out) == (SITES.get(family, LLAMA), 32, 32)


def test_an_attention_whose_maps_have_the_shapes_of_a_gated_mlp_is_not_taken_for_one() -> None:
    """4 heads and 2 keys and values a token: 32 to 64 and back from 32, as a gate and an up-projection of 32."""
    model = tiny("phi3", intermediate_size=32)
    shapes = {name: tuple(weight.shape) for name, weight in decoder_blocks(model)[0].named_parameters()}
    assert shapes["self_attn.qkv_proj.weight"] == shapes["mlp.gate_up_proj.weight"]
    assert shapes["self_attn.o_proj.weight"] == shapes["mlp.down_proj.weight"]
    assert edit_site(model, 0).module == "model.layers.0.mlp.down_proj"


def test_maps_of_other_names_are_found_by_their_shapes() -> None:
    site = edit_site(other("ctrl"), 1)
    assert (site.module, site.d_in, site.d_out) == ("transformer.h.1.ffn.2", 48, 32)


@pytest.mark.parametrize("layer", [-1, 4, 99])
def test_a_layer_that_is_not_there_is_said_with_the_range(layer: int) -> None:
    with pytest.raises(ModelError, match=f"no layer {layer}") as caught:
        edit_site(shared("gpt2"), layer)
    assert "0 to 3" in caught.value.hint


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "gpt_oss", "granitemoe", "olmoe"])
def test_a_mixture_of_experts_is_refused_in_words(kind: str) -> None:
    model = other(kind)
    assert layer_count(model) == 4
    assert editable_layers(model) == ()
    with pytest.raises(ModelError, match="Layer 0 is a mixture of experts") as caught:
        edit_site(model, 0)
    assert "No layer of this model" in caught.value.hint


def test_experts_that_all_tokens_share_can_be_edited_and_so_can_dense_layers_before_them() -> None:
    sites = [edit_site(shared("deepseek_v3"), layer).module for layer in range(4)]
    assert sites == [
        "model.layers.0.mlp.down_proj",
        "model.layers.1.mlp.down_proj",
        "model.layers.2.mlp.shared_experts.down_proj",
        "model.layers.3.mlp.shared_experts.down_proj",
    ]


def test_the_dense_layers_of_a_mixed_model_can_be_edited_and_are_named_where_another_is_asked_for() -> None:
    model = other("jamba")
    assert editable_layers(model) == (0, 2)
    assert edit_site(model, 2).module == "model.layers.2.feed_forward.down_proj"
    with pytest.raises(ModelError, match="Layer 1 is a mixture of experts") as caught:
        edit_site(model, 1)
    assert caught.value.hint == "Choose another layer: 0, 2."


@pytest.mark.parametrize("kind", ["mamba", "rwkv"])
def test_a_model_without_mlps_is_refused_in_words(kind: str) -> None:
    assert layer_count(other(kind)) == 4
    with pytest.raises(ModelError, match="Layer 0 has no MLP") as caught:
        edit_site(other(kind), 0)
    assert "No layer of this model" in caught.value.hint


def test_an_encoder_decoder_and_half_of_one_are_refused_in_words() -> None:
    whole = BartForConditionalGeneration(BartConfig(**OTHERS["bart"], encoder_layers=1, encoder_attention_heads=4))
    for model in (whole, other("bart")):
        with pytest.raises(ModelError, match="is an encoder-decoder, or half of one"):
            edit_site(model, 0)


@pytest.mark.parametrize("kind", ["bert", "xlnet"])
def test_a_model_that_reads_ahead_is_refused_in_words(kind: str) -> None:
    with pytest.raises(ModelError, match="reads its text in both directions"):
        edit_site(other(kind), 0)


@pytest.mark.parametrize(
    ("kind", "why"), [("openai-gpt", "keeps no keys and values"), ("recurrent_gemma", "in its own modules")]
)
def test_a_model_that_cannot_go_on_from_what_it_has_read_is_refused_in_words(kind: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        edit_site(other(kind), 0)


def test_of_a_model_that_sees_the_decoder_of_text_is_edited() -> None:
    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    settings = {"text_config": GROUPED_HEADS, "vision_config": {**tower, "image_size": 32, "patch_size": 16}}
    model = built("gemma3", settings)
    assert layer_count(model) == 4
    assert edit_site(model, 3).module == "model.language_model.layers.3.mlp.down_proj"


def test_an_unknown_structure_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match="Sequential has no decoder blocks of a known kind"):
        edit_site(nn.Sequential(nn.Linear(2, 2)), 0)


class Packed(nn.Module):
    """A linear map as quantisers make them: no weight under its usual name."""

    def __init__(self, like: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = like.in_features, like.out_features
        self.register_buffer("qweight", torch.zeros(8, dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def eight_bits(mlp: nn.Module) -> None:
    mlp.get_submodule("down_proj").weight = nn.Parameter(torch.zeros(32, 48, dtype=torch.int8), requires_grad=False)


def four_bits(mlp: nn.Module) -> None:
    mlp.get_submodule("down_proj").weight = nn.Parameter(
        torch.zeros(32 * 48 // 2, 1, dtype=torch.uint8), requires_grad=False
    )


def packed(mlp: nn.Module) -> None:
    for name in ("gate_proj", "up_proj", "down_proj"):
        setattr(mlp, name, Packed(getattr(mlp, name)))


@pytest.mark.parametrize("quantise", [eight_bits, four_bits, packed])
def test_a_quantised_weight_is_refused_in_words(quantise: Any) -> None:
    model = tiny("llama")
    quantise(decoder_blocks(model)[0].get_submodule("mlp"))
    with pytest.raises(ModelError, match="layer 0 is quantised") as caught:
        edit_site(model, 0)
    assert "'mlp.down_proj'" in caught.value.hint
    assert "choose another layer: 1 to 3" in caught.value.hint
    assert editable_layers(model) == (1, 2, 3)
    assert edit_site(model, 1).d_in == 48


def test_a_site_of_another_model_is_refused_in_words() -> None:
    site = edit_site(shared("llama"), 1)
    with pytest.raises(ModelError, match="no module"):
        site.weight(shared("gpt2"))
    with pytest.raises(ModelError, match="is not 32 x 48"):
        site.weight(tiny("llama", intermediate_size=40))


def test_a_guessed_layer_is_one_that_can_be_edited(tmp_path: Path) -> None:
    model = built("jamba", {**OTHERS["jamba"], "num_hidden_layers": 6})
    loaded = SimpleNamespace(model=model, name="mixed", folder=tmp_path, fingerprint="0")
    assert editable_layers(model) == (0, 2, 4)
    assert profile_of(cast("LoadedModel", loaded), 6).recipe.layer in (0, 2)


def test_a_model_that_keeps_one_layer_in_full_is_edited_there(tmp_path: Path) -> None:
    model = tiny("llama")
    for layer in (0, 1, 2):
        four_bits(decoder_blocks(model)[layer].get_submodule("mlp"))
    loaded = cast("LoadedModel", SimpleNamespace(model=model, name="lean", folder=tmp_path, fingerprint="0"))
    assert profile_of(loaded, 4).recipe.layer == 3
    shipped = shipped_profiles() / "llama-2-7b.json"
    (tmp_path / "editing_profile.json").write_text(shipped.read_text().replace('"layer": 5', '"layer": 1'))
    assert profile_of(loaded, 4).recipe.layer == 1  # who says so for this very model is not overruled
