"""The end of an evaluation: its curves, its table, what became of the model, and the plots that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import events as ev
from workbench.cli.eval_table import CHECKPOINT_HEADER, MEANING, chart, checkpoint_line, table
from workbench.cli.lines import count
from workbench.cli.output import Output
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.engine.evaluating.results import Results

MOVED = 1.02
"""A perplexity that stays within this factor has no curve."""


def show_results(output: Output, results: Results, of: int, plots: Sequence[Path]) -> int:
    """Says what `results` came to, of `of` cases, and writes the plots; returns the exit code.

    Raises:
        UsageError: no case is done. StorageError: a plot cannot be written.
    """
    from workbench.engine.evaluating.outcome import outcome, told

    if not results.cases:
        raise UsageError(f"No case is done yet in {results.folder}.", "workbench eval DATASET goes on with it.")
    found = outcome(results, of)
    curve = [told(line, of) for edited, line in sorted(results.checkpoints.items()) if edited]
    output.line("")
    for line in (*_curve(curve), *table(found), *_perplexity(results, curve)):
        output.line(line)
    output.event(found, "eval")
    for line in MEANING:
        output.tell(line)
    _plot(output, found, results, plots)
    if found.failed:
        output.tell(f"{count(found.failed, 'case')} could not be edited or asked: failures in all measures.")
    return output.done(1 if found.failed else 0, f"{found.cases} of {count(of, 'case')}")


def _curve(curve: Sequence[ev.CheckpointScored]) -> Iterator[str]:
    """How a stack's edits hold, checkpoint by checkpoint."""
    if not curve:
        return
    yield CHECKPOINT_HEADER
    yield from map(checkpoint_line, curve)
    edited = [one.edited for one in curve]
    yield from ("", *chart("S of all edits so far", edited, [one.measures["s"] for one in curve]), "")
    read = [one.perplexity for one in curve]
    known = [value for value in read if value is not None]
    if known and max(known) > MOVED * min(known):
        yield from (*chart("perplexity", edited, read), "")


def _perplexity(results: Results, curve: Sequence[ev.CheckpointScored]) -> Iterator[str]:
    """What became of held-out text, in a sentence."""
    from workbench.engine.evaluating.outcome import worst

    base = results.checkpoints[0].perplexity if 0 in results.checkpoints else None
    alone = worst([*results.cases.values()])
    if base is None or alone is None:
        return
    if curve:
        now = curve[-1].perplexity
        yield f"perplexity  base {base:.4g}, after {count(curve[-1].edited)} {'·' if now is None else f'{now:.4g}'}"
        return
    median, case = alone
    largest = f"largest {case.perplexity:.4g}, case {case.case}"
    yield f"perplexity  base {base:.4g}, median of one edit {median:.4g}, {largest}"


def _plot(output: Output, found: ev.Evaluated, results: Results, plots: Sequence[Path]) -> None:
    from workbench.cli.eval_plot import plot

    for path in plots:
        plot(found, results, path)
        output.tell(f"Written: {path}")
