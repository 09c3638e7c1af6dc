"""Weights from a stack: all edits at once, one more, undo and travel, beside whole outer products in the same run.

6400 x 1600 in float32, GPT-2 XL's down-projection, on all cores; on CUDA too where there is a device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tests.benchmarks.making import MODULE, draw_factors, pristine
from tests.benchmarks.measuring import Row, Times, against, clock, in_turn
from workbench.stack.materialise import Materialiser, weight_sha256
from workbench.stack.record import Factors

SIDES, QUICK_SIDES = (6400, 1600), (256, 64)
NAIVE = 20
"""Edits that the naive ways add, which cost the same each; their times are for as many as the others have."""


def rows(quick: bool) -> Iterator[Row]:
    """For 10, 1,000 and 10,000 edits."""
    sides = QUICK_SIDES if quick else SIDES
    factors = [one for number in range(50 if quick else 1_000) for one in draw_factors(number, *sides)]
    for count in (10, 50) if quick else (10, 1_000, 10_000):
        line = (factors * -(-count // len(factors)))[:count]
        for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            yield from _beside_naive(line, sides, device)
            yield from _journeys(line, sides, device)


def _beside_naive(line: list[Factors], sides: tuple[int, int], device: str) -> Iterator[Row]:
    weight, few = pristine(*sides), line[:NAIVE]
    found = Materialiser(device)
    found.add_module(MODULE, weight, "in,out")

    def tiled(some: list[Factors]) -> Tensor:
        found.forget_sums()
        return found.weight(MODULE, some)

    label = f"{len(line):,} edits on {device}"
    expected = _outers(weight.to(device), few)
    if not torch.equal(tiled(few), expected) or not torch.equal(_in_place(weight.to(device), few), expected):
        raise AssertionError("the ways do not agree to the bit")
    base = f"{label}: an outer product after the other"
    ways = {
        base: lambda: _outers(weight.to(device), few),
        f"{label}: the same, added in place": lambda: _in_place(weight.to(device), few),
        f"{label}: tiles": lambda: tiled(line),
    }
    times = in_turn(ways, 1 if len(line) > 1_000 else 3)
    for name in list(ways)[:2]:
        times[name] = _times(times[name], len(line) / len(few))
    notes = {name: f"from {len(few)} of them" for name in list(ways)[:2] if len(few) < len(line)}
    yield from against(base, times, by="wall", notes=notes)


def _times(times: Times, factor: float) -> Times:
    return Times([wall * factor for wall in times.walls], [cpu * factor for cpu in times.cpus])


def _outers(weight: Tensor, factors: list[Factors]) -> Tensor:
    """Every outer product made whole in float64, then added."""
    total = weight.double()
    for one in factors:
        total += torch.outer(*_sides(one, weight.device))
    return total.float()


def _in_place(weight: Tensor, factors: list[Factors]) -> Tensor:
    """Every outer product added to the whole weight without being made."""
    total = weight.double()
    for one in factors:
        total.addr_(*_sides(one, weight.device))
    return total.float()


def _sides(one: Factors, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(one.a[0]).to(device).double(), torch.from_numpy(one.b[:, 0]).to(device).double()


def _journeys(line: list[Factors], sides: tuple[int, int], device: str) -> Iterator[Row]:
    found = Materialiser(device)
    found.add_module(MODULE, pristine(*sides), "in,out")
    label = f"{len(line):,} edits on {device}"
    found.weight(MODULE, line[:-1])

    def to(end: int) -> Times:
        return clock(lambda: found.weight(MODULE, line[:end]))

    yield to(len(line)).row(f"{label}: one more")
    yield to(len(line) - 1).row(f"{label}: undo")
    yield to(len(line)).row(f"{label}: redo")
    yield clock(lambda: [to(len(line) - back) for back in range(1, 9)]).row(f"{label}: eight times undo")
    to(len(line))
    yield to(len(line) // 2).row(f"{label}: travel to the middle")
    yield to(len(line)).row(f"{label}: and to the end again")
    yield clock(lambda: found.weight(MODULE, [*line[:-3], *line[-2:]])).row(f"{label}: toggle the last but two")
    weight = found.weight(MODULE, line)
    yield clock(lambda: weight_sha256(weight)).row(f"{label}: hash")
    yield clock(lambda: found.sha256(MODULE, line)).row(f"{label}: round and hash")


if __name__ == "__main__":
    import sys

    from tests.benchmarks.__main__ import main

    sys.exit(main(["materialise", *sys.argv[1:]]))
