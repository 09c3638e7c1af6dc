"""Peak memory of an edit beside the loaded model: bfloat16, Llama-3.2-1B's shape, in a process of its own.

An edit may need a tenth of the model or 1 GiB, whichever is more, on top of the model.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from tests.benchmarks.measuring import Row

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
STEPS = 2
"""Evaluations of the loss: the second one needs what every later one needs."""


def rows(quick: bool) -> Iterator[Row]:
    """Without C, with C, and the insertion."""
    if not CLEAR.exists() or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        yield Row("skipped: this system does not tell a process's peak memory")
        return
    shape = "TINY_LLAMA" if quick else "LLAMA_1B"
    child = f"import json; from tests.benchmarks.memory import measure; print(json.dumps(measure('{shape}')))"
    done = subprocess.run([sys.executable, "-c", child], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    model = told.pop("model")
    yield Row(f"the model, {shape}", value=model, unit="MiB", note=f"allowed: {max(1024, model / 10):.0f} MiB more")
    for what, above in told.items():
        yield Row(what, value=above, unit="MiB", note=f"{100 * above / model:.1f} % of the model")


def measure(shape: str) -> dict[str, float]:
    """MiB: the model, then the peak above what was there before, by what was done; to run in a process of its own."""
    from tests.benchmarks import shapes
    from tests.benchmarks.edit import Bench
    from workbench.stack.materialise import Materialiser
    from workbench.stack.record import Factors

    bench = Bench(getattr(shapes, shape), dtype=torch.bfloat16, steps=STEPS)
    model = sum(parameter.nbytes for parameter in bench.model.parameters()) / 2**20
    found = {"model": model, "factorise C": peak(lambda: bench.moment.factorisation)}
    found["edit, fast"] = peak(lambda: bench.run("fast"))
    found["edit, plain"] = peak(lambda: bench.run("plain"))
    u, v = bench.made["fast"]
    site, live = bench.site, Materialiser()
    factors = Factors(site.module, u[None, :].numpy(), v[:, None].numpy())

    def insert() -> None:
        live.add_module(site.module, site.weight(bench.model), site.layout)
        live.weight(site.module, [factors])

    found["insert, what is kept included"] = peak(insert)
    return found


def peak(do: Callable[[], object]) -> float:
    """MiB by which this process grew at most while it did it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before is no room for it
    CLEAR.write_text("5")  # the peak is counted from here
    before = _kib("VmRSS")
    do()
    return (_kib("VmHWM") - before) / 2**10


def _kib(name: str) -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0])


if __name__ == "__main__":
    from tests.benchmarks.__main__ import main

    sys.exit(main(["memory", *sys.argv[1:]]))
