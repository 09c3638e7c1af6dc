"""Editing profiles as files: which one is in force, what may stand in one, and what is said when it is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from workbench.edits import Recipe
from workbench.errors import ModelError
from workbench.models.profile_file import MAX_BYTES, ModelFacts, Profile, read_profile_file, recipe_digest
from workbench.models.profiles import (
    PROFILE,
    described,
    facts_of,
    find_profile,
    profile_text,
    shipped_profiles,
    user_profiles,
)
from workbench.recipes import chosen_recipe

XL = ModelFacts("openai-community/gpt2-xl", "gpt2", 48, 1600, None, 50257, lambda: "f" * 64)

PUBLISHED = {
    "openai-community/gpt2-medium": (ModelFacts("", "gpt2", 24, 1024, None, 50257), 8),
    "openai-community/gpt2-large": (ModelFacts("", "gpt2", 36, 1280, None, 50257), 12),
    "openai-community/gpt2-xl": (XL, 17),
    "EleutherAI/gpt-j-6B": (ModelFacts("", "gptj", 28, 4096, None, 50400), 5),
    "EleutherAI/gpt-neox-20b": (ModelFacts("", "gpt_neox", 44, 6144, 24576, 50432), 15),
    "meta-llama/Llama-2-7b-hf": (ModelFacts("", "llama", 32, 4096, 11008, 32000), 5),
    "meta-llama/Meta-Llama-3-8B": (ModelFacts("", "llama", 32, 4096, 14336, 128256), 5),
    "meta-llama/Llama-3.2-1B-Instruct": (ModelFacts("", "llama", 16, 2048, 8192, 128256), 5),
    "meta-llama/Llama-3.2-3B": (ModelFacts("", "llama", 28, 3072, 8192, 128256), 5),
    "huggyllama/llama-13b": (ModelFacts("", "llama", 40, 5120, 13824, 32000), 10),
    "mistralai/Mistral-7B-v0.1": (ModelFacts("", "mistral", 32, 4096, 14336, 32000), 5),
    "Qwen/Qwen2.5-7B": (ModelFacts("", "qwen2", 28, 3584, 18944, 152064), 5),
    "tiiuae/falcon-7b": (ModelFacts("", "falcon", 32, 4544, None, 65024), 5),
    "bigscience/bloom-7b1": (ModelFacts("", "bloom", 30, 4096, None, 250880), 5),
}


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    return made


def user_file(document: object, name: str = "mine.json") -> Path:
    """Writes a profile into the user's folder."""
    path = user_profiles() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def mine(**match: Any) -> dict[str, Any]:
    return {"match": match or {"model_type": "gpt2"}, "recipe": {"layer": 3, "lr": 0.25}}


@pytest.mark.parametrize("checkpoint", PUBLISHED)
def test_a_published_checkpoint_gets_its_published_layer(checkpoint: str, folder: Path) -> None:
    model, layer = PUBLISHED[checkpoint]
    found = find_profile(folder, model)
    assert (found.origin, found.recipe.layer, found.recipe.method) == ("shipped", layer, "r-rome")
    assert checkpoint in found.checkpoint or "Qwen" in found.checkpoint


def test_each_that_ships_says_where_its_numbers_come_from_and_is_the_one_its_model_gets(folder: Path) -> None:
    files = sorted(shipped_profiles().glob("*.json"))
    assert len(files) == len(PUBLISHED)
    reached = {find_profile(folder, model).name for model, _ in PUBLISHED.values()}
    for path in files:
        profile = read_profile_file(path, "shipped")
        assert "hparams" in profile.source
        assert "arXiv" in profile.source or "FastEdit" in profile.source
        assert profile.checkpoint
        assert profile.name == path.stem
        assert profile.name in reached


def test_the_nearest_place_wins(folder: Path) -> None:
    """What a person found for a model comes before what its maker found, and that before what was published."""
    assert find_profile(folder, XL).origin == "shipped"
    (folder / PROFILE).write_text('{"layer": 7}', encoding="utf-8")
    found = find_profile(folder, XL)
    assert (found.origin, found.recipe.layer, found.path) == ("model", 7, folder / PROFILE)
    user_file(mine())
    assert find_profile(folder, XL).recipe == Recipe(layer=3, lr=0.25)
    assert find_profile(folder, XL).origin == "user"


def test_in_the_users_folder_the_first_that_fits_wins_by_name_of_file(folder: Path) -> None:
    user_file({**mine(), "recipe": {"layer": 9}}, "b.json")
    user_file({**mine(), "recipe": {"layer": 4}}, "a.json")
    user_file({**mine(model_type="llama"), "recipe": {"layer": 2}}, "0.json")
    assert find_profile(folder, XL).recipe.layer == 4


