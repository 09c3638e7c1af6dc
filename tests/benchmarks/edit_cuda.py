"""One edit of large models' shapes on a CUDA device, bfloat16, random weights made there. No device: one line."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import torch

from tests.benchmarks.edit import FAST, Bench, three_ways
from tests.benchmarks.measuring import Row, clock
from tests.benchmarks.shapes import GPT2_XL, GPTJ, LLAMA_8B, TINY, Shape
from workbench.editing.graphs import refused, shelf_of
from workbench.editing.loss import head_of
from workbench.models.families import decoder_blocks


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
    yield from _bound(bench, steps)
    peak = torch.cuda.max_memory_allocated() - held
    yield Row(f"{shape.name}: peak memory above the model", value=100 * peak / held, unit="% of the model")
    del bench
    gc.collect()
    torch.cuda.empty_cache()


def _bound(bench: Bench, steps: int) -> Iterator[Row]:
    """What the steps cost at least: each reads every weight above the edited block twice, forwards and backwards."""
    blocks = decoder_blocks(bench.model)[bench.site.layer + 1 :]
    modules = [*blocks, head_of(bench.model)]
    read = sum(p.numel() * p.element_size() for module in modules for p in module.parameters())
    rate = _bandwidth()
    least = 2 * (steps - 1) * read / rate
    yield Row("memory of the device is read and written at", value=rate / 1e12, unit="TB/s")
    yield Row("least time of the steps: weights read at that rate", wall=least)
    shelf = shelf_of(bench.model)
    kept = 0 if shelf is None else len(shelf)
    share = 100 * least / bench.stages[FAST]["steps"].wall
    said = refused(bench.model) or f"{kept} recorded as a CUDA graph"
    yield Row("share of it in the fast way's steps", value=share, unit="%", note=said)


def _bandwidth(size: int = 2**30, repeats: int = 20) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    one = torch.empty(size, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(one)
    other.copy_(one)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        other.copy_(one)
    torch.cuda.synchronize()
    return 2 * size * repeats / (time.perf_counter() - start)


if __name__ == "__main__":
    import sys

    from tests.benchmarks.__main__ import main

    sys.exit(main(["edit-cuda", *sys.argv[1:]]))
