"""Makes a stack of any number of edits quickly: files, journal and index as a writer leaves them, hashes and all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.edits import EditRequest, Recipe
from workbench.stack.editfile import encode_edit, file_name
from workbench.stack.index import NAME as INDEX
from workbench.stack.index import Index
from workbench.stack.journal import NAME as JOURNAL
from workbench.stack.journal import Entry
from workbench.stack.materialise import Materialiser, weight_sha256
from workbench.stack.record import Base, Edit, Factors

MODULE = "transformer.h.1.mlp.c_proj"
CREATED = "2026-01-02T03:04:05+00:00"
PROBES = 12
"""Probes recorded with each edit, as the engine does."""


def pristine(d_in: int, d_out: int) -> Tensor:
    """The weight that the edits are on, (d_in, d_out)."""
    return torch.randn(d_in, d_out, generator=torch.Generator().manual_seed(0)) * 0.02


def draw_factors(number: int, d_in: int, d_out: int) -> tuple[Factors, ...]:
    """The update of the edit of that number."""
    draw = np.random.default_rng(number)
    a = draw.standard_normal((1, d_in)).astype(np.float32) / np.float32(d_in**0.5)
    b = draw.standard_normal((d_out, 1)).astype(np.float32) * np.float32(0.05)
    return (Factors(MODULE, a, b),)


def make_stack(folder: Path, count: int, d_in: int = 64, d_out: int = 16) -> Base:
    """Fills `folder` with a line of `count` edits, all applied; the base they are on."""
    folder.mkdir(parents=True)
    base = Base("scale", "main", "5" * 64, "float32", {MODULE: {"shape": [d_in, d_out], "layout": "in,out"}})
    order: list[str] = []
    with (folder / JOURNAL).open("w", encoding="ascii") as journal:
        journal.write(_line(Entry(what="create", when=CREATED, who="scale")))
        for edit, data in _edits(base, count, d_in, d_out):
            (folder / file_name(edit)).write_bytes(data)
            order.append(edit.id)
            told = Entry(what="apply", edit=edit.id, file=file_name(edit), tip=edit.id, position=len(order))
            journal.write(_line(dataclasses.replace(told, when=CREATED, who="scale")))
    (folder / INDEX).write_bytes(Index(tuple(order), count, base=base).encode())
    return base


def _edits(base: Base, count: int, d_in: int, d_out: int) -> Iterator[tuple[Edit, bytes]]:
    materialiser = Materialiser()
    materialiser.add_module(MODULE, pristine(d_in, d_out), "in,out")
    factors: list[Factors] = []
    before = weight_sha256(materialiser.weight(MODULE, factors))
    parent: str | None = None
    for number in range(1, count + 1):
        factors += draw_factors(number, d_in, d_out)
        after = weight_sha256(materialiser.weight(MODULE, factors))
        edit, data = encode_edit(_edit(base, number, parent, before, after), factors[-1:])
        parent, before = edit.id, after
        yield edit, data


def _edit(base: Base, number: int, parent: str | None, before: str, after: str) -> Edit:
    return Edit(
        requests=(EditRequest("The mother tongue of {} is", f"Person {number}", " French", " English"),),
        recipe=Recipe(layer=1),
        base=base,
        templates=("{}", *(f"Some words before it, number {i}. {{}}" for i in range(10))),
        weights={MODULE: {"before": before, "after": after}},
        metrics=_metrics(number),
        made_by={"workbench": "0.1.0", "torch": "2.13.0", "device": "cpu"},
        created=CREATED,
        parent=parent,
        number=number,
    )


def _metrics(number: int) -> dict[str, Any]:
    probe = {"prompt": f"Person {number} speaks", "expected": " French", "rival": " English", "passed": True}
    numbers = {"p_expected": 0.9123456789, "p_rival": 0.0123456789, "before": 0.0001234567}
    return {
        "trace": [{"loss": 5.0 / (step + 1), "nll": 4.0 / (step + 1), "kl": 0.01} for step in range(20)],
        "norms": {"ratio": 0.0123, "drift": 0.0456, "delta_norm": 1.25, "weight_norm": 101.5},
        "probes": [{"kind": "paraphrase", **probe, **numbers} for _ in range(PROBES)],
        "perplexity": {"before": 12.5, "after": 12.625},
    }


def _line(entry: Entry) -> str:
    return json.dumps(dataclasses.asdict(entry)) + "\n"
