"""Benchmarks as a table, as a JSON file, and beside an earlier one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import machine, versions
from tests.benchmarks.measuring import Row

Results = Mapping[str, Sequence[Row]]


def document(results: Results, *, quick: bool) -> dict[str, Any]:
    """Everything that is worth keeping of a run."""
    return {
        "format": 1,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "machine": machine(),
        "versions": versions(),
        "benchmarks": {name: [dataclasses.asdict(row) for row in rows] for name, rows in results.items()},
    }


def read(path: Path) -> dict[str, Any]:
    """A document of an earlier run."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def line(row: Row) -> str:
    """One row of a table."""
    ratio = f"{row.ratio:8.2f}x less than {row.against}" if row.ratio is not None else ""
    value = f"{row.value:10.4g} {row.unit}" if row.value is not None else ""
    return f"  {row.what:<52} {_seconds(row.wall)} {_seconds(row.cpu)} {value}{ratio}  {row.note}".rstrip()


def heading() -> str:
    """What stands above the rows."""
    return f"  {'':<52} {'wall':>10} {'processor':>10}"


def comparison(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    """Lines that hold a run against an earlier one: ratios always, times only on the same machine."""
    same = now["machine"] == before["machine"]
    yield f"against the run of {before['made']}" + ("" if same else ", on another machine: only ratios can be compared")
    for name, rows in now["benchmarks"].items():
        earlier = {row["what"]: row for row in before["benchmarks"].get(name, ())}
        for row in rows:
            if row["what"] in earlier:
                yield from _compared(name, row, earlier[row["what"]], same=same)


def _compared(name: str, now: Mapping[str, Any], before: Mapping[str, Any], *, same: bool) -> Iterable[str]:
    kinds = [("ratio", "x"), ("value", f" {now['unit']}")] + (
        [("wall", " s"), ("cpu", " s of processor")] if same else []
    )
    told = [
        f"{before[kind]:.4g}{unit} -> {now[kind]:.4g}{unit}"
        for kind, unit in kinds
        if before[kind] is not None and now[kind] is not None and (same or kind == "ratio" or now["unit"] in SIZES)
    ]
    return [f"  {name}: {now['what']}: " + ", ".join(told)] if told else []


SIZES = ("MiB", "% of the model", "relative")
"""Units of values that do not depend on how fast a machine is."""


def _seconds(value: float | None) -> str:
    return f"{'':>10}" if value is None else f"{value:8.3f} s" if value >= 0.1 else f"{value * 1e3:7.2f} ms"
