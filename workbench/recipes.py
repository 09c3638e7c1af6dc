"""How an edit is made: the method and every hyper-parameter. Frozen, validated, and free of torch."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from workbench.errors import UsageError
from workbench.text import shortened

Method = Literal["r-rome", "rome", "p-rome", "c-rome", "memit", "emmet", "imported"]
SINGLE: tuple[Method, ...] = ("r-rome", "rome", "p-rome", "c-rome")
"""One request, one rank-one update. C-ROME (arXiv 2406.11263, section 5) makes r-ROME's update, and asks behind
prefixes when an edited fact is tested: how it differs shows in an evaluation, never in the update."""
BATCHED: tuple[Method, ...] = ("memit", "emmet")
"""Many requests, one update: MEMIT (arXiv 2210.07229) and EMMET (arXiv 2403.14236)."""
METHODS: tuple[Method, ...] = (*SINGLE, *BATCHED)
"""How an edit can be made here."""
IMPORTED: Method = "imported"
"""The update was made elsewhere and taken in as it is. Its request only names it: there is nothing to ask the model,
and of its recipe nothing but the lowest block it touches says anything."""

MAX_LAYERS = 64
"""Most blocks that one edit is spread over."""
PUBLISHED: Mapping[Method, Mapping[str, float]] = {
    "memit": {"clamp_factor": 0.75, "moment_weight": 20_000.0},
    "emmet": {"clamp_factor": 0.75, "moment_weight": 1_000.0, "mu": 0.1},
}
"""What the batched methods' own hyper-parameters are for GPT-2 XL, where they are not those of ROME."""
_OWN: Mapping[Method, tuple[str, ...]] = {"memit": ("layers", "moment_weight"), "emmet": ("moment_weight", "mu")}
"""Settings that say something for these methods alone."""
_PLACE = ("layer", "layers")
_BATCH_ONLY = ("layers", "moment_weight", "mu")


