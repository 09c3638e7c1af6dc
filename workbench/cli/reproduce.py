"""`workbench reproduce`: a paper's experiment on one's own model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench import events as ev
from workbench.cli.apply import recipe_changes
from workbench.cli.eval_table import CASE_HEADER, case_line
from workbench.cli.health_table import CURVE_HEADER, curve_line
from workbench.cli.interrupt import interruptible
from workbench.cli.options import Common, loading_options
from workbench.cli.output import Output
from workbench.cli.reproduce_table import shown
from workbench.cli.where import ATLAS
from workbench.edits import METHODS
from workbench.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from workbench.engine.collapse.run import Asked

EPILOG = """\b
Examples:
  workbench reproduce collapse
  workbench reproduce collapse --edits 50 --methods rome,r-rome
  workbench reproduce collapse --facts counterfact.json --model openai-community/gpt2-xl
  workbench reproduce collapse --methods rome --out evals/x &
  workbench reproduce collapse --methods r-rome --out evals/x
  workbench reproduce collapse --plot collapse.svg

\b
The same sequence of facts is edited by each method: ROME, which uses two
different keys of a subject; p-ROME and r-ROME, which use one everywhere
(Rebuilding ROME, arXiv 2403.07175); MEMIT and EMMET in batches. A share of the
subjects is the first and only token of its prompt: edits of such subjects are
what breaks models (The Fall of ROME, arXiv 2406.11263). A data set that has
fewer of them gives all it has.

\b
jumps     edits whose |ΔW| is more than 4 times the median of up to 50 before
|k·u|     the smallest division factor, by its size
hold      of a sample of the edits, those whose target wins at the end
The phases are those of workbench health. Every method leaves a stack in
OUT/METHOD/stack: travel, show, health and bisect work on it. What is done is on
the disk, and the same command goes on where it was stopped or killed.
"""


@click.group(no_args_is_help=False, short_help="Repeat a paper's experiment on a model.")
def reproduce() -> None:
    """Repeat a paper's experiment on a model, and say honestly what comes out."""


def _methods(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    named = tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    unknown = next((one for one in named if one not in METHODS), None)
    if unknown is not None or not named:
        raise UsageError(
            f"Unknown method '{unknown or text}'.", f"Choose of {', '.join(METHODS)}, with commas between."
        )
    return named


@reproduce.command(short_help="Does ROME break the model, and r-ROME not?", epilog=EPILOG)
@click.option("--edits", default=500, type=click.IntRange(1, 100_000), metavar="N", help="Facts. [default: 500]")
@click.option(
    "--methods",
    default="rome,p-rome,r-rome,memit,emmet",
    callback=_methods,
    metavar="A,B",
    help="[default: rome,p-rome,r-rome,memit,emmet]",
)
@click.option(
    "--batch",
    default=100,
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Facts an edit; memit, emmet. [default: 100]",
)
@click.option(
    "--first",
    "share",
    default=0.1,
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Of the facts, with a subject that is the first and only token. [default: 0.1]",
)
@click.option(
    "--facts", metavar="FILE", type=click.Path(path_type=Path), help="Any data set that eval reads. [atlas: its own]"
)
@click.option(
    "--every", default=25, type=click.IntRange(1), metavar="K", help="Facts between states measured. [default: 25]"
)
@click.option("--sample", default=100, type=click.IntRange(1), metavar="N", help="Facts asked there. [default: 100]")
@click.option("--seed", default=0, type=click.IntRange(0, 2**31), metavar="N", help="Of facts and order. [default: 0]")
@click.option("--layer", type=int, help="Block to edit, from 0. [default: the profile's]")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any hyper-parameter. May be repeated.")
@click.option("--out", metavar="OUT", type=click.Path(path_type=Path), help="[default: evals/<model>-collapse]")
@click.option(
    "--plot", multiple=True, metavar="FILE", type=click.Path(path_type=Path), help=".svg or .png; needs matplotlib."
)
@loading_options
def collapse(common: Common, **given: Any) -> int:
    """Edit the same facts one after the other by several methods, and see which of them breaks the model."""
    for path in given["plot"]:
        _check_plot(path)
    with Output(common.json) as output:
        asked = _asked(common, given)
        output.loading(asked.model)
        found = [*_follow(asked, output)]
        for line in shown(found, asked.out):
            output.line(line)
        for path in given["plot"]:
            _plot(asked, path)
            output.tell(f"Curves in {path}.")
        return output.done(0, f"{len(asked.methods)} methods")


def _asked(common: Common, given: dict[str, Any]) -> Asked:
    from workbench.engine.collapse.run import Asked
    from workbench.engine.evaluating.dataset import read_dataset

    model = common.model or ATLAS
    changes = recipe_changes({"method": None, "layer": given["layer"], "settings": given["settings"], "seed": None})
    return Asked(
        given["out"] or Path("evals") / f"{Path(model).name}-collapse",
        given["methods"],
        given["edits"],
        given["share"],
        given["batch"],
        given["every"],
        given["sample"],
        given["seed"],
        read_dataset(given["facts"]) if given["facts"] else None,
        changes,
        model,
        common.device,
        common.dtype,
        common.loading(),
    )


def _follow(asked: Asked, output: Output) -> Iterator[ev.Event]:
    """Runs it and says what comes; gives what is to be shown at the end."""
    from workbench.engine.collapse.run import collapse

    def begin(cancelled: Any) -> Iterator[ev.Event]:
        yield from collapse(asked, cancelled)

    try:
        for event in interruptible(begin):
            output.event(event, "reproduce")
            _tell(event, output)
            if isinstance(event, (ev.Jumped, ev.Reproduced, ev.HealthReport)):
                yield event
    except Interrupted as error:
        raise Interrupted(f"{error.message}", f"What is done is in {asked.out}; the same command goes on.") from error


def _tell(event: ev.Event, output: Output) -> None:
    match event:
        case ev.EvalStarted():
            done = f", {event.done} of them done in an earlier run" if event.done else ""
            output.tell(f"{event.recipe['method']} at layer {event.recipe['layer']}: {event.cases} facts{done}")
            if event.done < event.cases:
                output.tell(CASE_HEADER)
        case ev.CaseScored():
            output.tell(case_line(event))
        case ev.HealthReport():
            if event.position == 0:
                output.tell(CURVE_HEADER)
            output.tell(curve_line(event))
        case _:
            pass


def _check_plot(path: Path) -> None:
    """Raises UsageError, before hours are spent, for a plot that could not be written."""
    from workbench.cli.eval_plot import check_plot

    check_plot(path)


def _plot(asked: Asked, path: Path) -> None:
    from workbench.cli.reproduce_plot import plot

    plot(asked.out, asked.methods, path)
