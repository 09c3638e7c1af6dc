"""One r-ROME edit by stage: the fast way, the plain way, and what the papers' code does, in turn in one run.

`python -m tests.benchmarks edit-gpt2`; one thread, 21 context templates, 20 evaluations of the loss.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests.benchmarks.measuring import Row, Stamp, Times, against, by_stage, clock, threads
from tests.benchmarks.papers import papers_update
from tests.benchmarks.shapes import (
    GPT2,
    GPT2_MEDIUM,
    LLAMA_1B,
    REQUEST,
    TINY,
    TINY_LLAMA,
    Shape,
    context_templates,
    random_model,
    random_moment,
    word_tokenizer,
)
from workbench.atlas.benchmark import benchmark_requests
from workbench.editing.edit import make_update
from workbench.edits import EditRequest, Recipe
from workbench.engine.engine import open_engine
from workbench.events import Event, KeyReady, OptimStep, StageStarted
from workbench.models.families import EditSite, edit_site
from workbench.probing.probes import ask, probes_of
from workbench.stack.materialise import Materialiser, weight_sha256
from workbench.stack.record import Factors

FAST, PLAIN, PAPERS = "fast", "plain", "papers"
Given = tuple[PreTrainedModel, PreTrainedTokenizerBase, EditSite, EditRequest, Recipe, tuple[str, ...]]
WAYS = (FAST, PLAIN, PAPERS)
ONCE = "inverse of C"
"""A stage that the papers' code has once for a model; not in its total."""


class Bench:
    """A model on a device, everything that an edit of it takes, and what edits of it took."""

    def __init__(
        self, shape: Shape, *, device: str = "cpu", dtype: torch.dtype = torch.float32, steps: int = 20
    ) -> None:
        """The loss has no early stop, so that every way takes every step."""
        self.model = random_model(shape, device=device, dtype=dtype)
        self.site = edit_site(self.model, shape.layer)
        self.recipe = Recipe(layer=shape.layer, steps=steps, loss_stop=0.0)
        self.moment = random_moment(self.site.d_in, device)
        self.made: dict[str, tuple[Tensor, Tensor]] = {}
        """u and v by the way they were made."""
        self.stages: dict[str, dict[str, Times]] = {way: {} for way in WAYS}

    def run(self, way: str) -> None:
        """Makes the update once."""
        if way == PAPERS:
            theirs = papers_update(*self._given(), self.moment.C)
            self.made[way], stages = (theirs.u, theirs.v), theirs.stages
        else:
            making = make_update(*self._given(), self.moment, lambda: False, plain=way == PLAIN)
            update, stages = by_stage(making, "keys", _part_of)
            self.made[way] = update.u, update.v
        _add(stages, self.stages[way])

    def total(self, way: str) -> Times:
        """Of all stages, once a repeat."""
        stages = [times for stage, times in self.stages[way].items() if stage != ONCE]
        walls = zip(*(times.walls for times in stages), strict=True)
        return Times([*map(sum, walls)], [*map(sum, zip(*(times.cpus for times in stages), strict=True))])

    def agreement(self, one: str, other: str) -> Iterator[Row]:
        """How far apart two ways' u and v are, relative to the other's norm."""
        for name, a, b in zip("uv", self.made[one], self.made[other], strict=True):
            yield Row(f"{name} of {one} and {other} differ by", value=float((a - b).norm() / b.norm()), unit="relative")

    def _given(self) -> Given:
        return self.model, word_tokenizer(), self.site, REQUEST, self.recipe, context_templates(self.recipe)


def _part_of(event: Event) -> str | None:
    """Which part of an edit an event begins."""
    if isinstance(event, KeyReady):
        return "steps"
    return "solve" if isinstance(event, OptimStep) and event.stopped else None


def gpt2(quick: bool) -> Iterator[Row]:
    """GPT-2 small's shape."""
    yield from on_one_thread(TINY if quick else GPT2, quick=quick, repeats=1 if quick else 3)


