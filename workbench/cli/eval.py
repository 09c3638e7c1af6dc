"""`workbench eval`: make and score the edits of a data set, each alone on the base or one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench import events as ev
from workbench.cli.apply import recipe_changes
from workbench.cli.eval_summary import show_results
from workbench.cli.eval_table import CASE_HEADER, case_line, checkpoint_words
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import count
from workbench.cli.options import Common, loading_options
from workbench.cli.output import Output
from workbench.cli.where import ATLAS
from workbench.edits import METHODS, Chat
from workbench.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from workbench.engine.evaluating.dataset import Dataset
    from workbench.engine.evaluating.plan import Wanted

EPILOG = """\b
Examples:
  workbench eval counterfact.json --limit 100
  workbench eval counterfact.json --mode sequential --every 100 --sample 200
  workbench eval zsre.json --method rome --model openai-community/gpt2-xl
  workbench eval facts.csv --method emmet --batch 64 --mode sequential
  workbench eval atlas --limit 50 --method c-rome --plot scores.svg
  workbench eval counterfact.json --generate 100 --references snippets.json
  workbench eval counterfact.json --workers 8
  torchrun --nproc-per-node 8 -m workbench eval counterfact.json --out evals/x
  workbench eval --show --out evals/atlas-counterfact-r-rome-single

\b
DATASET is any file that workbench apply reads: CounterFact, EasyEdit, zsRE,
JSON, JSONL or CSV; or atlas, for facts of the model that ships. A zsRE
record is edited to its "alt", and its "loc" is asked as it stands.
single: every edit alone on the base, and taken back. sequential: one after
the other in OUT/stack, a stack like any other; with --every N all edits so
far are scored again after every N: how they hold.

\b
ES PS NS  share of the efficacy, paraphrase and neighbourhood probes that hold:
          log p per token of the target above that of the true answer,
          strictly; for a neighbour below. Ties and NaN fail. S: harmonic mean
EM PM NM  mean of p(target) - p(true); for a neighbour p(true) - p(target)
EA PA NA  share of answer tokens that are the likeliest, teacher-forced
GE        (2/3 H2 + 4/3 H3) / 2, bits, of bigrams and trigrams of what the
          model writes behind a case's generation_prompts, else its own
          prompts: N tokens in all, drawn from the 5 likeliest (ROME's GE is
          this times 100)
RS        cosine of TF-IDF vectors of that text and the target's references
A true answer that is not stated is what the base says. A case that cannot be
edited or asked fails all its probes, and is counted. c-rome: every prompt of
a case stands behind one context template, drawn by seed (arXiv 2406.11263).

