"""`workbench pull`: a stack comes from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import click

from workbench import events as ev
from workbench.cli.options import Common, stack_options
from workbench.cli.output import Output
from workbench.cli.where import stack_folder
from workbench.stack.place import STACKS

EPILOG = """\b
Examples:
  workbench pull ada/atlas-facts
  workbench pull ada/atlas-facts --stack edits/mine
  workbench pull ada/atlas-facts --revision draft --stack edits/draft

\b
All of it is downloaded beside the stack and checked in full before anything
here changes. A new or empty stack becomes what was pulled: same ids, position,
branches, tags and notes. One that it goes on from grows.
Exit code 1: both have gone on since; what was pulled is a branch of its own
then, for workbench merge. Exit codes 4 and 5: another base, damaged files.
"""

_NEXT = "workbench merge {branch} --stack {folder}"


@click.command(short_help="Get a stack from the Hugging Face Hub.", epilog=EPILOG)
@click.argument("repo", metavar="REPO")
@click.option("--revision", "--branch", default="main", metavar="REV", help="Branch, tag or commit. [default: main]")
@stack_options
def pull(repo: str, revision: str, common: Common) -> int:
    """Get the stack in the model repository REPO, as in owner/name, from the Hugging Face Hub.

    Without --stack or --model it goes to edits/OWNER--NAME.
    """
    from workbench.stack.pulling import check_repo
    from workbench.stack.pulling import pull as fetch

    check_repo(repo)
    folder = stack_folder(common) if common.stack or common.model else STACKS / repo.replace("/", "--")
    with Output(common.json) as output:
        output.event(ev.ModelLoading(stage=f"asking the Hub for {repo}"), "pull")
        done = fetch(repo, folder, revision=revision)
        output.event(done, "pull")
        output.line(_line(done))
        for name in done.left:
            output.tell(f"note: '{name}' there is another one than '{name}' here; yours stays.")
        if done.outcome == "branch":
            hint = _NEXT.format(branch=done.branch, folder=folder)
            output.tell(f"Your line and the one pulled have both gone on; theirs is the branch '{done.branch}': {hint}")
            return output.done(1, "The two lines have both gone on.", hint)
        return output.done(0)


def _line(done: ev.Pulled) -> str:
    """As in: ada/atlas-facts  9f1c2ab0  grown  3 new edits, 12 on its line  edits/mine."""
    said = {
        "new": "new stack",
        "grown": f"branch {done.branch} has grown" if done.branch else "grown",
        "same": "nothing new",
        "ahead": "nothing new: the line here has gone on from it",
        "branch": f"saved as branch {done.branch}",
    }
    edits = f"{done.added or 'no'} new edit{'s' * (done.added != 1)}, {done.count} on its line"
    return "  ".join((done.repo, done.commit[:8], said[done.outcome], edits, str(Path(done.folder))))
