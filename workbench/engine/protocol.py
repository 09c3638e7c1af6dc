"""Commands for an engine in another process: one JSON object a line. What comes back are events. Free of torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast, get_args

from workbench.text import shortened

Verb = Literal[
    "apply",  # request, recipe (changes to the profile), index, of, guard (optional): limits as Guard.to_json
    "apply_batch",  # requests: a list, made one edit by a batched method; recipe, index, of, guard as for apply
    "apply_together",  # requests: a list, made on one state and then applied in order; the rest as for apply
    "undo",  # count
    "redo",  # count
    "travel",  # to: a position or an edit's id
    "toggle",  # edit, off, resolve
    "arrange",  # order: ids of applied edits, the others are left out; resolve, branch
    "switch",  # name of a branch
    "branch",  # name, at (optional): an edit, tag, branch or "base"
    "verify",
    "preflight",  # request, recipe (changes to the profile), quick: what speaks against an edit
    "health",  # at (optional): a state; sample, seed, every (optional)
    "probe",  # all probes of the applied edits, base against now; with states: in each of them, added, most
    "answer",  # prompt, target (optional), states, k; chat, go_on (optional): in a chat, tokens of how it goes on
    "trace",  # prompt, subject, answer, chat (optional), side (a state), settings as TraceSettings
    "generate",  # prompt, states, max_new, temperature, seed, k
    "export",  # format, out, edit (for "edit"), shape (of "requests"), replace
    "note",  # edit, text
    "open",  # stack: another folder
    "refresh",  # say StackChanged again
    "stacks",  # say which other stacks lie beside the open one
    "cancel",  # of: the job to stop; this and the next two do not wait their turn
    "pause",  # of: the job of several edits that is to end after the one in flight
    "decide",  # of: the job whose guard asks; answer: keep, discard or continue
    "quit",
]
VERBS: tuple[str, ...] = get_args(Verb)
NO_JOBS: tuple[Verb, ...] = ("cancel", "pause", "decide", "quit")
"""Verbs that no events answer."""


class UnknownVerbError(ValueError):
    """A command that this engine does not know: the screen may be of a later version."""

    def __init__(self, verb: str, job: str) -> None:
        super().__init__(f"'{shortened(verb, 40)}' is no command")
        self.job = job


@dataclass(frozen=True)
class Command:
    """One thing to do; its events carry `job` and end with JobDone."""

    do: Verb
    job: str
    args: dict[str, Any] = field(default_factory=dict)


def to_line(command: Command) -> str:
    """`command` as one line of JSON, without the newline."""
    return json.dumps(asdict(command), ensure_ascii=False)


def from_line(line: str | bytes) -> Command:
    """Reads a line. Raises ValueError if it is not a command, UnknownVerbError if another version may know it."""
    try:
        document = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(document, dict) or not isinstance(document.get("do"), str):
        raise ValueError("not a command")
    verb, job, args = document["do"], document.get("job", ""), document.get("args", {})
    if not isinstance(job, str) or not isinstance(args, dict):
        raise ValueError("a command has a text 'job' and an object 'args'")
    if verb not in VERBS:
        raise UnknownVerbError(verb, job)
    return Command(cast("Verb", verb), job, args)
