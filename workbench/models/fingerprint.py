"""Fingerprints: which base a stack belongs to. The same for one checkpoint however it is sharded or loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workbench.errors import ModelError
from workbench.models.folder import weight_files

_TAG = b"workbench base v1\n"
_MAX_HEADER = 100 * 1024 * 1024
_CHUNK = 8 * 1024 * 1024


def base_fingerprint(folder: Path) -> str:
    """sha256 over name, dtype, shape and bytes of every tensor of the checkpoint, in order of their names.

    Raises:
        ModelError: a weight file is damaged or missing.
    """
    tensors = {}
    for path in weight_files(folder):
        for name, info in _header(path):
            tensors[name] = (path, info)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(lambda name: _tensor_digest(*tensors[name]), sorted(tensors))
        whole = hashlib.sha256(_TAG)
        for name, digest in zip(sorted(tensors), digests, strict=True):
            whole.update(json.dumps([name, digest]).encode())
    return whole.hexdigest()


def tokenizer_fingerprint(folder: Path) -> str:
    """sha256 of the files that make the tokenizer."""
    whole = hashlib.sha256(b"workbench tokenizer v1\n")
    for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"):
        if (folder / name).is_file():
            whole.update(name.encode() + b"\n" + hashlib.sha256((folder / name).read_bytes()).digest())
    return whole.hexdigest()


def _header(path: Path) -> Iterator[tuple[str, tuple[str, list[int], int, int]]]:
    """Yields (name, (dtype, shape, first byte, one past the last)) of every tensor in a safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                raise ValueError("header length")
            document = json.loads(file.read(length))
            for name, info in document.items():
                if name == "__metadata__":
                    continue
                start, end = (8 + length + int(offset) for offset in info["data_offsets"])
                if not 8 + length <= start <= end <= size:
                    raise ValueError("offsets")
                yield name, (str(info["dtype"]), list(info["shape"]), start, end)
    except OSError as error:
        raise ModelError(f"The weight file '{path.name}' cannot be read.", "Check who may read it.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ModelError(f"The weight file '{path.name}' is damaged.", "Download or copy the model again.") from error


def _tensor_digest(path: Path, info: tuple[str, list[int], int, int]) -> str:
    dtype, shape, start, end = info
    digest = hashlib.sha256(json.dumps([dtype, shape]).encode())
    with path.open("rb") as file:
        file.seek(start)
        left = end - start
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise ModelError(f"The weight file '{path.name}' is cut short.", "Download or copy the model again.")
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()
