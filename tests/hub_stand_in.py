"""A stand-in for the Hugging Face Hub: just the endpoints that huggingface_hub calls, in memory, on this machine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

TOKEN = "hf_standin"
PAGE = 5
"""Files of a tree in one answer; few, so that paging is met."""

Tree = dict[str, bytes]


@dataclass
class Repository:
    """Branches and commits; a commit is its whole tree."""

    private: bool = False
    gated: bool = False
    commits: dict[str, Tree] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, branch: str, tree: Tree, message: str) -> str:
        made = hashlib.sha1(f"{len(self.commits)} {branch} {message}".encode()).hexdigest()  # noqa: S324
        self.commits[made], self.branches[branch] = tree, made
        self.messages.append(message)
        return made

    def at(self, revision: str) -> tuple[str, Tree] | None:
        commit = self.branches.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None

    @property
    def files(self) -> Tree:
        """What the main branch holds."""
        return self.commits[self.branches["main"]]


@dataclass
class Hub:
    """What the server knows, and how it shall behave."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files by sha256."""
    fail: dict[str, int] = field(default_factory=dict)
    """Status by a part of the path for which the server fails."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every call."""
    uploads: int = 0
    """Large files that were sent."""

    def put(self, repo: str, tree: Tree, *, private: bool = False) -> Repository:
        """A repository that holds `tree`."""
        made = self.repositories.setdefault(repo, Repository(private))
        made.add("main", {".gitattributes": b"*.safetensors filter=lfs\n", **tree}, "first")
        return made

    def calls(self, part: str) -> int:
        """How often a path with `part` in it was asked for."""
        return sum(part in path for _, path in self.asked)


def is_large(path: str) -> bool:
    return path.endswith(".safetensors")


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324  git's own hash


class Refused(Exception):  # noqa: N818  says what it is
    """An answer other than 200."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        """Nothing is said."""

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_HEAD(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def _serve(self, answer: Any) -> None:
        self.hub.asked.append((self.command, self.path))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.path_parts = unquote(urlsplit(self.path).path)
        try:
            for part, status in self.hub.fail.items():
                if part in self.path_parts:
                    raise Refused(status, message="as told")
            answer()
        except Refused as refused:
            self._send(b"{}", refused.status, {"X-Error-Code": refused.code, "X-Error-Message": refused.message})

    def _send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, document: object, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(document).encode(), headers={"Content-Type": "application/json", **(headers or {})})

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _repo(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self.known):
            raise Refused(404 if self.known else 401, "RepoNotFound", "Repository not found")
        if found.gated:
            raise Refused(403, "GatedRepo", "Access is restricted")
        return found

    def _tree(self, name: str, revision: str) -> tuple[str, Tree]:
        found = self._repo(name).at(revision)
        if found is None:
            raise Refused(404, "RevisionNotFound", "no such revision")
        return found

    def _match(self, pattern: str) -> tuple[str, ...] | None:
        found = re.fullmatch(pattern.replace("REPO", "([^/]+/[^/]+)"), self.path_parts)
        return found.groups() if found else None

    def _get(self) -> None:
        if found := self._match(r"/api/models/REPO/tree/(.+)"):
            return self._list(*self._tree(*found))
        if found := self._match(r"/api/models/REPO/revision/(.+)"):
            commit, tree = self._tree(*found)
            siblings = [{"rfilename": path} for path in tree]
            return self._json({"id": found[0], "sha": commit, "siblings": siblings, "private": False})
        if found := self._match(r"/REPO/resolve/([0-9a-f]{40})/(.+)"):
            commit, tree = self._tree(*found[:2])
            if found[2] not in tree:
                raise Refused(404, "EntryNotFound", "no such file")
            data = tree[found[2]]
            return self._send(data, headers={"ETag": f'"{blob_id(data)}"', "X-Repo-Commit": commit})
        raise Refused(404, message=f"the stand-in does not know {self.path}")

    def _list(self, _: str, tree: Tree) -> None:
        query = parse_qs(urlsplit(self.path).query)
        start = int(query.get("cursor", ["0"])[0])
        rows = [self._row(path, data) for path, data in sorted(tree.items())]
        more = f'<{self.hub.url}{urlsplit(self.path).path}?recursive=True&cursor={start + PAGE}>; rel="next"'
        self._json(rows[start : start + PAGE], {"Link": more} if len(rows) > start + PAGE else {})

    def _row(self, path: str, data: bytes) -> dict[str, Any]:
        row: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": blob_id(data)}
        if is_large(path):
            row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return row

    def _post(self) -> None:
        if self.path_parts == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if not self.known:
            raise Refused(401, message="Invalid username or password.")
        if self.path_parts == "/api/repos/create":
            return self._create()
        if found := self._match(r"/api/models/REPO/branch/(.+)"):
            repo = self._repo(found[0])
            repo.branches.setdefault(found[1], repo.branches["main"])
            return self._json({})
        if found := self._match(r"/api/models/REPO/preupload/(.+)"):
            return self._preupload(self._tree(*found)[1])
        if found := self._match(r"/REPO\.git/info/lfs/objects/batch"):
            return self._batch()
        if found := self._match(r"/api/models/REPO/commit/(.+)"):
            return self._commit(*found)
        raise Refused(404, message=f"the stand-in does not know {self.path}")

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization'] or 'me'}/{asked['name']}"
        if name in self.hub.repositories:
            document = json.dumps({"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
            self._send(document.encode(), 409)
            return
        self.hub.put(name, {}, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        self._json({"url": f"{self.hub.url}/{name}"})

    def _preupload(self, tree: Tree) -> None:
        rows = []
        for asked in json.loads(self.body)["files"]:
            path = asked["path"]
            row = {"path": path, "uploadMode": "lfs" if is_large(path) else "regular", "shouldIgnore": False}
            rows.append({**row, **({"oid": blob_id(tree[path])} if path in tree and not is_large(path) else {})})
        self._json({"files": rows})

    def _batch(self) -> None:
        rows: list[dict[str, Any]] = []
        for asked in json.loads(self.body)["objects"]:
            upload = {"actions": {"upload": {"href": f"{self.hub.url}/upload/{asked['oid']}"}}}
            rows.append({**asked, **({} if asked["oid"] in self.hub.objects else upload)})
        self._json({"transfer": "basic", "objects": rows})

    def _put(self) -> None:
        oid = self.path_parts.rsplit("/", 1)[1]
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, message="not that object")
        self.hub.objects[oid] = self.body
        self.hub.uploads += 1
        self._send(b"")

    def _commit(self, name: str, branch: str) -> None:
        repo = self._repo(name)
        parent, tree = self._tree(name, branch)
        header, *rows = [json.loads(line) for line in self.body.splitlines()]
        if header["value"].get("parentCommit") not in (None, parent):
            raise Refused(412, message="A commit has happened since. Please refresh and try again.")
        added = {}
        for row in rows:
            value = row["value"]
            if row["key"] == "deletedFile":
                tree = {path: data for path, data in tree.items() if path != value["path"]}
                continue
            large = row["key"] == "lfsFile"
            added[value["path"]] = self.hub.objects[value["oid"]] if large else base64.b64decode(value["content"])
        made = repo.add(branch, {**tree, **added}, header["value"]["summary"])
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{made}", "commitOid": made})


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A Hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _NoWaiting:
    """In place of the module `time`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def sleep(_: float) -> None:
        """At once."""


def point_at(hub: Hub, monkeypatch: pytest.MonkeyPatch, *, token: str = TOKEN) -> None:
    """Makes huggingface_hub speak to `hub` alone, as somebody with `token`, and never wait before it asks again."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time", _NoWaiting())
