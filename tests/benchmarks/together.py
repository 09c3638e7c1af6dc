"""Edits optimised side by side on one state, beside the same one after the other, in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.benchmarks.edit import Bench
from tests.benchmarks.measuring import Row, against, by_stage, in_turn
from tests.benchmarks.shapes import GPTJ, TINY, Shape, context_templates, word_tokenizer
from workbench.atlas.benchmark import benchmark_requests
from workbench.editing.edit import make_update
from workbench.editing.together import make_updates
from workbench.edits import EditRequest
from workbench.engine.engine import Engine, open_engine

ALONE, TOGETHER = "one after the other", "together"


def rows(quick: bool) -> Iterator[Row]:
    """Whole edits of atlas, probes and saving included; on a GPU also the updates of 32 on GPT-J-6B's shape."""
    yield from _atlas(2 if quick else 16)
    if torch.cuda.is_available():
        yield from _on_cuda(TINY if quick else GPTJ, 4 if quick else 32)


def _atlas(count: int) -> Iterator[Row]:
    requests = benchmark_requests(count)
    with tempfile.TemporaryDirectory() as place:
        engine: Engine = by_stage(open_engine("atlas", stack=Path(place) / "s"), "open", lambda _: None)[0]
        list(engine.apply(requests[0]))  # the first one reads C and samples templates

        def alone() -> None:
            list(engine.undo(engine.stack.position))
            for request in requests:
                list(engine.apply(request))

        def together() -> None:
            list(engine.undo(engine.stack.position))
            list(engine.apply_together(requests))

        times = in_turn({ALONE: alone, TOGETHER: together}, 1 if count < 16 else 3)
        engine.close()
    for way, taken in times.items():
        yield taken.row(f"atlas: {count} edits {way}")
    yield from against(ALONE, times, by="wall")


def _on_cuda(shape: Shape, count: int) -> Iterator[Row]:
    bench = Bench(shape, device="cuda", dtype=torch.bfloat16)
    templates, tokenizer = context_templates(bench.recipe), word_tokenizer()
    requests = [EditRequest("{} w10 w11 w12", f"w{i} w{i + 1}", f"w{i + 100}") for i in range(count)]
    model, site, recipe, moment = bench.model, bench.site, bench.recipe, bench.moment

    def alone() -> None:
        for request in requests:
            list(make_update(model, tokenizer, site, request, recipe, templates, moment, lambda: False))
        torch.cuda.synchronize()

    def together() -> None:
        list(make_updates(model, tokenizer, site, requests, recipe, templates, moment, lambda: False))
        torch.cuda.synchronize()

    times = in_turn({ALONE: alone, TOGETHER: together}, 2)
    for way, taken in times.items():
        yield taken.row(f"{shape.name}: {count} updates {way}")
        yield Row(f"{shape.name}: {way}", value=count / taken.wall, unit="edits a second")
    yield from against(ALONE, times, by="wall")


if __name__ == "__main__":
    import sys

    from tests.benchmarks.__main__ import main

    sys.exit(main(["together", *sys.argv[1:]]))