@dataclass(frozen=True)
class Recipe:
    """How an edit is made: method, layer and every hyper-parameter. Defaults are the papers' for GPT-2.

    Raises:
        UsageError: on construction, if a value is out of its range, or is no setting of the method.
    """

    method: Method = "r-rome"
    layer: int = 0
    """Decoder block whose down-projection is edited, counted from 0; of several, the last."""
    steps: int = 20
    """Evaluations of the loss at most; one fewer Adam steps."""
    lr: float = 0.5
    """Adam's rate for the offset δ."""
    weight_decay: float = 0.5
    """Weight of |δ| / |t0|²."""
    kl_factor: float = 0.0625
    clamp_factor: float = 4.0
    """|δ| is held below this times |t0|."""
    loss_stop: float = 0.05
    """Stop when the total loss is below this."""
    nll_stop: float | None = None
    """Stop when the rewriting NLL alone is below this; None: off, as in the papers."""
    second_moment: bool = True
    """False: C = I, chosen explicitly."""
    seed: int = 0
    """Seed of the context templates."""
    template_lengths: tuple[tuple[int, int], ...] = ((5, 10), (10, 10))
    """Context templates to sample: (tokens, how many); the bare `{}` comes first, always."""
    layers: tuple[int, ...] = ()
    """memit: blocks that the update is spread over, ascending, `layer` the last of them; empty: `layer` alone."""
    moment_weight: float = 20_000.0
    """memit, emmet: λ, how much C weighs against the batch's keys."""
    mu: float = 0.1
    """emmet: μ, how far the equalities may be missed; a batch of one meets its own whatever this is."""

    def __post_init__(self) -> None:
        if self.method not in (*METHODS, IMPORTED):
            raise UsageError(f"Unknown method '{self.method}'.", f"Choose one of {', '.join(METHODS)}.")
        ranges = {
            "layer": (self.layer, 0, 10_000),
            "steps": (self.steps, 1, 1_000),
            "lr": (self.lr, 1e-6, 100.0),
            "weight_decay": (self.weight_decay, 0.0, 1e4),
            "kl_factor": (self.kl_factor, 0.0, 1e4),
            "clamp_factor": (self.clamp_factor, 1e-6, 1e4),
            "loss_stop": (self.loss_stop, 0.0, 1e4),
            "seed": (self.seed, 0, 2**63 - 1),
            "moment_weight": (self.moment_weight, 1e-12, 1e12),
            "mu": (self.mu, 0.0, 1e6),
        }
        if self.nll_stop is not None:
            ranges["nll_stop"] = (self.nll_stop, 0.0, 1e4)
        for name, (value, low, high) in ranges.items():
            if not (math.isfinite(value) and low <= value <= high):
                raise UsageError(f"{name} = {value} is out of range.", f"It lies between {low} and {high}.")
        if sum(count for _, count in self.template_lengths) > 200 or any(
            not (1 <= tokens <= 100 and count >= 0) for tokens, count in self.template_lengths
        ):
            raise UsageError("The context templates asked for are out of range.", "At most 200, of 1 to 100 tokens.")
        self._check_own()
        self._check_layers()

    def _check_own(self) -> None:
        """Refuses a setting that the method does not read: it would be lost in the edit's file."""
        for name in _BATCH_ONLY:
            if name not in _OWN.get(self.method, ()) and getattr(self, name) != _DEFAULTS[name]:
                whose = " and ".join(method for method, names in _OWN.items() if name in names)
                raise UsageError(f"{name} is no setting of {self.method}.", f"It belongs to {whose}.")

    def _check_layers(self) -> None:
        ascending = all(a < b for a, b in zip(self.layers, self.layers[1:], strict=False))
        if self.layers and (not ascending or self.layers[0] < 0 or len(self.layers) > MAX_LAYERS):
            listed = ", ".join(map(str, self.layers[:8]))
            raise UsageError(f"layers = {listed} is out of order.", f"At most {MAX_LAYERS}, each above the one before.")
        if self.layers and self.layers[-1] != self.layer:
            raise UsageError(f"layer = {self.layer} is not the last of layers.", f"The last is {self.layers[-1]}.")

    @property
    def edited_layers(self) -> tuple[int, ...]:
        """The blocks that the edit changes, ascending."""
        return self.layers or (self.layer,)

    @property
    def batched(self) -> bool:
        """Whether it makes one update of many requests."""
        return self.method in BATCHED

    def to_json(self) -> dict[str, Any]:
        """A plain document; `from_json` reads it back. Settings of batched methods are in theirs alone."""
        document = dataclasses.asdict(self)
        document["template_lengths"] = [list(pair) for pair in self.template_lengths]
        document["layers"] = list(self.layers)
        return {k: v for k, v in document.items() if k not in _BATCH_ONLY or k in _OWN.get(self.method, ())}

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Reads what `to_json` wrote; fields it does not know are refused. Raises UsageError.

        What is left out is as published for the method; `layer`, where only `layers` is given, the last of them.
        """
        if not isinstance(document, dict):
            raise UsageError("A recipe must be a JSON object.")
        values: dict[str, Any] = {}
        for name, value in document.items():
            if name not in _SETTINGS:
                raise UsageError(f"Unknown setting '{shortened(name, 60)}'.", f"Known: {', '.join(_SETTINGS)}.")
            values[name] = _setting(name, _SETTINGS[name], value)
        if values.get("layers"):
            values.setdefault("layer", values["layers"][-1])
        return cls(**{**PUBLISHED.get(values.get("method", "r-rome"), {}), **values})


def chosen_recipe(
    ground: Recipe, changes: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]] | None = None
) -> Recipe:
    """`ground` with `changes`. Raises UsageError.

    Another method brings its own settings along: those of `methods`, by method, else the published ones. Of `layer`
    and `layers`, the one that is not changed follows the one that is.
    """
    method, kept = changes.get("method", ground.method), ground.to_json()
    own: dict[str, Any] = {}
    if method != ground.method and isinstance(method, str):
        foreign = {*PUBLISHED.get(ground.method, {}), *_BATCH_ONLY}
        kept = {name: value for name, value in kept.items() if name not in foreign}
        own = {**_published(method), **(methods or {}).get(method, {})}
    return Recipe.from_json(_with(_with(kept, own), changes))


def _published(method: str) -> dict[str, float]:
    return dict(next((own for known, own in PUBLISHED.items() if known == method), {}))


def _with(settings: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Both; of `layer` and `layers` none of `settings` where the other is among `changes`."""
    moved = "layer" in changes or bool(changes.get("layers"))
    return {**{name: value for name, value in settings.items() if not (moved and name in _PLACE)}, **changes}


_SETTINGS = {f.name: str(f.type) for f in dataclasses.fields(Recipe)}
"""The type that each setting is declared with."""
_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Recipe)}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "float | None": "a number, or none",
    "bool": "true or false",
    "Method": "the name of a method",
    "tuple[int, ...]": "a list of layers, as 3,4,5",
    "tuple[tuple[int, int], ...]": "a list of pairs, as [[5, 10], [10, 10]]",
}


def _setting(name: str, kind: str, value: Any) -> Any:
    """`value` as the type that the field declares. Raises UsageError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if kind == "int" and number and float(value).is_integer():
        return int(value)
    if kind == "float" and number:
        return float(value)
    if kind == "float | None" and (number or value is None):
        return None if value is None else float(value)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "Method" and isinstance(value, str)):
        return value
    if kind.startswith("tuple") and isinstance(value, (list, tuple)):
        if kind == "tuple[int, ...]" and all(type(n) is int for n in value):
            return tuple(value)
        pairs = [p for p in value if isinstance(p, (list, tuple)) and len(p) == 2 and all(type(n) is int for n in p)]
        if len(pairs) == len(value) and kind != "tuple[int, ...]":
            return tuple((int(a), int(b)) for a, b in pairs)
    raise UsageError(
        f"The setting '{name}' cannot be {shortened(repr(value), 60)}.", f"It is {_KINDS.get(kind, kind)}."
    )