\b
Results are a line a case in OUT/results.jsonl, on the disk as soon as the case
is done. The same command goes on where it was stopped or killed, with the same
results; OUT takes one plan only. They do not depend on --workers. The base is
scored once for a model and data set, and kept.
Exit code 1: some cases could not be edited or asked.
"""


@click.command("eval", short_help="Score the edits of a data set.", epilog=EPILOG)
@click.argument("dataset", metavar="DATASET", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--out", metavar="OUT", type=click.Path(path_type=Path), help="[default: evals/<model>-<data>-<method>-<mode>]"
)
@click.option("--mode", type=click.Choice(("single", "sequential")), default="single", help="[default: single]")
@click.option("--method", type=click.Choice(METHODS), help="[default: r-rome]")
@click.option("--layer", type=int, help="Block to edit, from 0. [default: the profile's]")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any hyper-parameter. May be repeated.")
@click.option(
    "--batch", default=1, type=click.IntRange(1, 10_000), metavar="N", help="Cases of one edit; memit, emmet."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Cases at most. [default: all]")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31),
    metavar="N",
    help="Decides the order, and what is drawn. [default: the file's order]",
)
@click.option("--every", type=click.IntRange(1), metavar="N", help="sequential: score all so far after every N cases.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Of them, score N at most. [default: all]")
@click.option(
    "--generate",
    default=0,
    type=click.IntRange(0, 2000),
    metavar="N",
    help="Let the model write N tokens, and measure it. [default: 0; the papers: 100]",
)
@click.option(
    "--references",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help='CounterFact\'s attribute_snippets.json, or {"target": ["text", ...]}.',
)
@click.option("--chat", is_flag=True, help="Prompts are a user's turn of a chat. [default: raw text]")
@click.option(
    "--workers", default=1, type=click.IntRange(1, 64), metavar="N", help="single: processes, each with a model."
)
@click.option(
    "--plot", multiple=True, metavar="FILE", type=click.Path(path_type=Path), help=".svg or .png; needs matplotlib."
)
@click.option("--show", is_flag=True, help="Only show what is in OUT.")
@loading_options
def evaluate(dataset: Path | None, common: Common, **given: Any) -> int:
    """Make and score the edits of DATASET, and say how good the method is: a table with 95 % intervals."""
    for path in given["plot"]:
        _check_plot(path)
    if given["show"]:
        return _show(given, common)
    if dataset is None:
        raise UsageError("There is no data set.", "Name a file of CounterFact, zsRE or your own facts; or atlas.")
    with Output(common.json) as output:
        wanted = _wanted(dataset, common, given)
        output.loading(wanted.model)
        run = _Run(wanted, given, output)
        run.follow()
        return run.finish()


def _wanted(dataset: Path, common: Common, given: dict[str, Any]) -> Wanted:
    """What the command line asks for; read and checked before any model is loaded."""
    changes = recipe_changes({**given, "seed": None})
    if given["references"] and not given["generate"]:
        raise UsageError("References are held against what the model writes.", "Add --generate 100.")
    from workbench.engine.evaluating.dataset import read_dataset, read_references
    from workbench.engine.evaluating.plan import Wanted

    data = read_dataset(dataset)
    return Wanted(
        _in_chat(data) if given["chat"] else data,
        given["out"] or _default_out(dataset, common, given),
        given["mode"],
        changes,
        given["batch"],
        given["limit"],
        given["seed"],
        given["every"],
        given["sample"],
        given["generate"],
        read_references(given["references"]) if given["references"] else None,
        common.model or ATLAS,
        common.device,
        common.dtype,
        common.loading(),
    )


def _default_out(dataset: Path, common: Common, given: dict[str, Any]) -> Path:
    model = Path(common.model or ATLAS).name
    data = "stdin" if str(dataset) == "-" else dataset.stem
    batch = f"-{given['batch']}" if given["batch"] > 1 else ""
    return Path("evals") / f"{model}-{data}-{given['method'] or 'r-rome'}{batch}-{given['mode']}"


def _in_chat(data: Dataset) -> Dataset:
    cases = (replace(case, request=replace(case.request, chat=case.request.chat or Chat())) for case in data.cases)
    return replace(data, cases=tuple(cases))


def _check_plot(path: Path) -> None:
    """Raises UsageError, before hours are spent, for a plot that could not be written."""
    from workbench.cli.eval_plot import check_plot

    check_plot(path)


@dataclass
class _Run:
    """One evaluation, as it goes on."""

    wanted: Wanted
    given: dict[str, Any]
    output: Output

    def follow(self) -> None:
        """Evaluates, and says what comes. Raises Interrupted after Ctrl+C, and as `evaluate` of the engine."""
        from workbench.engine.evaluating.workers import evaluate

        def begin(cancelled: Any) -> Iterator[ev.Event]:
            yield from evaluate(self.wanted, self.given["workers"], cancelled)

        with _going_on(self.wanted.out):
            for event in interruptible(begin):
                self.output.event(event, "eval")
                self._tell(event)

    def _tell(self, event: ev.Event) -> None:
        match event:
            case ev.EvalStarted():
                self._begin(event)
            case ev.CaseScored():
                self.output.line(case_line(event))
            case ev.CheckpointScored():
                self.output.line(checkpoint_words(event))
            case _:
                pass

    def _begin(self, event: ev.EvalStarted) -> None:
        many = f", {event.workers} workers" if event.workers > 1 else ""
        batch = f" in edits of {self.wanted.batch}" if self.wanted.batch > 1 else ""
        self.output.tell(
            f"{event.model}, {event.recipe['method']} at layer {event.recipe['layer']}, {event.mode}: "
            f"{count(event.cases, 'case')} of {event.dataset}{batch}{many}; results in {event.out}"
        )
        if event.done:
            self.output.tell(f"{event.done} of them were done in an earlier run.")
        if event.done < event.cases:
            self.output.line(CASE_HEADER)

    def finish(self) -> int:
        """The table and the plots, once all is done; returns the exit code."""
        from workbench.engine.evaluating.results import Results

        if os.environ.get("RANK", "0") != "0":
            self.output.tell("This worker's share is done; the first one shows the results of all.")
            return self.output.done(0, "this worker's share is done")
        return show_results(self.output, Results.at(self.wanted.out), len(self.wanted.cases), self.given["plot"])


def _show(given: dict[str, Any], common: Common) -> int:
    if not given["out"]:
        raise UsageError("There is nothing named to show.", "Name the folder with --out.")
    from workbench.engine.evaluating.results import Results

    with Output(common.json) as output:
        results = Results.at(given["out"])
        return show_results(output, results, len(results.cases), given["plot"])


@contextmanager
def _going_on(out: Path) -> Iterator[None]:
    """After Ctrl+C inside, says how to go on."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted(f"{error.message}", f"What is done is in {out}; the same command goes on.") from error
