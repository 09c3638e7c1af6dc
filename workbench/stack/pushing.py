"""Pushing: a stack goes to a repository on the Hub, in one commit of only what is not there yet.

Edit files, stack.json and a card go; the journal stays here, for it names people, and so does the lock. What is there
and not known here is never written over: then one pulls first.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from workbench.errors import AlteredFile, BaseMismatch, HubError, StackError, UsageError
from workbench.events import Pushed
from workbench.stack import bundle, container, files, hub, hub_card
from workbench.stack.editfile import decode_edit
from workbench.stack.index import MAX_BYTES, Index, read_index
from workbench.stack.index import NAME as INDEX
from workbench.stack.pulling import check_repo
from workbench.stack.view import StackView


def push(stack: StackView, repo: str, *, revision: str = hub.MAIN, private: bool = False, message: str = "") -> Pushed:
    """Sends every edit that a branch or tag of `stack` leads to.

    Args:
        stack: open for reading at least.
        repo: "owner/name"; made if it is not there.
        revision: the Hub's branch; made if it is not there.
        private: whether a repository that is made here is.
        message: of the commit; empty: one that counts the edits.

    Raises:
        UsageError: the stack is empty, or `repo` no name.
        StackError, VerificationError: an edit here, or stack.json there, is damaged; nothing was sent.
        BaseMismatch: the repository holds a stack of another base.
        HubError: it holds edits that are not here, or the Hub does not take them.
    """
    check_repo(repo)
    edits, index_here = _shared(stack)
    remote, made = _looked(repo, revision, private=private)
    index, text = _there(remote) if not made else (None, "")
    if index:
        _check_known(stack, index, repo)
    contents = {**edits, INDEX: index_here.encode()}
    if not text or hub_card.MARK in text:
        contents[hub_card.NAME] = hub_card.card(stack, repo).encode("utf-8")
    new = {name: data for name, data in contents.items() if not _has(remote, name, data)}
    stale = [name for name in remote.files if bundle.EDIT_FILE.fullmatch(name) and name not in edits] if made else []
    sent = sum(name in edits for name in new)
    commit = remote.commit
    if new or stale:
        commit = hub.commit(remote, new, message or f"{sent} edit{'s' * (sent != 1)}", stale)
    return Pushed(
        repo=repo,
        revision=revision,
        commit=commit,
        count=len(edits),
        sent=sent,
        bytes=sum(map(len, new.values())),
        url=hub.url_of(repo),
        card=hub_card.NAME in contents,
    )


def _shared(stack: StackView) -> tuple[dict[str, bytes], Index]:
    """Each edit file by the name it has anywhere, checked in full, and the index that goes along."""
    if stack.incomplete:
        raise StackError(stack.incomplete, "Only a whole stack can be pushed; see workbench verify.")
    found, notes = {}, {}
    for name, edit in bundle.edits_reached(stack).items():
        data = files.read_bytes(stack.path_of(edit), container.MAX_FILE)
        read, _ = decode_edit(data, name)
        if read.id != edit.id:
            raise AlteredFile(f"{name} is no longer the edit that it was.", "Get an intact copy.")
        if stack.note_of(read) != read.note:
            notes[read.id] = stack.note_of(read)
        found[name] = data
    if not found:
        raise UsageError("The stack is empty.", "There is nothing to push.")
    held = {edit.id for edit in bundle.edits_reached(stack).values()}
    return found, bundle.shared_index(stack, held, notes)


def _looked(repo: str, revision: str, *, private: bool) -> tuple[hub.Remote, bool]:
    """What is there, and whether the branch was only made now."""
    try:
        return hub.look(repo, revision), False
    except (hub.NoRepositoryError, hub.NoRevisionError):
        hub.make(repo, revision, private=private)
        return hub.look(repo, revision), True


def _there(remote: hub.Remote) -> tuple[Index | None, str]:
    """The index and the card that the repository holds; None and empty where there is none."""
    limits = {INDEX: MAX_BYTES, hub_card.NAME: hub_card.MAX_BYTES}
    names = [name for name, most in limits.items() if name in remote.files and remote.files[name].size <= most]
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        hub.download(remote, names, Path(folder))
        card = Path(folder) / hub_card.NAME
        text = files.read_bytes(card, hub_card.MAX_BYTES).decode("utf-8", "replace") if hub_card.NAME in names else ""
        index, damage = read_index(Path(folder))
    if index is None and INDEX in remote.files:
        raise StackError(f"In {remote.repo}, {damage or f'{INDEX} is too large'}.", "Push with another --revision.")
    return index, text if hub_card.NAME not in remote.files or text else "kept"


def _check_known(stack: StackView, index: Index, repo: str) -> None:
    """Raises BaseMismatch or HubError if `repo` holds a stack of another base, or a branch whose edits are not here."""
    if stack.base and index.base and stack.base.fingerprint != index.base.fingerprint:
        raise BaseMismatch(
            f"'{repo}' holds edits of {index.base.name}, and this is a stack of {stack.base.name}.",
            "Push to another repository, or with another --revision.",
        )
    here = {edit.id for edit in (*stack.line, *stack.others)}
    unknown = [name for name, tip in sorted(index.tips.items()) if tip is not None and tip not in here]
    if unknown:
        raise HubError(
            f"'{repo}' has edits on its branch '{unknown[0]}' that are not here.",
            f"workbench pull {repo} first, or push with another --revision.",
        )


def _has(remote: hub.Remote, name: str, data: bytes) -> bool:
    return name in remote.files and remote.files[name].holds(data)
