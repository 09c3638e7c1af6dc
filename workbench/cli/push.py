"""`workbench push`: a stack goes to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import click

from workbench import events as ev
from workbench.cli.history import opened, split_stack
from workbench.cli.options import Common, stack_options
from workbench.cli.output import Output
from workbench.cli.where import existing_stack
from workbench.errors import UsageError
from workbench.stack.index import NAME as INDEX

EPILOG = """\b
Examples:
  workbench push ada/atlas-facts
  workbench push edits/mine ada/atlas-facts --private
  workbench push edits/mine ada/atlas-facts --revision draft -m "Two cities"

\b
The edit files, stack.json and a README.md that lists the edits are sent, in
one commit, and only what is not there yet. The journal stays here: it names
people. So does whatever else lies in the folder. A README.md that somebody
wrote there is left alone.
Edits there that are not here are never written over: pull first.
Who you are: hf auth login, or HF_TOKEN. Another Hub: HF_ENDPOINT.
"""


@click.command(short_help="Send a stack to the Hugging Face Hub.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] REPO")
@click.option("--private", is_flag=True, help="Make the repository private, if it is made now.")
@click.option(
    "--revision",
    "--branch",
    default="main",
    metavar="BRANCH",
    help="The Hub's branch, made if need be. [default: main]",
)
@click.option("-m", "--message", default="", metavar="TEXT", help="Of the commit. [default: counts the edits]")
@stack_options
def push(words: tuple[str, ...], private: bool, revision: str, message: str, common: Common) -> int:
    """Send STACK to the model repository REPO, as in owner/name, on the Hugging Face Hub."""
    from workbench.stack.pushing import push as send

    name, (repo,) = split_stack(words, 1, "push [STACK] REPO")
    if name is None and (Path(repo) / INDEX).is_file():
        raise UsageError(f"'{repo}' is a stack; where to is missing.", f"As in workbench push {repo} owner/name.")
    with Output(common.json) as output, opened(existing_stack(common, name), output) as stack:
        output.event(ev.ModelLoading(stage=f"asking the Hub for {repo}"), "push")
        if stack.base and Path(stack.base.name).is_absolute():
            output.tell(f"note: the base is called {stack.base.name} in every edit; others will read that.")
        done = send(stack, repo, revision=revision, private=private, message=message)
        output.event(done, "push")
        output.line(_line(done))
        if not done.card:
            output.tell("note: README.md there is somebody's own; it was left alone.")
        output.tell(done.url)
        return output.done(0)


def _line(done: ev.Pushed) -> str:
    """As in: ada/atlas-facts  main  9f1c2ab0  12 edits, 3 of them new  14210 bytes."""
    edits = f"{done.count} edit{'s' * (done.count != 1)}, {done.sent or 'none'} of them new"
    return "  ".join((done.repo, done.revision, done.commit[:8], edits, f"{done.bytes} bytes"))
