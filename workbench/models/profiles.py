"""Which editing profile is in force for a model: the first that fits, from the nearest place to the farthest.

1. the user's folder   2. `editing_profile.json` in the model's folder   3. those that ship, in `profiles/`
4. the papers' hyper-parameters at a third of the depth, where published profiles cluster: a guess, and said to be one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.edits import Recipe
from workbench.errors import ModelError
from workbench.models.options import PLAIN, LoadOptions
from workbench.models.profile_file import ModelFacts, Origin, Profile, read_profile_file
from workbench.models.user import config_root
from workbench.recipes import chosen_recipe

if TYPE_CHECKING:
    from workbench.models.load import LoadedModel

PROFILE = "editing_profile.json"
"""The profile's name in a model's folder."""
MAX_FILES = 1000
"""Most profiles that are looked at in one folder."""


def user_profiles() -> Path:
    """The folder of the user's own."""
    return config_root() / "profiles"


def shipped_profiles() -> Path:
    """The folder of those that ship."""
    return Path(__file__).parent / "profiles"


def profile_of(loaded: LoadedModel, layers: int) -> Profile:
    """The profile in force for a loaded model of so many decoder blocks. Raises ModelError as `find_profile`.

    A guess, and a layer that was published for other weights, is moved to the nearest one that can be edited: not all
    can where there are experts or state spaces, or where the base is quantised. It is a guess then.
    """
    from workbench.models.families import editable_layers

    facts = facts_of(loaded.model.config, loaded.name, layers)
    found = find_profile(loaded.folder, replace(facts, fingerprint=lambda: loaded.fingerprint))
    wanted, there = found.recipe.layer, editable_layers(loaded.model)
    if found.origin not in ("default", "shipped") or wanted in there or not there:
        return found
    nearest = min(there, key=lambda layer: abs(layer - wanted))
    return replace(found, origin="default", recipe=replace(found.recipe, layer=nearest))


def profile_by_name(model: str, options: LoadOptions = PLAIN) -> Profile:
    """The profile in force for "atlas", a folder or a Hub name, without loading it. Raises ModelError."""
    from workbench.models.fingerprint import base_fingerprint, known_fingerprint
    from workbench.models.folder import find_model
    from workbench.models.reading import open_config

    found, pickle = find_model(model, options), options.allow_pickle
    config = open_config(found.path, model, trust_remote_code=options.trust_remote_code)
    facts = facts_of(config, found.name)

    def fingerprint() -> str:
        return known_fingerprint(found.path, allow_pickle=pickle) or base_fingerprint(found.path, allow_pickle=pickle)

    return find_profile(found.path, replace(facts, fingerprint=fingerprint))


def find_profile(folder: Path, model: ModelFacts) -> Profile:
    """The profile in force for the model whose files lie in `folder`.

    Raises:
        ModelError: a profile that comes first, or before it, cannot be read, or its layer is not there.
    """
    found = next((profile for profile in _candidates(folder) if profile.origin == "model" or profile.fits(model)), None)
    if found is None:
        return Profile("default", Recipe(layer=max(0, round(model.layers / 3) - 1)))
    named = max((found.recipe.layer, *_layers_of(found)))
    if named >= model.layers:
        raise ModelError(
            f"The editing profile '{found.name}' names layer {named}; the model has {model.layers}.",
            f"Correct {found.path}.",
        )
    return found


def _layers_of(profile: Profile) -> list[int]:
    """The last layer of each further method's recipe."""
    return [chosen_recipe(profile.recipe, {"method": m}, profile.methods).layer for m in profile.methods]


def _candidates(folder: Path) -> Iterator[Profile]:
    """All profiles there are, nearest first; a file is read only when its turn comes."""
    yield from _in_folder(user_profiles(), "user")
    if (folder / PROFILE).is_file():
        yield read_profile_file(folder / PROFILE, "model")
    yield from _in_folder(shipped_profiles(), "shipped")


def _in_folder(place: Path, origin: Origin) -> Iterator[Profile]:
    if place.is_dir():
        files = sorted(path for path in place.glob("*.json") if path.is_file())
        yield from (read_profile_file(path, origin) for path in files[:MAX_FILES])


def facts_of(config: Any, name: str, layers: int | None = None) -> ModelFacts:
    """What a transformers configuration says of its model, without a fingerprint.

    Args:
        config: a PretrainedConfig; of one with several parts, its text part counts.
        name: as the model was asked for.
        layers: its decoder blocks, if they were counted.

    Raises:
        ModelError: the configuration does not say how many layers there are.
    """
    text = config.get_text_config()
    counted = layers or _number(text, "num_hidden_layers")
    if counted is None:
        raise ModelError(f"The configuration of '{name}' does not say how many layers there are.", "Name another.")
    return ModelFacts(
        name,
        str(text.model_type),
        counted,
        _number(text, "hidden_size"),
        _number(text, "intermediate_size"),
        _number(text, "vocab_size"),
    )


def described(profile: Profile) -> str:
    """In a few words, which one it is and who says so."""
    places = {"model": "in the model's folder", "user": "in your folder of profiles", "shipped": "ships with workbench"}
    return f"profile {profile.name}, {places[profile.origin]}" if profile.known else "no profile: the layer is a guess"


def find_one(model: str) -> str:
    """What to do where there is no profile for `model`."""
    return f"Find a layer with workbench tune {shlex.quote(model)}, or choose one with --layer."


def profile_text(profile: Profile) -> str:
    """The profile as a file has it."""
    text = json.dumps(profile.to_json(), indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+\d+(?:,\s+\d+)*\s+\]", _in_one_line, text) + "\n"


def _in_one_line(numbers: re.Match[str]) -> str:
    return f"[{', '.join(re.findall(r'[0-9]+', numbers[0]))}]"


def _number(config: Any, name: str) -> int | None:
    value = getattr(config, name, None)
    return value if type(value) is int else None
