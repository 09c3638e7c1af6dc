"""`workbench trace`: where in a model a fact lives, as a map of tokens by layers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench import events as ev
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import count
from workbench.cli.options import Common, model_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack, named_model
from workbench.edits import Chat, EditRequest
from workbench.errors import UsageError
from workbench.heat import DIGITS, SHADES, heat_map, legend, sentences
from workbench.stack.files import write_atomic
from workbench.traces import KINDS, MAX_SAMPLES, MAX_WINDOW, TraceSettings

if TYPE_CHECKING:
    from workbench.models.load import LoadedModel

EPILOG = """\b
Examples:
  workbench trace -s Greece -p "The capital of {} is"
  workbench trace openai-community/gpt2-xl -s "Space Needle" \\
      -p "The {} is in the city of" --kind mlp
  workbench trace -s Greece -p "The capital of {} is" -t Rome --stack edits/mine
  workbench trace ./my-model --facts facts.jsonl --out trace.json

\b
The prompt is run clean, then with noise on the subject's embeddings, then
with that noise and one clean state put back, for every token and layer. What
comes back of p(ANSWER) is that state's indirect effect (ROME, arXiv
2202.05262, section 2). Of an answer of several tokens p is the geometric mean.
--kind mlp and attention put back what one part of a block adds to it, in
--window layers around each.

\b
Cells are digits where the output is no terminal, or NO_COLOR is set. More
layers than columns: a column stands for several, and that is said.
A layer where the effect of the last subject token peaks, over many facts, is
one to try first with workbench apply --layer; workbench tune settles it.
"""


@click.command(short_help="Show where in a model a fact lives.", epilog=EPILOG)
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("-s", "--subject", help="Who or what the fact is about.")
@click.option("-p", "--prompt", help="The sentence up to the answer, with {} or the subject in it.")
@click.option("-t", "--target", metavar="ANSWER", help="The answer. [default: what the model itself says]")
@click.option(
    "--facts",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Trace those of a file, in any shape of apply, that the model knows; show the mean.",
)
@click.option(
    "--limit", default=100, metavar="N", type=click.IntRange(1), help="Facts at most, with --facts. [default: 100]"
)
@click.option("--kind", type=click.Choice(KINDS), default="state", help="What is put back. [default: state]")
@click.option(
    "--window",
    metavar="N",
    type=click.IntRange(1, MAX_WINDOW),
    help="Layers put back together, for mlp and attention. [default: 10; a quarter of the layers below 40]",
)
@click.option(
    "--samples", default=10, metavar="N", type=click.IntRange(1, MAX_SAMPLES), help="Draws of the noise. [default: 10]"
)
@click.option(
    "--noise",
    default=3.0,
    metavar="X",
    type=click.FloatRange(0, 1000),
    help="Its size, in standard deviations of the embeddings of subjects. [default: 3]",
)
@click.option("--seed", default=0, metavar="N", type=click.IntRange(0, 2**63 - 1), help="Of the noise. [default: 0]")
@click.option("--chat", is_flag=True, help="The prompt is a user's turn of a chat. [default: raw text]")
@click.option(
    "--stack",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Trace the model as this stack makes it. [default: the base]",
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Also write the picture, as JSON.")
@model_options
def trace(name: str | None, common: Common, *, facts: Path | None, out: Path | None, **given: Any) -> int:
    """Show which hidden states of MODEL carry a fact: rows are tokens (* the subject's), columns are layers."""
    model = named_model(common, name)
    _check(given, facts)
    settings = TraceSettings(**{field: given[field] for field in ("kind", "window", "samples", "noise", "seed")})
    requests = [replace(one, chat=one.chat or Chat()) if given["chat"] else one for one in _requests(facts)]
    with Output(common.json) as output, _loaded(model, common, output) as (loaded, side):
        from workbench.engine.tracing import trace_fact, trace_facts

        def begin(cancelled: Callable[[], bool]) -> Iterator[ev.Event]:
            if requests:
                return trace_facts(loaded, requests, settings, most=given["limit"], side=side, cancelled=cancelled)
            fact = given["prompt"], given["subject"], given["target"] or ""
            return trace_fact(loaded, *fact, settings, chat=given["chat"], side=side, cancelled=cancelled)

        for event in interruptible(begin):
            output.event(event, "trace")
            if isinstance(event, ev.Traced):
                _show(output, event)
                _write(output, event, out)
        return output.done(0)


def _check(given: dict[str, Any], facts: Path | None) -> None:
    """Raises UsageError unless one fact or a file is given."""
    one = [given[name] is not None for name in ("subject", "prompt", "target")]
    if facts and any(one):
        raise UsageError("Both a file and a single fact are given.", "Give --facts, or -s and -p.")
    if not facts and not (one[0] and one[1]):
        raise UsageError("There is nothing to trace.", "Give -s SUBJECT and -p PROMPT, or --facts FILE.")


def _requests(facts: Path | None) -> list[EditRequest]:
    """The facts of the file; none without one. Raises RequestError."""
    from workbench.requests import read_requests

    return read_requests(facts) if facts else []


@contextmanager
def _loaded(model: str, common: Common, output: Output) -> Iterator[tuple[LoadedModel, str]]:
    """The model and the name of its state: the base, or where --stack stands."""
    if common.stack:
        with engine_session(common, existing_stack(common), output, write=False) as engine:
            yield engine.core.loaded, str(engine.stack.position)
        return
    output.loading(model)
    from workbench.models.load import load_model

    yield output.follow(load_model(model, common.device, common.dtype, common.loading()), "load"), "base"


def _show(output: Output, traced: ev.Traced) -> None:
    """The map, what its characters mean, and where it peaks."""
    shades = SHADES if _blocks() else DIGITS
    heat = heat_map(traced, shutil.get_terminal_size().columns, shades=shades)
    for line in (heat.header, *heat.rows, *legend(traced, heat, shades), *sentences(traced)):
        output.line(line.rstrip())
    output.tell(
        f"{count(traced.samples, 'sample')} of noise {traced.noise:g} x {traced.sigma / (traced.noise or 1):.4g}, seed "
        f"{traced.seed}; {'the base' if traced.side == 'base' else f'position {traced.side}'}."
        + (f" {traced.facts} of {traced.asked} facts are known." if traced.averaged else "")
    )


def _blocks() -> bool:
    """Whether stdout can be trusted with block characters, and a person looks at it."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain and "utf" in (sys.stdout.encoding or "").lower()


def _write(output: Output, traced: ev.Traced, out: Path | None) -> None:
    if out:
        write_atomic(out, ev.to_line(traced).encode() + b"\n")
        output.tell(f"Written: {out}")
