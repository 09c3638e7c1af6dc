"""What a search for a profile looks like in a terminal: a line a trial, and S by layer as bars."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench import events as ev
from workbench.cli.output import Output

if TYPE_CHECKING:
    from rich.text import Text

HEADER = "  #  stage     layer C    lr clamp decay steps    ES    PS    NS     S |ΔW|/|W|"
"""79 characters: a line a trial also where a terminal has 80."""
WIDTH = 40
"""Characters of a bar for S = 1."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


def trial_lines(trial: ev.TrialResult) -> list[str]:
    """One trial, in the columns of HEADER; a score that nothing was asked for is a dot.

    How many of its edits failed is a line of its own: it would not fit beside the columns.
    """
    recipe = trial.recipe
    fields = [
        f"{trial.number:>3} ",
        f"{trial.stage:<9}",
        f"{recipe['layer']:>5}",
        "C" if trial.second_moment else "I",
        *(f"{recipe[name]:>5.3g}" for name in ("lr", "clamp_factor", "weight_decay", "steps")),
        *(f"{'·' if score is None else format(score, '.3f'):>5}" for score in (trial.es, trial.ps, trial.ns)),
        f"{trial.s:.3f}",
        f"{trial.ratio:>8.4f}",
    ]
    notes = [f"     {trial.failed} of {trial.facts} edits not made"] if trial.failed else []
    return [" ".join(fields), *notes]


def layer_curve(trials: Sequence[ev.TrialResult], best: int) -> list[tuple[int, str, bool]]:
    """The best S of every layer that was tried: the layer, the line with its bar, and whether it is `best`."""
    tops: dict[int, float] = {}
    for trial in trials:
        layer = int(trial.recipe["layer"])
        tops[layer] = max(tops.get(layer, 0.0), trial.s)
    return [
        (layer, f"{layer:>5}  {tops[layer]:.3f}  {bar(tops[layer])}{'  ← best' * (layer == best)}", layer == best)
        for layer in sorted(tops)
    ]


def bar(share: float) -> str:
    """A bar for a share of 1, to an eighth of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * WIDTH * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def show_curve(output: Output, trials: Sequence[ev.TrialResult], best: int) -> None:
    """S by layer on stdout; in colour where that is a terminal."""
    rows = layer_curve(trials, best)
    if output.json or not sys.stdout.isatty():
        for line in ("layer      S", *(line for _, line, _ in rows)):
            output.line(line)
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_coloured("layer      S", style="bold"))
    for _, line, is_best in rows:
        console.print(_coloured(line, style="bold green" if is_best else "cyan"))


def _coloured(line: str, style: str) -> Text:
    from rich.text import Text

    return Text(line, style=style, no_wrap=True, overflow="ellipsis")
