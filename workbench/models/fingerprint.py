"""Fingerprints: which base a stack belongs to. The same for one checkpoint however it is sharded, stored or loaded.

Hashing a large model takes as long as reading it, so a fingerprint is kept between runs, for as long as every weight
file keeps its path, size, time of change and inode.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workbench.errors import ModelError
from workbench.models.checkpoint import AGAIN, Stored, stored_tensors
from workbench.models.folder import is_pickle, weight_files
from workbench.models.kept import cache_root, keep
from workbench.models.task import Tell

_TAG = b"workbench base v1\n"
_CHUNK = 8 * 1024 * 1024
_SETTLED = 2.0
"""Seconds after its last change from when on a file's time of change tells that it is the same file."""


def base_fingerprint(folder: Path, *, allow_pickle: bool = False, tell: Tell | None = None) -> str:
    """sha256 over name, dtype, shape and bytes of every tensor of the checkpoint, in order of their names.

    A checkpoint of `.bin` files has the fingerprint of the same tensors in safetensors files.

    Args:
        folder: the model's.
        allow_pickle: whether `.bin` files may be read, where there are no others.
        tell: is told how many bytes of how many are hashed.

    Raises:
        ModelError: a weight file is damaged or missing.
    """
    files = weight_files(folder, allow_pickle=allow_pickle)
    counted = _Counter(sum(path.stat().st_size for path in files), tell)
    if is_pickle(files):
        from workbench.models.pickled import tensor_digests

        return _joined(tensor_digests(files, counted))
    tensors = stored_tensors(files)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda stored: _tensor_digest(stored, counted), tensors.values())
        return _joined(dict(zip(tensors, digests, strict=True)))


def known_fingerprint(folder: Path, *, allow_pickle: bool = False) -> str | None:
    """The fingerprint that an earlier run kept for these very files; None if there is none. Raises ModelError."""
    files = weight_files(folder, allow_pickle=allow_pickle)
    try:
        known = json.loads(_kept_at(folder).read_text(encoding="utf-8"))
        fingerprint = known["fingerprint"] if known["files"] == _signature(files) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # what is kept can be computed again
    return fingerprint if isinstance(fingerprint, str) and re.fullmatch("[0-9a-f]{64}", fingerprint) else None


def keep_fingerprint(folder: Path, fingerprint: str, *, allow_pickle: bool = False) -> None:
    """Keeps `fingerprint` for the weight files as they are now, unless one was changed just now. Raises ModelError."""
    files = weight_files(folder, allow_pickle=allow_pickle)
    signature = _signature(files)
    if max(path.stat().st_mtime for path in files) < time.time() - _SETTLED:
        document = {"files": signature, "fingerprint": fingerprint}
        keep(_kept_at(folder), json.dumps(document).encode())


def tokenizer_fingerprint(folder: Path) -> str:
    """sha256 of the files that make the tokenizer."""
    whole = hashlib.sha256(b"workbench tokenizer v1\n")
    for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"):
        if (folder / name).is_file():
            whole.update(name.encode() + b"\n" + hashlib.sha256((folder / name).read_bytes()).digest())
    return whole.hexdigest()


def tensor_hash(dtype: str, shape: Sequence[int]) -> hashlib._Hash:
    """The hash of a tensor before its bytes are in it; `dtype` as safetensors writes it."""
    return hashlib.sha256(json.dumps([dtype, list(shape)]).encode())


def _joined(digests: dict[str, str]) -> str:
    whole = hashlib.sha256(_TAG)
    for name, digest in sorted(digests.items()):
        whole.update(json.dumps([name, digest]).encode())
    return whole.hexdigest()


class _Counter:
    """Adds up what several threads have read."""

    def __init__(self, total: int, tell: Tell | None) -> None:
        self._done, self._total, self._tell = 0, total, tell

    def __call__(self, read: int) -> None:
        self._done += read
        if self._tell:
            self._tell(self._done, self._total)


def _tensor_digest(stored: Stored, counted: Callable[[int], None]) -> str:
    digest = tensor_hash(stored.dtype, stored.shape)
    counted(0)
    with stored.path.open("rb") as file:
        file.seek(stored.start)
        left = stored.end - stored.start
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise ModelError(f"The weight file '{stored.path.name}' is cut short.", AGAIN)
            digest.update(chunk)
            left -= len(chunk)
            counted(len(chunk))
    return digest.hexdigest()


def _signature(files: Sequence[Path]) -> list[list[str | int]]:
    """Path, size, time of change and inode of every weight file."""
    found = [(path.resolve(), path.stat()) for path in files]
    return [[str(path), about.st_size, about.st_mtime_ns, about.st_ino] for path, about in found]


def _kept_at(folder: Path) -> Path:
    return cache_root() / "fingerprints" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json"
