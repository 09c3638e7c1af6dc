"""A model repository on the Hugging Face Hub as a place for files: look, download, commit. Knows nothing of edits.

Every fault of the network or the Hub becomes one sentence. What a repository holds is a stranger's: names and sizes
are those that the Hub lists, and nothing is downloaded but the names that are asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import HubError, UsageError, WorkbenchError
from workbench.stack import files

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"
"""The Hub's first branch."""
SECONDS = 20.0
"""How long the first answer may take."""
MAX_FILES = 200_000
"""Most files of a repository that are looked at."""

_WHO = "Log in with hf auth login, or set HF_TOKEN to a token that may write."
_LATER = "Try again later; nothing was changed."


class NoRepositoryError(HubError):
    """There is no such repository, or not for this person."""


class NoRevisionError(HubError):
    """The repository has no such branch, tag or commit."""


@dataclass(frozen=True)
class RemoteFile:
    """One file as the Hub lists it."""

    size: int
    """In bytes."""
    sha256: str
    """Of a large file; empty for one that git holds itself."""
    blob: str
    """git's id of the content of a file that is not large."""

    def holds(self, data: bytes) -> bool:
        """Whether the file's content is `data`."""
        if len(data) != self.size:
            return False
        if self.sha256:
            return hashlib.sha256(data).hexdigest() == self.sha256
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == self.blob  # noqa: S324  git's own hash


@dataclass(frozen=True)
class Remote:
    """A repository at one commit."""

    repo: str
    """As in "owner/name"."""
    revision: str
    """The branch, tag or commit that was asked for."""
    commit: str
    """The newest commit of it, 40 hex digits."""
    files: Mapping[str, RemoteFile] = field(default_factory=dict)
    """By path inside the repository."""


def look(repo: str, revision: str = MAIN) -> Remote:
    """What `repo` holds at `revision`.

    Raises:
        UsageError: `repo` cannot be the name of a repository.
        NoRepositoryError, NoRevisionError: it is not there.
        HubError: the Hub cannot be reached, or does not give it.
    """
    with _plainly(repo, f"read {repo}"):
        from huggingface_hub.hf_api import RepoFile

        api = _api()
        info = api.repo_info(repo, revision=revision, timeout=SECONDS)
        commit = str(info.sha)
        listed: dict[str, RemoteFile] = {}
        for entry in api.list_repo_tree(repo, revision=commit, recursive=True):
            if len(listed) == MAX_FILES:
                raise HubError(f"'{repo}' holds more than {MAX_FILES} files.", "It is not a stack of edits.")
            if isinstance(entry, RepoFile):
                sha256 = entry.lfs.sha256 if entry.lfs else ""
                listed[entry.path] = RemoteFile(int(entry.size), sha256, entry.blob_id)
        return Remote(repo, revision, commit, listed)


def make(repo: str, revision: str, *, private: bool) -> None:
    """Makes the repository, and the branch `revision` in it, where they are not there. Raises UsageError, HubError."""
    with _plainly(repo, f"make {repo}"):
        api = _api()
        api.create_repo(repo, private=private, exist_ok=True)
        if revision != MAIN:
            api.create_branch(repo, branch=revision, exist_ok=True)


def download(remote: Remote, names: Collection[str], folder: Path) -> None:
    """Puts the files `names` of `remote` into the empty `folder`.

    Raises:
        HubError: the Hub does not give them.
        StorageError: the disk does not take them.
    """
    if not names:
        return
    with files.storage("write", folder), _plainly(remote.repo, f"read {remote.repo}"):
        _api().snapshot_download(
            remote.repo,
            revision=remote.commit,
            local_dir=folder,
            cache_dir=folder / ".cache" / "hub",
            allow_patterns=[_literally(name) for name in names],
        )


def commit(remote: Remote, contents: Mapping[str, bytes], message: str, stale: Collection[str] = ()) -> str:
    """Adds or replaces files, and takes the `stale` ones away, in one commit on `remote`; returns the new commit's id.

    Raises:
        HubError: the Hub does not take them, also where the repository has changed since `remote` was looked at.
    """
    with _plainly(remote.repo, f"write to {remote.repo}"):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        made = _api().create_commit(
            remote.repo,
            [
                *(CommitOperationDelete(path) for path in stale),
                *(CommitOperationAdd(path, data) for path, data in contents.items()),
            ],
            commit_message=message,
            revision=remote.revision,
            parent_commit=remote.commit,
        )
        return str(made.oid)


def url_of(repo: str) -> str:
    """The repository's page."""
    return f"{_endpoint()}/{repo}"


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _api() -> HfApi:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.logging import set_verbosity_error
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    set_verbosity_error()  # type: ignore[no-untyped-call]  # the client leaves it untyped
    return HfApi(endpoint=_endpoint(), library_name="workbench")


def _literally(name: str) -> str:
    """A pattern that matches `name` alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextlib.contextmanager
def _plainly(repo: str, doing: str) -> Iterator[None]:
    """Turns whatever the Hub's client raises into a WorkbenchError; `doing` as in "read owner/name"."""
    try:
        yield
    except WorkbenchError:
        raise
    except Exception as error:  # the client lets through errors of its own, of HTTP, of JSON and of threads
        if isinstance(error, OSError) and error.errno is not None and not _is_network(error):
            raise
        raise _told(error, repo, doing) from error


def _is_network(error: Exception) -> bool:
    """Whether nobody answered; the client's HTTP library is httpx of one name or another."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


def _told(error: Exception, repo: str, doing: str) -> WorkbenchError:
    """`error` in plain words; a fault that only wraps another is told as that other."""
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return UsageError(f"'{repo}' cannot be the name of a repository or branch.", "Write owner/name.")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubError("The Hub's client is told to stay offline.", "Unset HF_HUB_OFFLINE to reach the Hub.")
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"Access to '{repo}' must be asked for.", f"Ask on {url_of(repo)}, then log in and try again.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return NoRepositoryError(
            f"There is no repository '{repo}' on the Hub, or it is private.", f"Check the name. {_WHO}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NoRevisionError(f"'{repo}' has no such branch, tag or commit.", "Check --revision.")
    if isinstance(error, errors.HfHubHTTPError):
        return _told_status(error.response.status_code, repo, doing, _reason(error))
    if _is_network(error):
        return HubError(f"The Hub cannot be reached at {_endpoint()}.", "Check the network, and HF_ENDPOINT if set.")
    if isinstance(error.__cause__, Exception):
        return _told(error.__cause__, repo, doing)
    return HubError(f"Cannot {doing}: {_reason(error)}", _LATER)


def _told_status(status: int, repo: str, doing: str, reason: str) -> HubError:
    if status == 401:
        return HubError(f"Cannot {doing}: the Hub does not know who asks.", _WHO)
    if status == 403:
        return HubError(f"Cannot {doing}: the Hub does not allow it.", f"Is '{repo}' yours? {_WHO}")
    if status in (409, 412):
        return HubError(f"'{repo}' was changed by somebody else meanwhile.", "Pull, then push again.")
    if status == 429:
        return HubError("The Hub was asked too often.", "Wait some minutes and try again.")
    if status >= 500:
        return HubError(f"Cannot {doing}: the Hub has a fault of its own ({status}).", _LATER)
    return HubError(f"Cannot {doing}: {reason}", "Nothing was changed.")


def _reason(error: Exception) -> str:
    """The first line that says something, as a sentence."""
    said = getattr(error, "server_message", None) or str(error)
    lines = [line.strip() for line in str(said).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0][:200].rstrip(".") + "."
