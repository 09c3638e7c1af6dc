"""What is to be evaluated, and the plan that says so in a results folder: the same plan gives the same results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from workbench import __version__
from workbench.edits import Recipe
from workbench.engine.core import Core
from workbench.engine.evaluating.dataset import Case, Dataset
from workbench.errors import UsageError
from workbench.models.device import dtype_name
from workbench.models.options import PLAIN, LoadOptions
from workbench.probing.metrics_text import References
from workbench.stack.strictjson import canonical, plain

FORMAT = 1
WHOLE_LENGTH = 100
"""Tokens of a text that is written to be measured, its prompt among them, as the papers have it."""


@dataclass(frozen=True)
class Wanted:
    """What an evaluation is asked for. Goes to other processes as it is."""

    dataset: Dataset
    out: Path
    """The folder of the results; made if it is not there."""
    mode: Literal["single", "sequential"] = "single"
    changes: dict[str, Any] = field(default_factory=dict)
    """Changes to the profile's recipe."""
    batch: int = 1
    """Requests of one edit, for the methods that take several."""
    limit: int | None = None
    """Cases at most; None: all."""
    seed: int | None = None
    """Decides the order, and by that which cases; None: as in the file."""
    every: int | None = None
    """sequential: score all edits so far again after every so many; None: only at the end."""
    sample: int | None = None
    """sequential: of them, score so many at most; None: all."""
    generate: int = 0
    """Length of the texts that the model writes to be measured, in tokens; 0: none."""
    references: References | None = None
    """What these texts are held against."""
    model: str = "atlas"
    device: str = "auto"
    dtype: str = "auto"
    options: LoadOptions = PLAIN

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases to be edited, in their order."""
        return self.dataset.chosen(self.limit, self.seed)

    @property
    def draw(self) -> int:
        """The seed of samples, prefixes and texts."""
        return self.seed or 0


def check_wanted(wanted: Wanted, recipe: Recipe) -> None:
    """Raises UsageError for what makes no sense together."""
    if wanted.batch > 1 and not recipe.batched:
        raise UsageError(f"{recipe.method} makes an edit of each request.", "Leave out --batch, or use memit or emmet.")
    if wanted.mode == "single" and (wanted.every or wanted.sample):
        raise UsageError("There is nothing to score again where each edit stands alone.", "Use --mode sequential.")


@dataclass(frozen=True)
class Plan:
    """All that decides the results, as a document. What differs names itself."""

    document: dict[str, Any]

    def differs(self, other: object) -> str:
        """The first thing that is another in `other`, in words; empty: it is the same plan."""
        if not isinstance(other, dict):
            return "it is not one that this version reads"
        mine, theirs = _flat(self.document), _flat(other)
        for name in sorted({*mine, *theirs}):
            if mine.get(name) != theirs.get(name):
                return f"{name} is {_shown(theirs.get(name))} there and {_shown(mine.get(name))} here"
        return ""


def plan_of(core: Core, wanted: Wanted, recipe: Recipe) -> Plan:
    """The plan of `wanted` on the model of `core`, once the templates are there. Raises EditError without C."""
    document = {
        "format_version": FORMAT,
        "mode": wanted.mode,
        "cases": {"sha256": wanted.dataset.sha256, "limit": wanted.limit, "seed": wanted.seed, "batch": wanted.batch},
        "checkpoints": {"every": wanted.every, "sample": wanted.sample},
        "texts": {
            "tokens": wanted.generate,
            "references": digest(wanted.references.texts) if wanted.references else "",
        },
        "recipe": recipe.to_json(),
        "templates": digest(core.templates(recipe)),
        "second_moment": _moments(core, recipe),
        "model": {
            "fingerprint": core.loaded.fingerprint,
            "tokenizer": core.loaded.tokenizer_fingerprint,
            "dtype": dtype_name(core.loaded.dtype),
            "keep_fp32": core.loaded.keep_fp32,
            "device": core.loaded.device.type,
        },
        "versions": {"workbench": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
    }
    return Plan(plain(document))


def digest(value: object) -> str:
    """sha256 of anything that JSON can say."""
    return hashlib.sha256(canonical(plain(value)).encode()).hexdigest()


def _moments(core: Core, recipe: Recipe) -> list[str]:
    """The fingerprint of C for each edited module."""
    if not recipe.second_moment:
        return ["identity"]
    return [core.second_moment(core.site(layer)).fingerprint for layer in recipe.edited_layers]


def _flat(document: dict[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        at = f"{path}{name}"
        found.update(_flat(value, f"{at}.") if isinstance(value, dict) else {at: value})
    return found


def _shown(value: object) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 20 else f"{text[:12]}…"
