"""`workbench show`: one edit in full."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from workbench import events as ev
from workbench.cli.history import find_edit, opened, row_of, split_stack
from workbench.cli.options import Common, stack_options
from workbench.cli.output import Output
from workbench.cli.where import existing_stack

if TYPE_CHECKING:
    from workbench.edits import Chat, Recipe
    from workbench.stack.editfile import Edit
    from workbench.stack.store import Stack

EPILOG = """\b
Examples:
  workbench show 3
  workbench show edits/tour 7be104c2
  workbench show edits/tour 1 --json
"""


MOST_REQUESTS = 10
"""Requests that are shown of an edit of many, and of its probes."""


@click.command(short_help="Show one edit in full.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] N|ID")
@stack_options
def show(words: tuple[str, ...], common: Common) -> int:
    """Show one edit in full: request, recipe, norms, probes, hashes. N is its number, ID how its id begins."""
    stack, (wanted,) = split_stack(words, 1, "show [STACK] N|ID")
    with Output(common.json) as output, opened(existing_stack(common, stack), output) as found:
        edit = find_edit(found, wanted)
        output.document(json.dumps({"type": "Edit", "id": edit.id, **edit.to_json()}, ensure_ascii=False))
        for name, value in [*facts(found, edit), ("state", _state(found, edit))]:
            output.line(f"{name:<13} {value}")
        return output.done(0)


def facts(stack: Stack, edit: Edit) -> list[tuple[str, str]]:
    """Name and value of all that a person asks of an edit, in order; what is not known is left out."""
    listed: list[tuple[str, str]] = [
        ("edit", edit.id),
        ("number", str(edit.number)),
        ("file", f"{stack.path_of(edit)}"),
        *(_request(edit) if len(edit.requests) == 1 else _requests(edit)),
        *_made(edit),
        ("norms", _numbers(edit.metrics.get("norms"))),
        ("perplexity", _numbers(_in_order(edit.metrics.get("perplexity")))),
        ("scores", _scores(edit.metrics.get("scores"))),
        *_probe_facts(edit),
        ("base", f"{edit.base.name} {edit.base.revision}  {edit.base.dtype}  {edit.base.fingerprint}"),
        ("parent", edit.parent or "the base"),
        (
            "copied from",
            f"{edit.copied_from}  (norms and probes are of there, unless it was made anew)" * bool(edit.copied_from),
        ),
    ]
    for module, hashes in edit.weights.items():
        held = edit.base.modules[module].get("dtype")
        rank = edit.ranks.get(module, 1)
        listed += [
            ("module", module + (f", rank {rank}" if rank > 1 else "") + (f", held in {held}" if held else "")),
            ("before", hashes["before"]),
            ("after", hashes["after"]),
        ]
    listed += [("created", edit.created), ("made by", _numbers(edit.made_by)), ("note", edit.note)]
    return [(name, value) for name, value in listed if value]


def _state(stack: Stack, edit: Edit) -> str:
    """Whether a model that is loaded with this stack has the edit, and where the stack stands."""
    return f"{row_of(stack, edit).state}; the stack stands at {stack.position} of {len(stack.line)}"


def _request(edit: Edit) -> list[tuple[str, str]]:
    """The one request, in full."""
    request = edit.request
    return [
        ("subject", request.subject),
        ("prompt", request.prompt),
        ("target", request.target_new),
        ("true", request.target_true or ""),
        ("asked as", "" if edit.imported else _asked_as(request.chat)),
        *(("paraphrase", text) for text in request.paraphrases),
        *(("neighbour", _pair(n.prompt, n.expected)) for n in request.neighbours),
    ]


def _requests(edit: Edit) -> list[tuple[str, str]]:
    """The first of many requests, a line each, and how many more there are."""
    from workbench.cli.lines import rewrite

    more = len(edit.requests) - MOST_REQUESTS
    return [
        ("requests", str(len(edit.requests))),
        *(("request", rewrite(one.prompt, one.subject, one.target_new)) for one in edit.requests[:MOST_REQUESTS]),
        ("", f"and {more} more; --json has them all" if more > 0 else ""),
        ("asked as", _asked_as(edit.request.chat)),
    ]


def _probe_facts(edit: Edit) -> list[tuple[str, str]]:
    """The recorded probes; of many requests those that do not hold, the first of them."""
    listed = edit.metrics.get("probes")
    if len(edit.requests) == 1:
        return [("probe", text) for text in _probes(listed)]
    rows = listed if isinstance(listed, list) else []
    failing = [row for row in rows if isinstance(row, dict) and row.get("passed") is False]
    more = len(failing) - MOST_REQUESTS
    shown = [("probe", text) for text in _probes(failing[:MOST_REQUESTS])]
    return [*shown, ("", f"and {more} more that do not hold, of those recorded" if more > 0 else "")]


def _scores(table: object) -> str:
    """ES, PS, NS and S of many requests, and of whom they were asked."""
    if not isinstance(table, dict):
        return ""
    values = {name.upper(): table.get(name) for name in ("es", "ps", "ns", "s")}
    sampled, requests = table.get("sampled"), table.get("requests")
    told = f"  paraphrases and neighbours of {sampled} of {requests} requests, seed {table.get('seed')}"
    return _numbers(values) + (told if sampled != requests else "")


def _made(edit: Edit) -> list[tuple[str, str]]:
    """How the update was made; of an imported one nothing more is known."""
    recipe = edit.recipe
    if edit.imported:
        return [("method", "imported: made elsewhere, and taken in as it is")]
    return [
        ("method", f"{recipe.method}, {_where(recipe)}, seed {recipe.seed}"),
        ("settings", _settings(recipe.to_json())),
        ("templates", str(len(edit.templates))),
        *_moments(edit),
    ]


def _where(recipe: Recipe) -> str:
    layers = recipe.edited_layers
    return f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"


def _moments(edit: Edit) -> list[tuple[str, str]]:
    """C; where modules have one each, in the order in which the modules are listed."""
    from workbench.stack.record import SEVERAL

    modules = [*edit.weights] if edit.second_moment == SEVERAL else [*edit.weights][:1]
    used = [edit.moment_of(module) for module in modules]
    return [("C", one["fingerprint"] + (f", ridge {one['ridge']:g}" if one["ridge"] else "")) for one in used]


def _settings(recipe: dict[str, Any]) -> str:
    kept = {k: v for k, v in recipe.items() if k not in ("method", "layer", "layers", "seed")}
    return "  ".join(f"{name} {json.dumps(value)}" for name, value in kept.items())


def _asked_as(chat: Chat | None) -> str:
    """How the prompt was put to the model."""
    if chat is None:
        return "raw text"
    return f"chat, user's turn: {json.dumps(chat.before, ensure_ascii=False)} PROMPT " + json.dumps(
        chat.after, ensure_ascii=False
    )


def _pair(prompt: str, expected: str | None) -> str:
    return f"{prompt} → {expected}" if expected else prompt


def _numbers(table: object) -> str:
    """A free table on one line; only what is a number or a text."""
    if not isinstance(table, dict):
        return ""
    shown = {k: v for k, v in table.items() if isinstance(v, (int, float, str)) and not isinstance(v, bool)}
    return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())


def _in_order(table: object) -> object:
    """Perplexities as they came about; a file has them by name."""
    return {k: table[k] for k in ("base", "before", "after") if k in table} if isinstance(table, dict) else table


def _probes(listed: object) -> list[str]:
    """The recorded probes as lines; rows that are not probes are left out."""
    from workbench.cli.lines import probe_line

    if not isinstance(listed, list):
        return []
    lines = []
    for row in listed:
        try:
            event = ev.from_line(json.dumps({"type": "ProbeResult", **row}))
            lines.append(probe_line(event)) if isinstance(event, ev.ProbeResult) else None
        except (TypeError, ValueError, KeyError, AttributeError):  # a stranger's row may hold anything anywhere
            continue
    return lines
