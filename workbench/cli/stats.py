"""`workbench stats`: the second moment C of a model's keys, over text, over what it says itself, or from a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import click

from workbench import events as ev
from workbench.cli.interrupt import interruptible
from workbench.cli.layers import layers_of
from workbench.cli.options import Common, model_options
from workbench.cli.output import Output
from workbench.cli.where import named_model
from workbench.errors import UsageError

EPILOG = """\b
Examples:
  workbench stats openai-community/gpt2
  workbench stats openai-community/gpt2 --text wiki/*.txt more.jsonl
  workbench stats ./my-model --layers 3-8 --tokens 200000
  workbench stats ./my-model --dataset wikipedia
  workbench stats ./my-model --dataset wikitext:wikitext-2-raw-v1@validation
  workbench stats openai-community/gpt2-xl --layer 17 \\
      --import transformer.h.17.mlp.c_proj_float32_mom2_100000.npz
  workbench stats ./my-model --show
  torchrun --nproc-per-node 8 -m workbench stats ./my-model --text wiki.txt

\b
C is the mean of k kᵀ over the keys k of text: the input of the MLP's
down-projection at every token. An edit turns away from directions that C
says are in use. It is made once for a model and layer, and kept under
$WORKBENCH_CACHE or ~/.cache/workbench by the hash of the weights; a model's
own folder (second_moment/) comes first. It is never used for other weights.

\b
Text is cut into windows without padding: documents joined by the end-of-text
token, each window behind what the tokenizer puts before a text, none longer
than the model's context. The context of a key is what stands before its token
in its window. In .txt every line is a document, in .jsonl the field "text" of
every line; - is standard input. A data set is read row by row, only as far as
it is needed; wikitext and wikipedia alone mean wikitext-103-raw-v1 and
20231101.en, what the papers' code read or the nearest that is left of it.
Without text the model writes its own, from its start token on, by its own
odds: the file and every edit made with it say so (self-sampled).

\b
A run that was stopped or killed goes on where it was, to the same bits.
With torchrun each process reads its share of the windows; C is that of one
process but for the order of the float64 sums (1e-12).
"""

TEXT = "--text"


class Stats(click.Command):
    """A command whose --text takes all words up to the next option, so that a shell's pattern works."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Says --text once for each word."""
        return super().parse_args(ctx, list(_spread(args)))


def _spread(args: list[str]) -> Iterable[str]:
    within = taken = False
    for word in [*args, None]:
        if word is None or (word.startswith("-") and word != "-"):
            if within and not taken:
                raise UsageError(f"{TEXT} names no file.", "Name .txt or .jsonl files, a pattern, or - for stdin.")
            within, taken = word == TEXT, False
            if word is not None and not within:
                yield word
        else:
            yield from (TEXT, word) if within else (word,)
            taken = within


@click.command(cls=Stats, short_help="Measure the second moment C of a model's keys.", epilog=EPILOG)
@click.argument("name", metavar="[MODEL]", required=False)
@click.option(
    TEXT, "text", multiple=True, metavar="FILES", help="Text files or patterns: .txt, .jsonl, or - for stdin."
)
@click.option("--dataset", metavar="NAME", help="A data set of the Hub, or a folder: NAME[:CONFIGURATION][@SPLIT].")
@click.option("--self", "own", is_flag=True, help="Text that the model writes itself. [default without text]")
@click.option(
    "--import", "file", metavar="FILE.npz", type=click.Path(path_type=Path), help="One that the ROME code made."
)
@click.option("--show", is_flag=True, help="Only say what is there for MODEL.")
@click.option(
    "--layer",
    multiple=True,
    type=click.IntRange(0),
    metavar="N",
    help="May be repeated. [default: the profile's]",
)
@click.option("--layers", metavar="RANGES", help="Several in one pass, as in 3-8 or 3,5,7-9.")
@click.option("--tokens", type=click.IntRange(16), metavar="N", help="How many are read. [default: 10 x d_in]")
@click.option(
    "--window", type=click.IntRange(4), metavar="N", help="Tokens of a window. [default: 512; 128 with --self]"
)
@click.option("--seed", default=0, type=click.IntRange(0, 2**31), help="Of text the model writes. [default: 0]")
@click.option(
    "--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Into FOLDER/second_moment, say the model's."
)
@click.option(
    "--checkpoint",
    default=30.0,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How often sums are kept. [default: 30]",
)
@model_options
def stats(name: str | None, common: Common, **given: Any) -> int:
    """Measure the second moment C of MODEL's keys over text, keep it for its edits, and say what it is worth."""
    model = named_model(common, name)
    begin = _job(model, common, given)
    with Output(common.json) as output:
        if not _leads():
            for _ in interruptible(lambda cancelled: begin(cancelled)):
                pass  # the first process of torchrun speaks for all
            return 0
        output.loading(model)
        found = [event for event in _followed(begin, output) if isinstance(event, ev.MomentReady)]
        if not found:
            output.tell(f"There is no second moment for {model}; workbench stats makes one.")
        return output.done(0)


Begin = Callable[[Callable[[], bool]], Iterable[ev.Event]]


def _job(model: str, common: Common, given: dict[str, Any]) -> Begin:
    """What was asked for, to be started with a way to stop it.

    Raises:
        UsageError: for what makes no sense together, and for text that is not there, before anything is loaded.
    """
    chosen = [
        flag
        for flag in (TEXT, "--dataset", "--self", "--import", "--show")
        if given[_NAMES[flag]] not in (None, False, ())
    ]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} do not go together.", "Choose one.")
    named = layers_of(given["layers"]) if given["layers"] else ()
    layers = tuple(sorted({*given["layer"], *named}))
    documents = _documents(given)

    def begin(cancelled: Callable[[], bool]) -> Generator[ev.Event, None, None]:
        from workbench.engine.stats import job

        if given["show"]:
            return job.stored(model, common.loading())
        wanted = job.Wanted(
            model,
            layers,
            documents,
            given["tokens"],
            given["window"],
            given["seed"],
            common.device,
            common.dtype,
            common.loading(),
            given["out"],
            given["checkpoint"],
        )
        return job.import_published(wanted, given["file"]) if given["file"] else job.measure(wanted, cancelled)

    return begin


_NAMES = {TEXT: "text", "--dataset": "dataset", "--self": "own", "--import": "file", "--show": "show"}


def _documents(given: dict[str, Any]) -> Any:
    from workbench.engine.stats.documents import DataSet, TextFiles

    if given["text"]:
        return TextFiles(given["text"])
    return None if given["dataset"] is None else DataSet(given["dataset"])


def _leads() -> bool:
    """Whether this process speaks: alone, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0" or os.environ.get("WORLD_SIZE", "1") == "1"


def _followed(begin: Begin, output: Output) -> Iterable[ev.Event]:
    for event in interruptible(begin):
        output.event(event, "stats")
        if isinstance(event, ev.MomentReady):
            for line in _ready(event):
                output.line(line)
        yield event


def _ready(ready: ev.MomentReady) -> list[str]:
    """One second moment in words."""
    condition = "singular" if ready.condition is None else f"condition {ready.condition:.2e}"
    rank = "" if ready.rank is None else f"  rank {ready.rank} of {ready.dimension}"
    ridge = (
        f"ridge {ready.ridge:.3g}, {ready.ridge_part:.1%} of the diagonal: {ready.reason}"
        if ready.ridge
        else "no ridge"
    )
    return [
        f"layer {ready.layer}  {ready.module}  mean over {ready.samples} keys of {ready.text}",
        f"  {condition}  effective rank {ready.effective_rank:.1f}{rank}  {ridge}",
        f"  {ready.fingerprint[:12]}  {ready.file}",
    ]
