"""What is kept between runs of what a base says: a document beside everything that decides it, one a file.

Anything odd about a file means that there is none; what is in it is checked by whoever wrote it.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Kept:
    """One document of a base, named by what decides it."""

    what: str
    """Its name in the file, and that of the folder of its kind."""
    about: dict[str, Any]
    path: Path
    largest: int
    """Bytes of the file, at most."""

    @classmethod
    def of(cls, loaded: LoadedModel, what: str, decides: dict[str, Any], largest: int) -> Kept:
        """That of `loaded`: besides `decides`, its device, dtype, tokenizer and the libraries decide it."""
        about = {
            "format_version": 1,
            "device": loaded.device.type,
            "dtype": dtype_name(loaded.dtype),
            "tokenizer": loaded.tokenizer_fingerprint,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        } | decides
        name = hashlib.sha256(canonical(about).encode()).hexdigest()[:24]
        return cls(what, about, kept_for(loaded.fingerprint) / what / f"{name}.json", largest)

    def read(self) -> object:
        """The document; None if there is none, or one about something else."""
        if not self.path.exists():
            return None
        try:
            document = parse(read_bytes(self.path, self.largest))
        except (MalformedError, StackError, StorageError):
            return None
        if not isinstance(document, dict) or document.keys() != {"about", self.what} or document["about"] != self.about:
            return None
        return document[self.what]

    def write(self, document: object) -> None:
        """Keeps it; where nothing can be kept, it is made in every run."""
        with contextlib.suppress(StorageError):
            make_folder(self.path.parent)
            write_atomic(self.path, canonical({"about": self.about, self.what: document}).encode())
