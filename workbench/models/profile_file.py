"""An editing profile as a file: a recipe, where it comes from, and which models it is for. Free of torch.

    {"name": "gpt2-xl", "checkpoint": "openai-community/gpt2-xl", "source": "...",
     "match": {"model_type": "gpt2", "layers": 48, "hidden_size": 1600},
     "recipe": {"layer": 17, "lr": 0.5},
     "methods": {"memit": {"layers": [13, 14, 15, 16, 17], "moment_weight": 20000}}}

All of `match` must hold. What the recipe leaves out is as `workbench.edits.Recipe` has it; what is in `methods` is in
force where that method is chosen in place of the recipe's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NoReturn

from workbench.edits import MAX_TEXT, METHODS, Recipe
from workbench.errors import ModelError, WorkbenchError
from workbench.recipes import chosen_recipe
from workbench.text import shortened

MAX_BYTES = 64 * 1024
"""Largest profile, in bytes."""
MAX_PATTERNS = 100

Origin = Literal["model", "user", "shipped", "default"]
"""Who says so: the model's folder, the user's folder, workbench, or nobody."""

NUMBERS = ("layers", "hidden_size", "intermediate_size", "vocab_size")
FACTS = ("fingerprint", "model_type", *NUMBERS, "name")
"""What `match` may state."""
TEXTS = ("name", "checkpoint", "source", "note")


@dataclass(frozen=True)
class ModelFacts:
    """What a model is, for profiles to match on."""

    name: str
    """As it was asked for: a folder or a Hub name."""
    model_type: str
    """The architecture as its configuration names it: "gpt2"."""
    layers: int
    hidden_size: int | None = None
    intermediate_size: int | None = None
    vocab_size: int | None = None
    fingerprint: Callable[[], str] = field(default=str, repr=False)
    """Of the weights; only asked for where a profile is made for these very weights."""


@dataclass(frozen=True)
class Profile:
    """An editing profile and where it was found."""

    name: str
    recipe: Recipe
    match: dict[str, Any] = field(default_factory=dict)
    """Facts that must all hold, by the names in FACTS; `name` is a list of patterns such as "*gpt2-xl*"."""
    checkpoint: str = ""
    """What it was made for, in words."""
    source: str = ""
    """Where its numbers come from."""
    note: str = ""
    tuned: str = ""
    """Digest of the recipe as `workbench tune` wrote it; another recipe beside it: changed by hand since."""
    origin: Origin = "default"
    path: Path | None = None
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By method other than the recipe's, the settings in which it differs."""

    @property
    def known(self) -> bool:
        """Whether anybody chose it; False: the default, whose layer is a guess."""
        return self.origin != "default"

    @property
    def untouched(self) -> bool:
        """Whether it is as `workbench tune` wrote it."""
        return bool(self.tuned) and self.tuned == recipe_digest(self.recipe)

    def fits(self, model: ModelFacts) -> bool:
        """Whether all facts it states hold for `model`."""
        return bool(self.match) and all(_holds(fact, wanted, model) for fact, wanted in self._facts())

    def _facts(self) -> list[tuple[str, Any]]:
        """The stated facts, the one that costs reading the weights last."""
        return sorted(self.match.items(), key=lambda item: item[0] == "fingerprint")

    def to_json(self) -> dict[str, Any]:
        """A plain document; `parse_profile` reads it back."""
        texts = {name: getattr(self, name) for name in TEXTS if getattr(self, name)}
        document = {**texts, "match": self.match, "recipe": self.recipe.to_json()}
        if self.methods:
            document["methods"] = self.methods
        return {**document, "tuned": self.tuned} if self.tuned else document


def recipe_digest(recipe: Recipe) -> str:
    """sha256 over what the recipe says."""
    text = json.dumps(recipe.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"workbench recipe v1\n{text}".encode()).hexdigest()


