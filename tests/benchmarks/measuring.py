"""What a benchmark measures: wall time and processor time side by side, several things in turn, medians of them."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One line of a table. Times are seconds; None where there is none."""

    what: str
    wall: float | None = None
    cpu: float | None = None
    """Processor time of this process and its children, all threads."""
    value: float | None = None
    unit: str = ""
    """Of `value`."""
    ratio: float | None = None
    """How many times less this one takes than `against`: of processor time where both have one thread, else of wall."""
    against: str = ""
    note: str = ""


@dataclass
class Times:
    """What something took, once a repeat, and what it returned last."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    result: Any = None

    @property
    def wall(self) -> float:
        """Median seconds."""
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        """Median seconds of processor time."""
        return statistics.median(self.cpus)

    def add(self, start: Stamp, end: Stamp) -> None:
        """Writes down another repeat."""
        self.walls.append(end.wall - start.wall)
        self.cpus.append(end.cpu - start.cpu)

    def row(self, what: str, note: str = "") -> Row:
        """As a line without a ratio."""
        return Row(what, self.wall, self.cpu, note=note)


@dataclass(frozen=True)
class Stamp:
    """A moment, when everything asked of an accelerator is done."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Stamp:
        """This moment; children that have ended are in its processor time."""
        cuda: Any = torch.cuda
        if cuda.is_initialized():
            cuda.synchronize()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime)


def clock(do: Callable[[], Any], times: Times | None = None) -> Times:
    """Does it once and writes down what it took."""
    times = times or Times()
    start = Stamp.now()
    times.result = do()
    times.add(start, Stamp.now())
    return times


def by_stage(making: Generator[S, None, T], first: str, stage: Callable[[S], str | None]) -> tuple[T, dict[str, Times]]:
    """Exhausts a generator: what it returns, and what each stage took.

    The first stage is `first`; `stage` says which one an event begins, None if it begins none.
    """
    stages: dict[str, Times] = {}
    start = Stamp.now()
    while True:
        try:
            begun = stage(next(making))
        except StopIteration as stop:
            stages.setdefault(first, Times()).add(start, Stamp.now())
            return stop.value, stages
        if begun and begun != first:
            now = Stamp.now()
            stages.setdefault(first, Times()).add(start, now)
            first, start = begun, now


def in_turn(things: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Times]:
    """Each of `things` once, then again, `repeats` times: what else the machine does meets them all."""
    found = {name: Times() for name in things}
    for _ in range(repeats):
        for name, do in things.items():
            clock(do, found[name])
    return found


def against(
    base: str, found: Mapping[str, Times], *, by: str = "cpu", notes: Mapping[str, str] | None = None
) -> Iterator[Row]:
    """A line for each, with how many times less it takes than `base`, by "cpu" or "wall"."""
    whole = getattr(found[base], by)
    for name, times in found.items():
        ratio = None if name == base else whole / max(getattr(times, by), 1e-9)
        yield Row(
            name,
            times.wall,
            times.cpu,
            ratio=ratio,
            against="" if name == base else base,
            note=(notes or {}).get(name, ""),
        )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch uses so many threads for as long as the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
