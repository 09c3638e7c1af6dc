"""What a stack remembers of an edit: the record `Edit`, the model it belongs to, and the factors of its update.

No torch, no files. `to_json` and `from_json` keep the schema; a document from a stranger is checked field by field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Self, TypedDict

from workbench.edits import IMPORTED, MAX_TEXT, EditRequest, Method, Recipe
from workbench.stack import fields as read
from workbench.stack.fields import check_id as check_id
from workbench.stack.fields import check_module as check_module
from workbench.stack.limits import MAX_MODULES as MAX_MODULES
from workbench.stack.limits import MAX_NUMBER as MAX_NUMBER
from workbench.stack.limits import MAX_SHORT as MAX_SHORT
from workbench.stack.limits import MAX_SIDE
from workbench.stack.strictjson import MalformedError, plain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FORMAT = 3
"""Newest version of the edit file. A record that needs nothing newer is written as version 1, which all can read: 2
has modules held in another dtype than the base's, and requests in a chat template; 3 has the methods that came later,
several requests in one edit, and C module by module."""

FIRST_METHODS: tuple[Method, ...] = ("r-rome", "rome", "p-rome", IMPORTED)
"""The methods of versions 1 and 2; the others are written as version 3, and only they."""

DTYPES = ("float32", "bfloat16", "float16")
"""What a module can be held in."""

Layout = Literal["in,out", "out,in"]
"""How a weight lies: GPT-2's Conv1D stores (d_in, d_out), nn.Linear (d_out, d_in)."""

SEVERAL = "several"
"""Stands for the fingerprint of C where an edit was made with one of its own for each module."""

_BASE_TEXTS = ("name", "revision", "fingerprint", "dtype")


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


class MomentUsed(TypedDict):
    """The second moment C that one module's update was made with."""

    fingerprint: str
    """Or "identity"."""
    ridge: float
    """What was added to its diagonal."""


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
        fields = read.table(document, "base", _BASE_FIELDS)
        name, revision, fingerprint, dtype = (read.text(fields, key, MAX_SHORT) for key in _BASE_TEXTS)
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
    """Requests together with how their update was made and what was measured: an edit file's header."""

    requests: tuple[EditRequest, ...]
    """What was asked for: one request, or all those that a batched method made one update of."""
    recipe: Recipe
    base: Base
    templates: tuple[str, ...] = ("{}",)
    """Context templates; the first is the bare slot."""
    second_moment: str = "identity"
    """Fingerprint of C, or "identity"; "none" if the update was imported, SEVERAL if modules had their own."""
    ridge: float = 0.0
    """What was added to C's diagonal; of several the largest."""
    second_moments: dict[str, MomentUsed] = field(default_factory=dict)
    """C by module, from version 3 on."""
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
    def request(self) -> EditRequest:
        """The first request; all there is, unless the method is a batched one."""
        return self.requests[0]

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
        return source if isinstance(source, str) and read.ID.fullmatch(source) else None

    def moment_of(self, module: str) -> MomentUsed:
        """The C that the update of `module` was made with."""
        return self.second_moments.get(module) or MomentUsed(fingerprint=self.second_moment, ridge=self.ridge)

    @property
    def _version(self) -> int:
        if self.recipe.method not in FIRST_METHODS:
            return 3
        chat = self.request.chat is not None
        return 2 if chat or any("dtype" in info for info in self.base.modules.values()) else 1

    def to_json(self) -> dict[str, Any]:
        """The document in the file's metadata, without `id`. Raises MalformedError: its method takes fewer requests."""
        version = self._version
        if len(self.requests) > 1 and not self.recipe.batched:
            raise MalformedError("holds several requests, and a method that takes one")
        document = {name: getattr(self, name) for name in _fields(version) - {"version", "id"}}
        document |= {"recipe": self.recipe.to_json(), "base": self.base.to_json()}
        if version < 3:
            document["request"] = self.request.to_json()
        else:
            document["requests"] = [request.to_json() for request in self.requests]
            document["second_moments"] = {module: self.moment_of(module) for module in self.weights}
        return {"version": version, **plain(document)}

    @classmethod
    def from_json(cls, document: object, ranks: Mapping[str, int]) -> Self:
        """Reads the metadata's document, with `id`. Raises MalformedError."""
        version = check_version(document)
        fields = read.table(document, "record", _fields(version))
        recipe = read.recipe_of(fields["recipe"])
        if (recipe.method in FIRST_METHODS) != (version < 3):
            raise MalformedError(f"is of version {version}, and of a method that is not written so")
        parent = fields["parent"]
        return cls(
            requests=read.requests_of(fields["requests"]) if version > 2 else (read.request_of(fields["request"]),),
            recipe=recipe,
            base=Base.from_json(fields["base"]),
            templates=read.templates_of(fields["templates"]),
            **moment_fields(_moments(fields["second_moments"])) if version > 2 else _one_moment(fields),
            tokenizer=read.text(fields, "tokenizer", MAX_SHORT),
            weights=_weights(fields["weights"]),
            metrics=read.free(fields, "metrics"),
            made_by=read.free(fields, "made_by"),
            created=read.time_of(read.text(fields, "created", MAX_SHORT)),
            note=read.text(fields, "note", MAX_TEXT),
            parent=None if parent is None else check_id(parent),
            number=read.number_of(fields["number"]),
            id=check_id(fields["id"]),
            ranks=dict(ranks),
        )