def read_profile_file(path: Path, origin: Origin) -> Profile:
    """The profile in a file; in a model's folder a bare recipe will do, for that model alone.

    Raises:
        ModelError: it cannot be read, or a field is wrong; names both.
    """
    wrong = f"The editing profile '{path.name}' cannot be used"
    try:
        document = json.loads(_text(path), object_pairs_hook=_unique, parse_constant=_constant)
        return parse_profile(document, path, origin)
    except WorkbenchError as error:
        raise ModelError(f"{wrong}: {_lowered(error.message)}", f"Correct or remove {path}.") from error
    except OSError as error:
        raise ModelError(f"{wrong}: {(error.strerror or 'it cannot be read').lower()}.", f"It is {path}.") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{wrong}: {_json_reason(error)}.", f"Correct or remove {path}.") from error


def parse_profile(document: object, path: Path, origin: Origin) -> Profile:
    """The profile that a JSON document says. Raises UsageError or ModelError with the field that is wrong."""
    if not isinstance(document, dict):
        _refuse("it is not a JSON object")
    if origin == "model" and not {"recipe", "match"} & document.keys():
        return Profile(path.stem, Recipe.from_json(document), origin=origin, path=path)
    for name in document:
        if name not in (*TEXTS, "match", "recipe", "methods", "tuned"):
            _refuse(f"there is no field '{shortened(name, 60)}'")
    for name in (*TEXTS, "tuned"):
        if not isinstance(document.get(name, ""), str) or len(document.get(name, "")) > MAX_TEXT:
            _refuse(f"the field '{name}' is not a text of at most {MAX_TEXT} characters")
    texts = {name: document[name] for name in (*TEXTS, "tuned") if name in document}
    texts.setdefault("name", path.stem)
    match, recipe = _match(document.get("match", {}), origin), Recipe.from_json(document.get("recipe"))
    methods = _methods(document.get("methods", {}), recipe)
    return Profile(**texts, recipe=recipe, methods=methods, match=match, origin=origin, path=path)


def _methods(methods: object, recipe: Recipe) -> dict[str, dict[str, Any]]:
    if not isinstance(methods, dict) or not all(isinstance(settings, dict) for settings in methods.values()):
        _refuse("the field 'methods' is not an object of objects")
    for method, settings in methods.items():
        if method not in METHODS or method == recipe.method:
            _refuse(f"the field 'methods' has no place for '{shortened(method, 60)}'")
        if "method" in settings:
            _refuse(f"the field 'methods.{method}' names a method of its own")
        chosen_recipe(recipe, {"method": method}, methods)
    return methods


def _match(match: object, origin: Origin) -> dict[str, Any]:
    if not isinstance(match, dict):
        _refuse("the field 'match' is not an object")
    if not match and origin != "model":
        _refuse(f"the field 'match' states nothing; it needs one of {', '.join(FACTS)}")
    for fact, wanted in match.items():
        if fact not in FACTS:
            _refuse(f"the field 'match' knows no '{shortened(fact, 60)}', only {', '.join(FACTS)}")
        if not _is_fact(fact, wanted):
            _refuse(f"the field 'match.{fact}' is not {_kind(fact)}")
    return match


def _is_fact(fact: str, wanted: object) -> bool:
    if fact in NUMBERS:
        return type(wanted) is int and 0 < wanted < 2**31
    if fact == "name":
        return isinstance(wanted, list) and 0 < len(wanted) <= MAX_PATTERNS and all(map(_is_short, wanted))
    return _is_short(wanted)


def _is_short(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 200


def _kind(fact: str) -> str:
    if fact in NUMBERS:
        return "a number above 0"
    return "a list of patterns" if fact == "name" else "a text"


def _holds(fact: str, wanted: Any, model: ModelFacts) -> bool:
    if fact == "fingerprint":
        return bool(model.fingerprint() == wanted)
    if fact == "name":
        names = {model.name.casefold(), model.name.rstrip("/").rsplit("/", 1)[-1].casefold()}
        return any(fnmatchcase(name, str(pattern).casefold()) for name in names for pattern in wanted)
    return bool(getattr(model, fact) == wanted)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        _refuse(f"it is larger than {MAX_BYTES // 1024} KiB")
    return data.decode("utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse("it says the same field twice")
    return found


def _constant(word: str) -> NoReturn:
    _refuse(f"it holds {word}, which is not a number")


def _refuse(reason: str) -> NoReturn:
    raise ModelError(f"{reason}.")


def _json_reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON at line {error.lineno}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return "it is nested too deeply, or a number is too long"


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
