"""How long a large stack takes: `python -m tests.benchmarks.scale [COUNT]`, 10,000 edits unless told."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from tests.benchmarks.making import MODULE, draw_factors, make_stack, pristine
from workbench.edits import EditRequest, Recipe
from workbench.stack.lineage import scan
from workbench.stack.materialise import Materialiser, weight_sha256
from workbench.stack.record import Base, Edit, Factors, WeightHashes
from workbench.stack.store import Stack

T = TypeVar("T")
WIDE = (1024, 256)
"""Sides of atlas's edited weight."""


def timed(what: str, do: Callable[[], T]) -> T:
    """Does it and says how long it took, and how much of that on a processor, children included."""
    start, used = time.perf_counter(), _processor()
    result = do()
    say(f"{what:<44} {time.perf_counter() - start:8.2f} s {_processor() - used:8.2f} s")
    return result


def _processor() -> float:
    return sum(os.times()[:4])


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def measure(folder: Path, count: int) -> None:
    """All of it, on a stack that is made for it in `folder`."""
    say(f"{'':<44} {'elapsed':>10} {'processor':>10}")
    base = timed(f"make {count} edits", lambda: make_stack(folder, count))
    size = sum(path.stat().st_size for path in folder.iterdir())
    say(f"{count} edits, {size / 2**20:.1f} MiB on disk, {size // max(1, count)} bytes an edit")
    timed("read all headers", lambda: scan(folder))
    timed("open for reading", lambda: Stack.open(folder))
    command(folder, "log")
    command(folder, "log", "--limit", "20")
    command(folder, "show", str(count))
    _in_memory(folder, base, count)
    _materialise(count)
    command(folder, "log", "--limit", "20")


def command(folder: Path, *words: str) -> None:
    """Times a command line in a process of its own."""
    run = [sys.executable, "-m", "workbench", words[0], *words[1:], "--stack", str(folder)]
    timed(f"workbench {' '.join(words)}", lambda: subprocess.run(run, check=True, capture_output=True))


def _in_memory(folder: Path, base: Base, count: int) -> None:
    stack = timed("open for writing", lambda: Stack.open(folder, write=True, base=base))
    checked = timed("verify every file in full", stack.verify)
    say(f"  {sum(one.ok for one in checked)} of {len(checked)} are good")
    factors = timed("read all factors, checked", lambda: [stack.factors(edit) for edit in stack.active])
    weight = pristine(*stack_sides(base))
    found = Materialiser()
    found.add_module(MODULE, weight, "in,out")
    flat = [one for some in factors for one in some]
    last = timed("materialise", lambda: found.weight(MODULE, flat))
    say(f"  the recorded hash is met: {weight_sha256(last) == stack.line[-1].weights[MODULE]['after']}")
    timed("hashes along the whole line", lambda: _walk(found, flat))
    timed("append one more", lambda: _append(stack, base, count, found, flat))
    timed("undo it", stack.undo)
    timed("redo it", stack.redo)
    timed("go back to the base", lambda: stack.travel(0))
    timed("go to the end again, every file checked", lambda: stack.travel(count))
    stack.close()


def stack_sides(base: Base) -> tuple[int, int]:
    """(d_in, d_out) of the one module."""
    return base.sides(MODULE)


def _walk(found: Materialiser, factors: list[Factors]) -> str:
    found.forget_sums()
    digest = ""
    for position in range(1, len(factors) + 1):
        digest = weight_sha256(found.weight(MODULE, factors[:position]))
    return digest


def _append(stack: Stack, base: Base, count: int, found: Materialiser, factors: list[Factors]) -> Edit:
    one = draw_factors(count + 1, *stack_sides(base))
    before = stack.line[-1].weights[MODULE]["after"]
    after = weight_sha256(found.weight(MODULE, [*factors, *one]))
    request = EditRequest("The mother tongue of {} is", "Somebody", " French")
    hashes: dict[str, WeightHashes] = {MODULE: {"before": before, "after": after}}
    return stack.append(Edit(requests=(request,), recipe=Recipe(layer=1), base=base, weights=hashes), one)


def _materialise(count: int) -> None:
    factors = [one for number in range(count) for one in draw_factors(number, *WIDE)]
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        _materialise_on(device, factors)


def _materialise_on(device: str, factors: list[Factors]) -> None:
    found = Materialiser(device)
    found.add_module(MODULE, pristine(*WIDE), "in,out")
    what = f"{len(factors)} at {WIDE[0]} x {WIDE[1]} on {device}"
    timed(f"materialise {what}", lambda: found.weight(MODULE, factors).cpu())
    found.forget_sums()
    weight = timed("  and again, warm", lambda: found.weight(MODULE, factors).cpu())
    say(f"  sha256 {weight_sha256(weight)[:12]}")
    more = [*factors, *draw_factors(len(factors) + 1, *WIDE)]
    timed("  one more", lambda: found.weight(MODULE, more).cpu())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place) / "scale", int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