def moment_fields(moments: Mapping[str, MomentUsed]) -> dict[str, Any]:
    """What an Edit says of C: `moments` by module, and what can be said of all of them together."""
    names = {moment["fingerprint"] for moment in moments.values()}
    return {
        "second_moments": dict(moments),
        "second_moment": names.pop() if len(names) == 1 else SEVERAL,
        "ridge": max((moment["ridge"] for moment in moments.values()), default=0.0),
    }


_BASE_FIELDS = frozenset(f.name for f in dataclasses.fields(Base))
_ALWAYS = frozenset(f.name for f in dataclasses.fields(Edit)) - {"ranks", "requests", "second_moments"} | {"version"}


def _fields(version: int) -> frozenset[str]:
    """The names of the fields of a record, its id included."""
    if version < 3:
        return _ALWAYS | {"request"}
    return _ALWAYS - {"second_moment", "ridge"} | {"requests", "second_moments"}


def check_version(document: object, newest: int = FORMAT) -> int:
    """The version of `document`. Raises MalformedError if it is another than those up to `newest`."""
    return read.check_version(document, newest)


def same_matrix(one: ModuleInfo, other: ModuleInfo) -> bool:
    """Whether both are of one shape and layout, whatever they were held in."""
    return (one["shape"], one["layout"]) == (other["shape"], other["layout"])


def _module_info(value: object) -> ModuleInfo:
    held = isinstance(value, dict) and "dtype" in value
    info = read.table(value, "module", {"shape", "layout"} | ({"dtype"} if held else set()))
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


def _one_moment(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "second_moment": read.text(fields, "second_moment", MAX_SHORT),
        "ridge": read.ridge_of(fields["ridge"]),
    }


def _moments(value: object) -> dict[str, MomentUsed]:
    found: dict[str, MomentUsed] = {}
    for module, used in read.by_module(value, "second moments").items():
        fields = read.table(used, "second moment", {"fingerprint", "ridge"})
        fingerprint = read.text(fields, "fingerprint", MAX_SHORT)
        found[module] = MomentUsed(fingerprint=fingerprint, ridge=read.ridge_of(fields["ridge"]))
    return found


def _weights(value: object) -> dict[str, WeightHashes]:
    found: dict[str, WeightHashes] = {}
    for module, hashes in read.by_module(value, "weight hashes").items():
        pair = read.table(hashes, "weight hash", {"before", "after"})
        found[module] = {"before": check_id(pair["before"]), "after": check_id(pair["after"])}
    return found