def gpt2_medium(quick: bool) -> Iterator[Row]:
    """GPT-2 medium's shape."""
    yield from on_one_thread(TINY if quick else GPT2_MEDIUM, quick=quick)


def llama_1b(quick: bool) -> Iterator[Row]:
    """Llama-3.2-1B's shape."""
    yield from on_one_thread(TINY_LLAMA if quick else LLAMA_1B, quick=quick)


def on_one_thread(shape: Shape, *, quick: bool, repeats: int = 1) -> Iterator[Row]:
    """All three ways on one thread of a CPU, in float32."""
    with threads(1):
        bench = Bench(shape, steps=3 if quick else 20)
        yield clock(lambda: bench.moment.factorisation).row(f"{shape.name}: factorise C, once for a model")
        yield from three_ways(bench, by="cpu", repeats=repeats)


def three_ways(bench: Bench, *, by: str, repeats: int) -> Iterator[Row]:
    """For each way a row a stage and the whole, then whether u and v agree, then what comes after them."""
    for _ in range(repeats):
        for way in WAYS:
            bench.run(way)
    for way in WAYS:
        for stage, times in bench.stages[way].items():
            yield times.row(f"{way}: {stage}")
    yield from against(PAPERS, {way: bench.total(way) for way in reversed(WAYS)}, by=by)
    faster = bench.total(FAST)
    yield Row("fast, beside plain", faster.wall, faster.cpu, ratio=_times_less(bench, by), against=PLAIN)
    for way in WAYS[1:]:
        yield from bench.agreement(FAST, way)
    yield from _after(bench)


def _times_less(bench: Bench, by: str) -> float:
    plain, fast = (getattr(bench.total(way), by) for way in (PLAIN, FAST))
    return float(plain / fast)


def _after(bench: Bench) -> Iterator[Row]:
    """Insert: the weight and its hash; probe: every probe of the request."""
    made = bench.made[FAST]
    site = bench.site
    factors = Factors(site.module, made[0][None, :].numpy(), made[1][:, None].numpy())
    live = Materialiser(bench.model.device)
    live.add_module(site.module, site.weight(bench.model), site.layout)
    yield clock(lambda: weight_sha256(live.weight(site.module, [factors]))).row("insert: the weight and its hash")
    probes = probes_of(REQUEST)
    yield clock(lambda: ask(bench.model, word_tokenizer(), probes, side="stack")).row(f"probe: {len(probes)} probes")


def atlas(quick: bool) -> Iterator[Row]:
    """Whole edits of atlas as the workbench makes them, probes and saving included, on all cores."""
    with tempfile.TemporaryDirectory() as place:
        engine, _ = by_stage(open_engine("atlas", stack=Path(place) / "stack"), "open", _no_stage)
        requests = benchmark_requests(2 if quick else 9)
        whole = Times()
        stages: dict[str, Times] = {}
        by_stage(engine.apply(requests[0]), "begin", _stage_of)  # the first one reads C and samples templates
        for request in requests[1:]:
            start = Stamp.now()
            _, found = by_stage(engine.apply(request), "begin", _stage_of)
            whole.add(start, Stamp.now())
            _add(found, stages)
        engine.close()
    for stage, times in stages.items():
        yield times.row(f"atlas: {stage}")
    yield whole.row(
        "atlas: one edit, all of it", note=f"median of {len(whole.walls)}; slowest {max(whole.walls):.2f} s"
    )


def _add(found: Mapping[str, Times], stages: dict[str, Times]) -> None:
    """Another repeat of each stage; a stage that came several times in one counts once, with its sum."""
    for stage, times in found.items():
        kept = stages.setdefault(stage, Times())
        kept.walls.append(sum(times.walls))
        kept.cpus.append(sum(times.cpus))


def _stage_of(event: Event) -> str | None:
    return event.stage if isinstance(event, StageStarted) else None


def _no_stage(_: Event) -> None:
    return None


if __name__ == "__main__":
    import sys

    from tests.benchmarks.__main__ import main

    sys.exit(main(["edit", *sys.argv[1:]]))
