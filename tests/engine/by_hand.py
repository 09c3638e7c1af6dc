"""Stacks made of numbers and not of facts: edits of any size, whose targets are what the base says, or are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.edits import EditRequest, Recipe
from workbench.engine.engine import Engine
from workbench.probing.answers import Question, read_answers
from workbench.stack.record import Edit, Factors, WeightHashes

LAYER = 1
HASHES = WeightHashes(before="0" * 64, after="0" * 64)


@dataclass(frozen=True)
class Planned:
    """One edit to be put in by hand."""

    size: float = 1e-6
    """Of its update: |v|, with |u| = 1."""
    holds: bool = True
    """Its target is what the base says, so that it wins for as long as the answer stays; else it never does."""
    took: bool = True
    """It is recorded that the target won when it was made."""


def said_by_base(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int) -> list[EditRequest]:
    """Requests whose target is one word that the model says anyway."""
    found: list[EditRequest] = []
    for number in range(40 * count):
        request = EditRequest("{} plays the", f"Player {number}", "violin")
        (reading,) = read_answers(model, tokenizer, [Question(request.text)], top=1)
        word = reading.top[0][0]
        if word.startswith(" ") and word.strip().isalpha():
            found.append(EditRequest(request.prompt, request.subject, word.strip()))
        if len(found) == count:
            return found
    raise AssertionError("the model says too few words")


def plant(engine: Engine, plan: Sequence[Planned], seed: int = 0, *, alike: bool = False) -> None:
    """Appends the edits of `plan` to an empty stack; the model shows them. `alike`: all go in one direction."""
    core = engine.core
    site = core.site(LAYER)
    core.live.adopt_site(site)
    draw = np.random.default_rng(seed)
    requests = said_by_base(core.loaded.model, core.loaded.tokenizer, len(plan))
    for request, one in zip(requests, plan, strict=True):
        draw = np.random.default_rng(seed) if alike else draw
        a = draw.standard_normal((1, site.d_in)).astype(np.float32)
        b = draw.standard_normal((site.d_out, 1)).astype(np.float32)
        asked = request if one.holds else EditRequest(request.prompt, request.subject, "qqqq")
        probe = {"kind": "efficacy", "prompt": asked.text, "passed": one.took}
        norms = {"ratio": one.size, "division_factor": 2.0}
        edit = Edit(
            requests=(asked,),
            recipe=Recipe(layer=LAYER),
            base=core.base(site),
            weights={site.module: HASHES},
            metrics={"probes": [probe], "norms": norms},
        )
        factors = Factors(site.module, a / np.linalg.norm(a), one.size * b / np.linalg.norm(b))
        engine.stack.append(edit, (factors,))
    core.rebuild()
