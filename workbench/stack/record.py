"""What a stack remembers of an edit: the record `Edit`, the model it belongs to, and the factors of its update.

No torch, no files. `to_json` and `from_json` keep the schema; a document from a stranger is checked field by field.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Self, TypedDict

from workbench.edits import IMPORTED, MAX_TEXT, EditRequest, Recipe
from workbench.errors import UsageError
from workbench.stack.limits import MAX_MODULE_PART, MAX_MODULE_PARTS, MAX_SIDE, MAX_TEMPLATES
from workbench.stack.limits import MAX_MODULES as MAX_MODULES
from workbench.stack.limits import MAX_NUMBER as MAX_NUMBER
from workbench.stack.limits import MAX_SHORT as MAX_SHORT
from workbench.stack.strictjson import MalformedError, NewerError, plain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FORMAT = 2
"""Newest version of the edit file. A record that needs nothing newer is written as version 1, which all can read: 2
has modules held in another dtype than the base's, and requests in a chat template."""

DTYPES = ("float32", "bfloat16", "float16")
"""What a module can be held in."""

Layout = Literal["in,out", "out,in"]
"""How a weight lies: GPT-2's Conv1D stores (d_in, d_out), nn.Linear (d_out, d_in)."""

_BASE_TEXTS = ("name", "revision", "fingerprint", "dtype")
_ID = re.compile(r"[0-9a-f]{64}")
_PART = rf"[A-Za-z0-9_]{{1,{MAX_MODULE_PART}}}"
_MODULE = re.compile(rf"(?![0-9]){_PART}(\.{_PART}){{0,{MAX_MODULE_PARTS - 1}}}")


class ModuleInfo(TypedDict):
    """One module's weight as the model stores it."""

    shape: list[int]
    layout: Layout
    dtype: NotRequired[str]
    """What the weight was held in when it was edited, where that was not the base's own dtype."""


class WeightHashes(TypedDict):
    """sha256 of one module's weight around an edit, as `materialise.weight_sha256` gives it."""

    before: str
    after: str


@dataclass(frozen=True)
class Base:
    """The pristine model that a stack belongs to."""

    name: str
    revision: str
    fingerprint: str
    """Says which model it is; two bases are the same when their fingerprints are."""
    dtype: str
    """"float32", "bfloat16" or "float16"."""
    modules: dict[str, ModuleInfo] = field(default_factory=dict)
    """The edited modules, by dotted path."""

    def sides(self, module: str) -> tuple[int, int]:
        """(d_in, d_out) of `module`. Raises KeyError."""
        info = self.modules[module]
        first, second = info["shape"]
        return (first, second) if info["layout"] == "in,out" else (second, first)

    def dtype_of(self, module: str) -> str:
        """What the weight of `module` was held in. Raises KeyError."""
        return self.modules[module].get("dtype", self.dtype)

    def to_json(self) -> dict[str, Any]:
        """A plain document; `from_json` reads it back."""
        document: dict[str, Any] = plain(dataclasses.asdict(self))
        return document

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Reads what `to_json` wrote. Raises MalformedError."""
        fields = _object(document, "base", _BASE_FIELDS)
        name, revision, fingerprint, dtype = (_text(fields, key, MAX_SHORT) for key in _BASE_TEXTS)
        modules = fields["modules"]
        if not isinstance(modules, dict) or len(modules) > MAX_MODULES:
            raise MalformedError("has no proper list of modules")
        infos = {check_module(path): _module_info(info) for path, info in modules.items()}
        return cls(name, revision, fingerprint, dtype, infos)


@dataclass(frozen=True, eq=False)
class Factors:
    """The update of one module: ΔW in (d_out, d_in) orientation is b @ a."""

    module: str
    a: npt.NDArray[np.float32]
    """(r, d_in); rows are u."""
    b: npt.NDArray[np.float32]
    """(d_out, r); columns are v."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A request together with how its update was made and what was measured: an edit file's header."""

    request: EditRequest
    recipe: Recipe
    base: Base
    templates: tuple[str, ...] = ("{}",)
    """Context templates; the first is the bare slot."""
    second_moment: str = "identity"
    """Fingerprint of C, or "identity"; "none" if the update was imported."""
    ridge: float = 0.0
    """What was added to C's diagonal."""
    tokenizer: str = ""
    """The tokenizer's fingerprint."""
    weights: dict[str, WeightHashes] = field(default_factory=dict)
    """sha256 of each edited module's weight before and after."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Free: loss trace, norms, probes, perplexity. NaN and infinities are kept as null."""
    made_by: dict[str, Any] = field(default_factory=dict)
    """Free: library versions, device."""
    created: str = ""
    """UTC, ISO 8601."""
    note: str = ""
    parent: str | None = None
    """Id of the edit before this one; None: the base."""
    number: int = 1
    """Position in its line, from 1."""
    id: str = ""
    """64 hex digits, derived from all of the record and the factors; empty until encoded."""
    ranks: dict[str, int] = field(default_factory=dict)
    """Rank of the update by module, read from the tensors' shapes; not part of the document."""

    @property
    def imported(self) -> bool:
        """The update was made elsewhere: its request only names it, there is nothing to probe and nothing to derive."""
        return self.recipe.method == IMPORTED

    @property
    def off(self) -> frozenset[str]:
        """Ids of edits before it on its line that were toggled off when its weight hashes were taken."""
        listed = self.made_by.get("off")
        return (
            frozenset(ident for ident in listed if isinstance(ident, str)) if isinstance(listed, list) else frozenset()
        )

    @property
    def copied_from(self) -> str | None:
        """Id of the edit that it is a copy of, put to another place or made anew there; None: it is no copy."""
        source = self.made_by.get("copied_from")
        return source if isinstance(source, str) and _ID.fullmatch(source) else None

    @property
    def _is_newer(self) -> bool:
        return self.request.chat is not None or any("dtype" in info for info in self.base.modules.values())

    def to_json(self) -> dict[str, Any]:
        """The document in the file's metadata, without `id`."""
        document = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("id", "ranks")}
        for name in ("request", "recipe", "base"):
            document[name] = document[name].to_json()
        return {"version": FORMAT if self._is_newer else 1, **plain(document)}

    @classmethod
    def from_json(cls, document: object, ranks: Mapping[str, int]) -> Self:
        """Reads the metadata's document, with `id`. Raises MalformedError."""
        check_version(document)
        fields = _object(document, "record", _EDIT_FIELDS)
        base = Base.from_json(fields["base"])
        parent = fields["parent"]
        return cls(
            request=_request(fields["request"]),
            recipe=_recipe(fields["recipe"]),
            base=base,
            templates=_templates(fields["templates"]),
            second_moment=_text(fields, "second_moment", MAX_SHORT),
            ridge=_ridge(fields["ridge"]),
            tokenizer=_text(fields, "tokenizer", MAX_SHORT),
            weights=_weights(fields["weights"]),
            metrics=_free(fields, "metrics"),
            made_by=_free(fields, "made_by"),
            created=_time(_text(fields, "created", MAX_SHORT)),
            note=_text(fields, "note", MAX_TEXT),
            parent=None if parent is None else check_id(parent),
            number=_number(fields["number"]),
            id=check_id(fields["id"]),
            ranks=dict(ranks),
        )


