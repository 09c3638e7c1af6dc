"""The base's perplexity kept between runs: a number that only the base, the text and how both are read decide.

Anything odd about a kept file means that the text is read again. What edits make of the model is never kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from workbench.errors import StackError, StorageError
from workbench.models.device import dtype_name
from workbench.models.kept import kept_for
from workbench.models.load import LoadedModel
from workbench.stack.files import make_folder, read_bytes, write_atomic
from workbench.stack.strictjson import MalformedError, canonical, parse

LARGEST = 4096
"""Bytes of a kept file, at most."""


def base_perplexity(loaded: LoadedModel, lines: Sequence[str], measure: Callable[[], float | None]) -> float | None:
    """What `measure` says of the base on `lines`, now or in an earlier run; None where there is nothing to measure.

    An infinite one, of a base that is broken, is not kept.
    """
    if not lines:
        return None
    about = _about(loaded, lines)
    path = _path(loaded, about)
    found = _read(path, about)
    if found is None:
        found = measure()
        if found is not None and math.isfinite(found):
            with contextlib.suppress(StorageError):  # where nothing can be kept, it is measured in every run
                make_folder(path.parent)
                write_atomic(path, canonical({"about": about, "perplexity": found}).encode())
    return found


def _about(loaded: LoadedModel, lines: Sequence[str]) -> dict[str, Any]:
    """Everything that decides the number."""
    return {
        "format_version": 1,
        "text": hashlib.sha256(canonical([*lines]).encode()).hexdigest(),
        "device": loaded.device.type,
        "dtype": dtype_name(loaded.dtype),
        "keep_fp32": loaded.keep_fp32,
        "held": hashlib.sha256(canonical(_held(loaded)).encode()).hexdigest(),
        "tokenizer": loaded.tokenizer_fingerprint,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _held(loaded: LoadedModel) -> list[list[str]]:
    """What every weight is held in now: the edits of a stack may want some in float32."""
    return [[name, str(weight.dtype)] for name, weight in sorted(loaded.model.named_parameters())]


def _path(loaded: LoadedModel, about: dict[str, Any]) -> Path:
    name = hashlib.sha256(canonical(about).encode()).hexdigest()[:24]
    return kept_for(loaded.fingerprint) / "perplexity" / f"{name}.json"


def _read(path: Path, about: dict[str, Any]) -> float | None:
    """What is kept at `path`; None if there is nothing, or nothing that was measured as `about` says."""
    if not path.exists():
        return None
    try:
        document = parse(read_bytes(path, LARGEST))
    except (MalformedError, StackError, StorageError):
        return None
    if not isinstance(document, dict) or document.keys() != {"about", "perplexity"} or document["about"] != about:
        return None
    value = document["perplexity"]
    return value if isinstance(value, float) and value >= 1.0 else None