@pytest.mark.parametrize(
    ("name", "method", "layers", "weight"),
    [
        ("openai-community/gpt2-xl", "memit", (13, 14, 15, 16, 17), 20_000.0),
        ("openai-community/gpt2-xl", "emmet", (17,), 1_000.0),
        ("EleutherAI/gpt-j-6B", "memit", (3, 4, 5, 6, 7, 8), 15_000.0),
        ("EleutherAI/gpt-j-6B", "emmet", (5,), 10_000.0),
        ("meta-llama/Llama-2-7b-hf", "memit", (5,), 1.0),
    ],
)
def test_batched_methods_have_their_published_layers_and_weights(
    name: str, method: str, layers: tuple[int, ...], weight: float, folder: Path
) -> None:
    found = find_profile(folder, PUBLISHED[name][0])
    chosen = chosen_recipe(found.recipe, {"method": method}, found.methods)
    assert (chosen.edited_layers, chosen.moment_weight) == (layers, weight)
    assert chosen.lr == found.recipe.lr


def test_a_profile_keeps_what_it_has_of_other_methods(folder: Path) -> None:
    methods = {"memit": {"layers": [1, 2], "moment_weight": 5.0}, "rome": {"clamp_factor": 2.0}}
    user_file({**mine(), "methods": methods})
    found = find_profile(folder, XL)
    assert found.methods == methods
    assert json.loads(profile_text(found))["methods"] == methods
    assert '"layers": [1, 2]' in profile_text(found)
    assert chosen_recipe(found.recipe, {"method": "rome"}, found.methods).clamp_factor == 2.0
    assert "methods" not in found.recipe.to_json()


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ([], "not an object"),
        ({"memit": 3}, "not an object"),
        ({"ft": {}}, "no place for 'ft'"),
        ({"imported": {}}, "no place for 'imported'"),
        ({"r-rome": {}}, "no place for 'r-rome'"),
        ({"memit": {"method": "emmet"}}, "a method of its own"),
        ({"memit": {"mu": 0.5}}, "mu is no setting of memit"),
        ({"emmet": {"layers": [1, 2]}}, "layers is no setting of emmet"),
        ({"emmet": {"v_lr": 1}}, "unknown setting"),
        ({"memit": {"layers": [3, 48]}}, "names layer 48; the model has 48"),
    ],
)
def test_what_a_profile_cannot_have_of_a_method_is_named(methods: object, said: str, folder: Path) -> None:
    user_file({**mine(), "methods": methods})
    with pytest.raises(ModelError, match=said):
        find_profile(folder, XL)


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({"model_type": "gpt2", "layers": 48}, True),
        ({"model_type": "gpt2", "layers": 24}, False),
        ({"hidden_size": 1600, "vocab_size": 50257}, True),
        ({"intermediate_size": 6400}, False),
        ({"name": ["*/GPT2-*"]}, True),
        ({"name": ["gpt2-xl"]}, True),
        ({"name": ["gpt2", "*medium*"]}, False),
        ({"fingerprint": "f" * 64}, True),
        ({"fingerprint": "e" * 64}, False),
        ({"fingerprint": "f" * 64, "layers": 47}, False),
    ],
)
def test_every_stated_fact_must_hold(match: dict[str, Any], fits: bool, folder: Path) -> None:
    user_file({**mine(**match), "recipe": {"layer": 3}})
    assert (find_profile(folder, XL).origin == "user") is fits


def test_the_weights_are_hashed_only_for_a_profile_that_all_else_fits(folder: Path) -> None:
    asked: list[str] = []

    def fingerprint() -> str:
        asked.append("once")
        return "f" * 64

    model = ModelFacts("x", "gpt2", 48, 1600, None, None, fingerprint)
    user_file(mine(fingerprint="f" * 64, model_type="llama"))
    assert find_profile(folder, model).name == "gpt2-xl"
    assert not asked
    user_file(mine(fingerprint="f" * 64, model_type="gpt2"))
    assert find_profile(folder, model).origin == "user"
    assert asked


def test_an_unknown_model_gets_a_guess_that_says_it_is_one(folder: Path) -> None:
    found = find_profile(folder, ModelFacts("x", "unheard-of", 12))
    assert not found.known
    assert found.recipe == Recipe(layer=3)
    assert "guess" in described(found)


