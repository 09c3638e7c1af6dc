"""Context templates kept between runs: sampled once for a base, a seed and what else decides how they come out.

Anything odd about a kept file means that the templates are sampled again; nothing in it is trusted further than that
it is text that may stand in front of a prompt.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import torch
import transformers

from workbench.editing.templates import plain, sample_templates
from workbench.edits import SLOT, Recipe
from workbench.errors import StackError, StorageError
from workbench.models.device import dtype_name
from workbench.models.kept import kept_for
from workbench.models.load import LoadedModel
from workbench.stack.files import make_folder, read_bytes, write_atomic
from workbench.stack.strictjson import MalformedError, canonical, parse

LARGEST = 2**20
"""Bytes of a kept file, at most: 200 templates of 100 tokens are a tenth of that."""


def templates_for(loaded: LoadedModel, recipe: Recipe) -> tuple[str, ...]:
    """The context templates of `recipe`: those kept for the base, else sampled now and kept.

    To be called while the model is the base.

    Raises:
        EditError: the model's predictions are not numbers, as in too narrow a dtype.
    """
    about = _about(loaded, recipe)
    path = _path(loaded, about)
    found = _read(path, about)
    if found is None:
        found = sample_templates(loaded.model, loaded.tokenizer, recipe.template_lengths, recipe.seed)
        with contextlib.suppress(StorageError):  # where nothing can be kept, they are sampled in every run
            make_folder(path.parent)
            write_atomic(path, canonical({"about": about, "templates": found}).encode())
    return found


def _about(loaded: LoadedModel, recipe: Recipe) -> dict[str, Any]:
    """Everything that decides which texts are drawn."""
    return {
        "format_version": 1,
        "lengths": [list(pair) for pair in recipe.template_lengths],
        "seed": recipe.seed,
        "device": loaded.device.type,
        "dtype": dtype_name(loaded.dtype),
        "tokenizer": loaded.tokenizer_fingerprint,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _path(loaded: LoadedModel, about: dict[str, Any]) -> Path:
    name = hashlib.sha256(canonical(about).encode()).hexdigest()[:24]
    return kept_for(loaded.fingerprint) / "templates" / f"{name}.json"


def _read(path: Path, about: dict[str, Any]) -> tuple[str, ...] | None:
    """What is kept at `path`; None if there is nothing, or nothing that was made as `about` says."""
    if not path.exists():
        return None
    try:
        document = parse(read_bytes(path, LARGEST))
    except (MalformedError, StackError, StorageError):
        return None
    if not isinstance(document, dict) or document.keys() != {"about", "templates"} or document["about"] != about:
        return None
    texts = document["templates"]
    count = 1 + sum(count for _, count in about["lengths"])
    if not isinstance(texts, list) or len(texts) != count or texts[0] != SLOT or not all(map(_fits, texts[1:])):
        return None
    return tuple(texts)


def _fits(text: object) -> bool:
    """Whether it is a template as they are sampled: harmless text, then the slot."""
    end = f". {SLOT}"
    return isinstance(text, str) and text.endswith(end) and plain(text.removesuffix(end)) == text.removesuffix(end)
