"""One edit of large models' shapes on a CUDA device, bfloat16, random weights made there. No device: one line."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

from tests.benchmarks.edit import Bench, three_ways
from tests.benchmarks.measuring import Row, clock
from tests.benchmarks.shapes import GPT2_XL, GPTJ, LLAMA_8B, TINY, Shape


def rows(quick: bool) -> Iterator[Row]:
    """GPT-2 XL's, GPT-J-6B's and Llama-3-8B's shapes; a tiny one if `quick`."""
    if not torch.cuda.is_available():
        yield Row("skipped: there is no CUDA device here")
        return
    for shape in (TINY,) if quick else (GPT2_XL, GPTJ, LLAMA_8B):
        yield from _one(shape, steps=3 if quick else 20)


def _one(shape: Shape, *, steps: int) -> Iterator[Row]:
    torch.cuda.reset_peak_memory_stats()
    bench = Bench(shape, device="cuda", dtype=torch.bfloat16, steps=steps)
    held = torch.cuda.memory_allocated()
    yield Row(f"{shape.name}: {bench.model.num_parameters() / 1e9:.2f} billion weights", value=held / 2**20, unit="MiB")
    moment = bench.moment
    yield clock(lambda: moment.factorisation).row(f"{shape.name}: factorise C, once for a model")
    for way in bench.stages:
        bench.run(way)  # what is compiled, captured or chosen at a first use
        bench.stages[way].clear()
    for row in three_ways(bench, by="wall", repeats=3):
        yield Row(**{**vars(row), "what": f"{shape.name}: {row.what}"})
    peak = torch.cuda.max_memory_allocated() - held
    yield Row(f"{shape.name}: peak memory above the model", value=100 * peak / held, unit="% of the model")
    del bench
    gc.collect()
    torch.cuda.empty_cache()


if __name__ == "__main__":
    import sys

    from tests.benchmarks.__main__ import main

    sys.exit(main(["edit-cuda", *sys.argv[1:]]))