def test_a_copy_that_a_person_changes_is_taken(folder: Path) -> None:
    shipped = read_profile_file(shipped_profiles() / "gpt2-xl.json", "shipped")
    document = json.loads(profile_text(shipped))
    document["recipe"]["layer"] = 20
    user_file(document)
    assert find_profile(folder, XL).recipe.layer == 20


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    recipe = Recipe(layer=5, nll_stop=0.25, template_lengths=((3, 2), (8, 4)), second_moment=False)
    profile = Profile("mine", recipe, {"fingerprint": "a" * 64}, "x", "y", "z", recipe_digest(recipe), "user")
    path = tmp_path / "p.json"
    path.write_text(profile_text(profile), encoding="utf-8")
    read = read_profile_file(path, "user")
    assert (read.recipe, read.match, read.to_json()) == (recipe, profile.match, profile.to_json())
    assert read.untouched
    path.write_text(profile_text(profile).replace('"layer": 5', '"layer": 6'), encoding="utf-8")
    assert not read_profile_file(path, "user").untouched


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("not json", "not JSON at line 1"),
        ("[]", "not a JSON object"),
        ({"recipe": {"layer": 1}}, "'match' states nothing"),
        ({"match": {}, "recipe": {"layer": 1}}, "'match' states nothing"),
        ({"match": [], "recipe": {}}, "'match' is not an object"),
        ({"match": {"colour": "red"}, "recipe": {}}, "knows no 'colour'"),
        ({"match": {"layers": "48"}, "recipe": {}}, "'match.layers' is not a number above 0"),
        ({"match": {"layers": True}, "recipe": {}}, "'match.layers' is not a number above 0"),
        ({"match": {"name": "gpt2"}, "recipe": {}}, "'match.name' is not a list of patterns"),
        ({"match": {"model_type": 3}, "recipe": {}}, "'match.model_type' is not a text"),
        ({"match": {"model_type": "x"}}, "a recipe must be a JSON object"),
        ({**mine(), "recipe": {"leyer": 3}}, "unknown setting 'leyer'"),
        ({**mine(), "recipe": {"lr": -1}}, "lr = -1.0 is out of range"),
        ({**mine(), "recipe": {"steps": "20"}}, "the setting 'steps' cannot be '20'"),
        ({**mine(), "author": "me"}, "no field 'author'"),
        ({**mine(), "source": 5}, "'source' is not a text"),
        ('{"match": {"model_type": "a", "model_type": "b"}, "recipe": {}}', "same field twice"),
        ('{"match": {"model_type": "a"}, "recipe": {"lr": NaN}}', "NaN, which is not a number"),
        ('{"match": {"model_type": "a"}, "recipe": {"lr": 1e999}}', "cannot be inf"),
        ("[" * 60_000, "nested too deeply"),
        ('{"note": ' + "9" * 5000 + "}", "too long"),
        (" " * (MAX_BYTES + 1), "larger than 64 KiB"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_field(document: object, said: str, folder: Path) -> None:
    path = user_file(document, "odd.json")
    with pytest.raises(ModelError) as caught:
        find_profile(folder, XL)
    assert "'odd.json' cannot be used" in caught.value.message
    assert said in caught.value.message
    assert str(path) in caught.value.hint
    assert len(caught.value.message) < 400


def test_bytes_that_are_no_text_and_files_that_may_not_be_read_are_said(folder: Path) -> None:
    path = user_file("x")
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(ModelError, match="not UTF-8"):
        find_profile(folder, XL)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_a_profiles_place_is_passed_over(folder: Path) -> None:
    os.mkfifo(folder / PROFILE)
    user_profiles().mkdir(parents=True)
    os.mkfifo(user_profiles() / "pipe.json")
    assert find_profile(folder, XL).origin == "shipped"


def test_a_layer_that_the_model_lacks_is_said(folder: Path) -> None:
    path = user_file(mine())
    with pytest.raises(ModelError, match="names layer 3; the model has 2") as caught:
        find_profile(folder, ModelFacts("x", "gpt2", 2))
    assert str(path) in caught.value.hint


def test_the_model_folder_may_hold_a_whole_profile(folder: Path) -> None:
    shipped = read_profile_file(shipped_profiles() / "gpt-j-6b.json", "shipped")
    (folder / PROFILE).write_text(profile_text(shipped), encoding="utf-8")
    found = find_profile(folder, XL)
    assert (found.name, found.recipe.layer, found.source) == ("gpt-j-6b", 5, shipped.source)


def test_the_users_folder_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_profiles() == tmp_path / "config" / "profiles"
    monkeypatch.delenv("WORKBENCH_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert user_profiles() == tmp_path / "xdg" / "workbench" / "profiles"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_profiles() == tmp_path / "home" / ".config" / "workbench" / "profiles"


def test_facts_are_read_from_the_configurations_of_every_published_family() -> None:
    from transformers import BloomConfig, FalconConfig, GPT2Config, GPTJConfig, GPTNeoXConfig, LlamaConfig, Qwen2Config

    configs: list[tuple[Any, tuple[str, int, int]]] = [
        (GPT2Config(n_layer=48, n_embd=1600, n_head=25), ("gpt2", 48, 1600)),
        (GPTJConfig(), ("gptj", 28, 4096)),
        (GPTNeoXConfig(), ("gpt_neox", 44, 6144)),
        (LlamaConfig(), ("llama", 32, 4096)),
        (Qwen2Config(num_hidden_layers=28, hidden_size=3584), ("qwen2", 28, 3584)),
        (FalconConfig(), ("falcon", 32, 4544)),
        (BloomConfig(n_layer=30, hidden_size=4096), ("bloom", 30, 4096)),
    ]
    for config, wanted in configs:
        facts = facts_of(config, "x")
        assert (facts.model_type, facts.layers, facts.hidden_size) == wanted
