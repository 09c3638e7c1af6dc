"""Edits of many requests for the tests of the stack."""

from __future__ import annotations

from typing import Any

from tests.stack.making import D_IN, D_OUT, NAUGHT, edit, factors
from workbench.edits import EditRequest, Recipe
from workbench.stack.editfile import encode_edit
from workbench.stack.record import Base, Edit, MomentUsed, moment_fields

MODULES = ("h.0", "h.1", "h.2")


def requests(count: int) -> tuple[EditRequest, ...]:
    return tuple(EditRequest("{} stands in", f"Tower {number}", "Rome", "Paris") for number in range(1, count + 1))


def batch(count: int = 3, layers: tuple[int, ...] = (1,), method: str = "memit", **changes: Any) -> Edit:
    """An edit of `count` requests in as many modules as there are layers."""
    modules = MODULES[: len(layers)]
    fields: dict[str, Any] = {
        "requests": requests(count),
        "recipe": Recipe.from_json({"method": method, "layer": layers[-1]} | more_layers(layers)),
        "base": Base("m", "", "f" * 64, "float32", {m: {"shape": [D_OUT, D_IN], "layout": "out,in"} for m in modules}),
        "weights": {module: {"before": NAUGHT, "after": NAUGHT} for module in modules},
        **moment_fields({module: MomentUsed(fingerprint=f"c-{module}", ridge=0.5) for module in modules}),
    }
    return edit(**{**fields, "created": "2026-01-02T03:04:05+00:00", **changes})


def more_layers(layers: tuple[int, ...]) -> dict[str, Any]:
    return {"layers": list(layers)} if len(layers) > 1 else {}


def written(made: Edit, rank: int) -> tuple[Edit, bytes]:
    return encode_edit(made, [factors(place, rank, module)[0] for place, module in enumerate(made.weights)])
