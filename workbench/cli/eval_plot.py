"""Curves of an evaluation as SVG or PNG, by matplotlib where that is installed."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import events as ev
from workbench.cli.eval_table import LABELS
from workbench.errors import UsageError
from workbench.stack.files import write_atomic

if TYPE_CHECKING:
    from workbench.engine.evaluating.results import Results

SUFFIXES = (".svg", ".png")
COLOURS = {"es": "#0072b2", "ps": "#e69f00", "ns": "#009e73", "s": "#000000"}
"""Of Okabe and Ito: told apart also by who sees few colours."""
MARKS = {"es": "o", "ps": "s", "ns": "^", "s": "D"}
DECADE = 10.0
"""A perplexity that grows more than this has a logarithmic axis."""
BARS = ("es", "ps", "ns", "s", "ea", "pa", "na")


def check_plot(path: Path) -> None:
    """Raises UsageError for a file of another kind, or where matplotlib is missing."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"A plot is not written as '{path.name}'.", "Name it .svg or .png.")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("Plots need matplotlib.", "pip install rome-workbench[plot]")


def plot(found: ev.Evaluated, results: Results, path: Path) -> None:
    """Writes the scores of edits alone as bars, those of a stack as curves along it. Raises StorageError."""
    from matplotlib.figure import Figure

    edited = sorted(number for number in results.checkpoints if number)
    figure = Figure(figsize=(7, 6 if edited else 4), layout="constrained")
    if edited:
        _curves(figure, results, edited)
    else:
        _bars(figure.subplots(), found)
    figure.suptitle(_title(results, found), fontsize=10)
    written = io.BytesIO()
    figure.savefig(written, format=path.suffix[1:].lower(), dpi=150, metadata={"Date": None} if _svg(path) else None)
    write_atomic(path, written.getvalue())


def _svg(path: Path) -> bool:
    return path.suffix.lower() == ".svg"


def _title(results: Results, found: ev.Evaluated) -> str:
    plan = results.plan
    recipe = plan.get("recipe", {})
    return f"{recipe.get('method')} at layer {recipe.get('layer')}, {plan.get('mode')}, {found.cases} cases"


def _bars(axes: Any, found: ev.Evaluated) -> None:
    """Base beside edited, with their intervals."""
    names = [name for name in BARS if name in found.rows]
    for place, side in enumerate(("base", "edited")):
        rows = [found.rows[name] for name in names]
        values = [row[side] for row in rows]
        errors = [
            [max(row[side] - row[f"{side}_low"], 0.0) for row in rows],
            [max(row[f"{side}_high"] - row[side], 0.0) for row in rows],
        ]
        at = [i + 0.4 * place - 0.2 for i in range(len(names))]
        axes.bar(at, values, 0.38, yerr=errors, capsize=3, label=side, color=("#bbbbbb", "#0072b2")[place])
    axes.set_xticks(range(len(names)), [LABELS[name].split()[0] for name in names])
    axes.set_ylim(0, 1.05)
    axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))


def _curves(figure: Any, results: Results, edited: list[int]) -> None:
    """Scores of all edits so far above, perplexity and drift below."""
    from workbench.engine.evaluating.bootstrap import intervals

    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    found = [intervals([*results.checkpoints[number].scores.values()]) for number in edited]
    for name, colour in COLOURS.items():
        points = [(x, one) for x, at in zip(edited, found, strict=True) if (one := at[name])]
        xs = [x for x, _ in points]
        above.plot(xs, [one.value for _, one in points], color=colour, marker=MARKS[name], ms=4, label=name.upper())
        above.fill_between(xs, [o.low for _, o in points], [o.high for _, o in points], color=colour, alpha=0.12, lw=0)
    above.set_ylim(-0.02, 1.05)
    above.set_ylabel("all edits so far")
    above.legend(frameon=False, ncols=4)
    _below(below, results, edited)


def _below(axes: Any, results: Results, edited: list[int]) -> None:
    states = [0, *edited] if 0 in results.checkpoints else edited
    lines = [results.checkpoints[number] for number in states]
    read = [line.perplexity for line in lines if line.perplexity is not None]
    if read:
        axes.plot(states, [line.perplexity for line in lines], color="#d55e00", marker="o", ms=4)
        axes.set_yscale("log" if max(read) > DECADE * min(read) else "linear")
    axes.set_ylabel("perplexity", color="#d55e00")
    axes.set_xlabel("edits")
    drift = axes.twinx()
    drift.plot(states, [line.drift for line in lines], color="#56b4e9", ls="--")
    drift.set_ylabel("drift", color="#56b4e9")