_BASE_FIELDS = frozenset(f.name for f in dataclasses.fields(Base))
_EDIT_FIELDS = frozenset(f.name for f in dataclasses.fields(Edit)) - {"ranks"} | {"version"}


def check_version(document: object, newest: int = FORMAT) -> None:
    """Raises MalformedError if `document` is of another version than those up to `newest`."""
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise MalformedError("does not say which version of the format it is")
    if version > newest:
        raise NewerError(f"is of format version {version}, which a newer workbench wrote")


def check_id(value: object) -> str:
    """`value` if it is an edit's id. Raises MalformedError."""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise MalformedError("has an id that is not 64 hex digits")


def check_module(name: str) -> str:
    """`name` if it is a module's dotted path. Raises MalformedError."""
    if not _MODULE.fullmatch(name):
        raise MalformedError("names a module that cannot be one")
    return name


def _object(value: object, what: str, names: Set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"has no {what}")
    if value.keys() != names:
        wrong = sorted(value.keys() ^ names)[0]
        raise MalformedError(f"has a {what} where the field '{wrong}' is {'unknown' if wrong in value else 'missing'}")
    return value


def _text(fields: Mapping[str, Any], key: str, longest: int) -> str:
    value = fields[key]
    if not isinstance(value, str) or len(value) > longest:
        raise MalformedError(f"has no proper text for '{key}'")
    return value


def _free(fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = fields[key]
    if not isinstance(value, dict):
        raise MalformedError(f"has no proper object for '{key}'")
    return value


def same_matrix(one: ModuleInfo, other: ModuleInfo) -> bool:
    """Whether both are of one shape and layout, whatever they were held in."""
    return (one["shape"], one["layout"]) == (other["shape"], other["layout"])


def _module_info(value: object) -> ModuleInfo:
    held = isinstance(value, dict) and "dtype" in value
    info = _object(value, "module", {"shape", "layout"} | ({"dtype"} if held else set()))
    shape, layout = info["shape"], info["layout"]
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 0 < n <= MAX_SIDE for n in shape):
        raise MalformedError("has a module whose shape is not that of a matrix")
    if layout not in ("in,out", "out,in"):
        raise MalformedError("has a module of unknown layout")
    if not held:
        return {"shape": shape, "layout": layout}
    if info["dtype"] not in DTYPES:
        raise MalformedError("has a module held in an unknown dtype")
    return {"shape": shape, "layout": layout, "dtype": info["dtype"]}


def _request(document: object) -> EditRequest:
    try:
        request = EditRequest.from_json(document)
    except UsageError as error:
        raise MalformedError(f"holds no valid request: {_clause(error.message)}") from error
    if request.chat is not None and not request.chat.known:
        raise MalformedError("holds a request in a chat, but not what stands around it")
    return request


def _recipe(document: object) -> Recipe:
    try:
        return Recipe.from_json(document)
    except UsageError as error:
        raise MalformedError(f"holds no valid recipe: {_clause(error.message)}") from error


def _clause(sentence: str) -> str:
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")


def _templates(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_TEMPLATES:
        raise MalformedError("has no proper list of context templates")
    if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in value):
        raise MalformedError("has no proper list of context templates")
    return tuple(value)


def _ridge(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise MalformedError("has a ridge that is not a number")
    return float(value)


def _number(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_NUMBER:
        raise MalformedError("has a number out of range")
    return value


def _weights(value: object) -> dict[str, WeightHashes]:
    if not isinstance(value, dict):
        raise MalformedError("has no weight hashes")
    found: dict[str, WeightHashes] = {}
    for module, hashes in value.items():
        pair = _object(hashes, "weight hash", {"before", "after"})
        found[check_module(module)] = {"before": check_id(pair["before"]), "after": check_id(pair["after"])}
    return found


def _time(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedError("has no proper time of creation") from error
    return text
