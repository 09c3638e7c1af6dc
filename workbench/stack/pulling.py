"""Pulling: a stack comes from a repository on the Hub, is checked as a stranger's, and only then joins the one here.

It is downloaded to a folder of its own first. A new or empty stack becomes what was pulled; one whose line is the
beginning of the pulled line grows, ids kept; where both have gone on, the pulled line becomes a branch beside ours.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import HubError, StackError, UsageError
from workbench.events import Pulled
from workbench.stack import bundle, container, files, hub
from workbench.stack.index import MAX_BYTES, Index, read_index
from workbench.stack.index import NAME as INDEX
from workbench.stack.joining import Joined, join
from workbench.stack.store import Stack
from workbench.stack.strictjson import MalformedError

MAX_EDITS = 100_000
"""Most edit files that are downloaded."""
MAX_TOTAL = 16 * 1024**3
"""Most bytes that are downloaded."""

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_HINT = "Nothing here was changed; ask whose it is for an intact one."


def check_repo(repo: str) -> None:
    """Raises UsageError if `repo` is not like "owner/name"."""
    if not _REPO.fullmatch(repo):
        raise UsageError(f"'{repo}' cannot be the name of a repository.", "Write owner/name.")


def pull(repo: str, folder: Path, *, revision: str = hub.MAIN) -> Pulled:
    """Brings the stack of `repo` into `folder`, which may be new; all or nothing.

    Raises:
        UsageError: `repo` is no name.
        HubError: the Hub does not give it, or it holds no stack.
        StackError, VerificationError: what it holds is damaged or hostile; nothing here has changed.
        BaseMismatch: the stack here belongs to another base.
        StorageError: the disk would not take it.
    """
    check_repo(repo)
    with fetched(repo, revision) as (remote, index, theirs):
        joined = _joined(folder, theirs, repo)
        return Pulled(
            repo=repo,
            revision=revision,
            commit=remote.commit,
            folder=str(folder),
            outcome=joined.outcome,
            added=joined.added,
            count=len(index.order),
            branch=joined.branch,
            left=joined.left,
        )


def _joined(folder: Path, theirs: Stack, repo: str) -> Joined:
    if not folder.exists():
        with files.folder_atomic(folder) as unfinished:
            return _joined(unfinished, theirs, repo)
    with Stack.open(folder, write=True, base=theirs.base) as ours:
        return join(ours, theirs, "pull", name=repo)


@contextmanager
def fetched(repo: str, revision: str) -> Iterator[tuple[hub.Remote, Index, Stack]]:
    """The stack of `repo`, checked in full, as long as the block lasts. Raises as `pull`."""
    remote = hub.look(repo, revision)
    names = _wanted(remote)
    with tempfile.TemporaryDirectory(prefix="workbench-") as temporary:
        folder = Path(temporary)
        hub.download(remote, names, folder)
        with _blamed_on(repo):
            index, damage = read_index(folder)
            if index is None:
                raise MalformedError(f"holds a damaged stack: {damage or f'{INDEX} is missing'}")
            with Stack.open(folder) as stack:
                _check(stack, index)
                yield remote, index, stack


def _wanted(remote: hub.Remote) -> list[str]:
    """The names to download. Raises HubError if there is no stack, or one beyond the limits."""
    if INDEX not in remote.files:
        raise HubError(f"'{remote.repo}' holds no stack of edits.", "A stack comes there by workbench push.")
    names = [name for name in remote.files if bundle.EDIT_FILE.fullmatch(name)]
    sizes = [remote.files[name].size for name in names]
    if len(names) > MAX_EDITS or sum(sizes) > MAX_TOTAL:
        raise HubError(
            f"'{remote.repo}' holds {len(names)} edits of {sum(sizes)} bytes, which is more than is downloaded.",
            f"At most {MAX_EDITS} edits and {MAX_TOTAL} bytes.",
        )
    if max(sizes, default=0) > container.MAX_FILE or remote.files[INDEX].size > MAX_BYTES:
        raise HubError(f"'{remote.repo}' holds a file that is too large for an edit.", "Nothing was downloaded.")
    return [*names, INDEX]


def _check(stack: Stack, index: Index) -> None:
    """Raises StackError, VerificationError or MalformedError unless every file is the edit it says it is."""
    for file, reason in stack.broken.items():
        raise StackError(f"{file}: {reason}", _HINT)
    loose = {edit.id for edit in stack.loose} - {*stack.tags.values()}
    edits = {edit.id: edit for edit in (*stack.line, *stack.others) if edit.id not in loose}
    for edit in edits.values():
        stack.factors(edit)
    bundle.check_whole(index, edits)


@contextmanager
def _blamed_on(repo: str) -> Iterator[None]:
    """Turns MalformedError into StackError with the repository's name in front."""
    try:
        yield
    except MalformedError as error:
        raise StackError(f"'{repo}' {error}.", _HINT) from error
