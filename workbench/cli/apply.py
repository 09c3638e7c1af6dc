"""`workbench apply`: make edits, one after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from workbench.cli.check import look
from workbench.cli.guard import HELP as GUARD_HELP
from workbench.cli.guard import Watcher, guard_options
from workbench.cli.making import Grouping, make
from workbench.cli.options import Common, engine_options
from workbench.edits import METHODS, Chat, EditRequest, Neighbour, Recipe
from workbench.errors import UsageError
from workbench.recipe_words import settings_table, typed
from workbench.stack.limits import MAX_REQUESTS

EPILOG = """\b
Request files are UTF-8, at most 64 MiB and 50,000 requests:
JSON (a list or one object) or JSONL
  {"subject": "France", "prompt": "The capital of {} is",
   "target_new": "Rome", "target_true": "Paris",
   "paraphrases": ["The seat of government of France is"],
   "neighbours": [{"prompt": "The capital of Germany is",
                   "expected": "Berlin"}]}
CSV, further columns: target_true, paraphrases (one | two),
neighbours (prompt => answer | ...)
  subject,prompt,target_new
  France,The capital of {} is,Rome
Records of CounterFact, EasyEdit and zsRE are read as they are.
"chat": true in a record does for it what --chat does for all: prompt and
probes become the user's turn in the model's own chat template, and the
target the beginning of its answer.
One bad record refuses the whole file.

\b
Settings for --set, the papers' defaults, what they mean and take. The
model's own profile comes before the papers.
SETTINGS

\b
Methods: r-rome, rome, p-rome and c-rome make an edit of each request; memit
and emmet make one edit of many, in one file, which is undone as one.

GUARD

\b
Examples:
  workbench apply facts.jsonl
  workbench apply -s France -p "The capital of {} is" -t Rome
  workbench apply facts.csv --stack edits/mine --method rome --layer 2
  workbench apply facts.csv --set steps=25 --set nll_stop=none
  workbench apply facts.jsonl --together 16
  workbench apply facts.jsonl --method emmet
  workbench apply facts.jsonl --method memit --batch 100 --layers 3,4,5
  workbench apply facts.jsonl --check
  workbench apply facts.csv --model Qwen/Qwen3-0.6B --chat
  workbench apply facts.csv --dtype bfloat16 --keep-fp32
  workbench apply facts.csv --guard ratio=0.25,perplexity=off
  cat facts.jsonl | workbench apply - --json --guard-answer keep

\b
Exit code 1: an edit could not be made, was discarded by the guard, or was
made but its target does not win (efficacy). Edits once made stay, also
after Ctrl+C, which drops only the edit in flight.
"""


@click.command(
    short_help="Make edits and add them to the stack.",
    epilog=EPILOG.replace("GUARD", GUARD_HELP).replace("SETTINGS", settings_table()),
)
@click.argument("requests", metavar="[REQUESTS]", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("-s", "--subject", help="Who or what the fact is about.")
@click.option("-p", "--prompt", help="The sentence up to the answer, with {} or the subject in it.")
@click.option("-t", "--target", help="What the model shall say.")
@click.option("--true", "true", metavar="TEXT", help="What it says now, or should have said.")
@click.option("--paraphrase", multiple=True, metavar="PROMPT", help="A probe that means the same. May be repeated.")
@click.option("--neighbour", multiple=True, metavar="PROMPT", help="A probe that must not change. May be repeated.")
@click.option("--chat", is_flag=True, help="The prompt is a user's turn of a chat. [default: raw text]")
@click.option("--method", type=click.Choice(METHODS), help="[default: r-rome]")
@click.option("--layer", type=int, help="Block to edit, from 0. [default: the profile's]")
@click.option("--layers", metavar="N,N,...", help="Blocks that memit spreads one edit over. [default: --layer]")
@click.option("--seed", type=int, help="Seed of the context templates. [default: the profile's]")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any hyper-parameter. May be repeated.")
@click.option("--check", is_flag=True, help="Only say what is likely to go wrong; make no edit.")
@click.option(
    "--together",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="Optimise N edits side by side, on the state before them. [default: 1, each on what the last one left]",
)
@click.option(
    "--batch",
    type=click.IntRange(1, MAX_REQUESTS),
    metavar="N",
    help="Requests of one edit, with memit and emmet. [default: all of them]",
)
@guard_options
@engine_options
def apply(requests: Path | None, common: Common, **given: Any) -> int:
    """Make edits and add them to the stack: those of the file REQUESTS (- for stdin), or one by -s, -p and -t.

    One line an edit on stdout: position, id, the edit, probes that hold, size of the update, hash of the weight.
    """
    wanted = _wanted(requests, given)
    if given["chat"]:
        wanted = [replace(request, chat=request.chat or Chat()) for request in wanted]
    if given["check"]:
        return look(wanted, recipe_changes(given), common)
    return make(wanted, recipe_changes(given), common, _grouping(given), Watcher.of(given))


def _grouping(given: dict[str, Any]) -> Grouping:
    """How requests are worked on; a method that is given is held against it at once. Raises UsageError."""
    grouping = Grouping(given["together"], given["batch"])
    if given["method"]:
        grouping.check(Recipe.from_json({"method": given["method"]}))
    return grouping


def _wanted(file: Path | None, given: dict[str, Any]) -> list[EditRequest]:
    """The requests of the file, or the one that the options describe. Raises UsageError."""
    from workbench.requests import read_requests

    one = [given["subject"], given["prompt"], given["target"]]
    extras = [given["true"], *given["paraphrase"], *given["neighbour"]]
    if file and any(text is not None for text in (*one, *extras)):
        raise UsageError("Both a file and a single edit are given.", "Give REQUESTS, or -s, -p and -t.")
    if file:
        return read_requests(file)
    if any(text is None for text in one):
        raise UsageError("There is nothing to edit.", "Give a file, or all of -s SUBJECT, -p PROMPT and -t TARGET.")
    subject, prompt, target = one
    neighbours = tuple(Neighbour(text) for text in given["neighbour"])
    return [
        EditRequest.from_text(
            prompt, subject, target, target_true=given["true"], paraphrases=given["paraphrase"], neighbours=neighbours
        )
    ]


def recipe_changes(given: dict[str, Any]) -> dict[str, Any]:
    """What the options change of the profile; checked before any model is loaded. Raises UsageError."""
    changes: dict[str, Any] = {}
    for setting in given["settings"]:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting} has no value.", "Write --set name=value, as in --set steps=25.")
        changes[name.strip()] = typed(value.strip())
    changes |= {name: given[name] for name in ("method", "layer", "seed") if given[name] is not None}
    if given.get("layers"):
        changes["layers"] = _layers(given["layers"])
    Recipe.from_json(changes)
    return changes


def _layers(text: str) -> list[int]:
    """As in 3,4,5. Raises UsageError."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--layers {text} is no list of layers.", "Write it as in --layers 3,4,5.") from error
