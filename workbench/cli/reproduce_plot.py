"""The curves of the collapse experiment as SVG or PNG: norms, perplexity, drift and what holds, a line a method."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.stack.files import write_atomic

COLOURS = {
    "rome": "#d55e00",
    "p-rome": "#e69f00",
    "r-rome": "#0072b2",
    "c-rome": "#56b4e9",
    "memit": "#009e73",
    "emmet": "#cc79a7",
}
"""Of Okabe and Ito."""


def plot(out: Path, methods: Sequence[str], path: Path) -> None:
    """Draws what lies in `out`. Raises StackError, StorageError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    panels = dict(zip(("norm", "perplexity", "drift", "es"), figure.subplots(2, 2).flat, strict=True))
    for method in methods:
        _norms(panels["norm"], out / method, method)
        _along(panels, out / method, method)
    for name, title in (("norm", "|ΔW| of each edit"), ("perplexity", "perplexity"), ("drift", "|W − W0| / |W0|")):
        panels[name].set_title(title, fontsize=10)
    panels["es"].set_title("earlier edits whose target wins", fontsize=10)
    panels["es"].set_ylim(-0.02, 1.05)
    panels["norm"].set_yscale("log")
    panels["perplexity"].set_yscale("log")
    panels["norm"].legend(frameon=False, fontsize=8)
    for panel in panels.values():
        panel.set_xlabel("facts", fontsize=8)
    written = io.BytesIO()
    svg = path.suffix.lower() == ".svg"
    figure.savefig(written, format=path.suffix[1:].lower(), dpi=150, metadata={"Date": None} if svg else None)
    write_atomic(path, written.getvalue())


def _norms(panel: Any, folder: Path, method: str) -> None:
    from workbench.engine.evaluating.results import Results

    lines = [line for line in Results.at(folder).cases.values() if "delta_norm" in line.norms]
    xs, ys = [line.case + 1 for line in lines], [line.norms["delta_norm"] for line in lines]
    panel.plot(xs, ys, color=COLOURS.get(method), lw=0.8, label=method)


def _along(panels: dict[str, Any], folder: Path, method: str) -> None:
    from workbench.engine.collapse.run import measured_along
    from workbench.engine.evaluating.results import Results

    reports, batch = measured_along(folder), max(1, Results.at(folder).plan.get("cases", {}).get("batch", 1))
    for name in ("perplexity", "drift", "es"):
        points = [(one.position * batch, value) for one in reports if (value := getattr(one, name)) is not None]
        panels[name].plot([x for x, _ in points], [y for _, y in points], color=COLOURS.get(method), marker="o", ms=3)
