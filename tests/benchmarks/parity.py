"""How exact the fast way is, family by family: u and v in float32 against a slow derivation in float64.

`python -m tests.benchmarks.families` gives all that is known of each family as one table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import zoo
from tests.benchmarks.families import HEADINGS, measured
from tests.benchmarks.measuring import Row


def rows(quick: bool) -> Iterator[Row]:
    """Two lines a family; of two families if `quick`."""
    for family in zoo.FAMILIES[:2] if quick else (*zoo.FAMILIES, *zoo.HYBRIDS):
        with tempfile.TemporaryDirectory() as folder:
            told = dict(zip(HEADINGS, measured(family, Path(folder)), strict=True))
        others = ", ".join(f"{name} {told[name]}" for name in ("fast", "undo", "adapter", "merged", "bf16", "fp16"))
        yield Row(f"{family}: u", value=float(told["u"]), unit="relative", note=others)
        yield Row(f"{family}: v", value=float(told["v"]), unit="relative")


if __name__ == "__main__":
    import sys

    from tests.benchmarks.__main__ import main

    sys.exit(main(["parity", *sys.argv[1:]]))
