"""Runs benchmarks: `python -m tests.benchmarks [NAME ...] [--quick] [--json OUT] [--against EARLIER.json]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.measuring import Row
from tests.benchmarks.registry import BENCHMARKS, benchmark, named
from tests.benchmarks.report import comparison, document, heading, line, read
from workbench.models.kept import VARIABLE


def main(words: Sequence[str] | None = None) -> int:
    """Measures what is asked for; 2 if it is not there."""
    asked = _parser().parse_args(words)
    try:
        names = named(asked.names)
    except KeyError as error:
        say(f"There is no benchmark {error}; there are {', '.join(BENCHMARKS)}.")
        return 2
    earlier = read(asked.against) if asked.against else None
    with own_cache():
        results = {name: measured(name, quick=asked.quick) for name in names}
    made = document(results, quick=asked.quick)
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    if earlier:
        for text in comparison(made, earlier):
            say(text)
    return 0


@contextmanager
def own_cache() -> Iterator[None]:
    """Nothing that the workbench keeps between runs is read or written."""
    before = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory() as kept:
        os.environ[VARIABLE] = kept
        try:
            yield
        finally:
            os.environ.pop(VARIABLE)
            os.environ.update({VARIABLE: before} if before is not None else {})


def measured(name: str, *, quick: bool) -> list[Row]:
    """The rows of one benchmark, said as they come."""
    say(f"{name}\n{heading()}")
    rows = []
    for row in benchmark(name)(quick):
        say(line(row))
        rows.append(row)
    say("")
    return rows


def say(text: str) -> None:
    """A line for the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}, or how some of them begin")
    parser.add_argument("--quick", action="store_true", help="the smallest shapes, once: shows that all of it runs")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures, versions and machine there")
    parser.add_argument("--against", type=Path, metavar="EARLIER", help="compare with such a file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
