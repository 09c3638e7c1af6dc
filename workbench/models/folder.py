"""From a model's name to a folder of files that can be hashed and loaded. No remote code and no pickle unless asked."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ModelError
from workbench.events import Event
from workbench.models.options import PLAIN, LoadOptions

ATLAS = "atlas"
"""The name of the model that ships."""

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLED, _PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


@dataclass(frozen=True)
class ModelFolder:
    """Where a model's files lie, and what it is called."""

    name: str
    path: Path
    revision: str
    """The Hub's commit; empty for a folder."""


def find_model(name: str, options: LoadOptions = PLAIN) -> ModelFolder:
    """As `locate`, without a word on the way."""
    finding = locate(name, options)
    while True:
        try:
            next(finding)
        except StopIteration as found:
            folder: ModelFolder = found.value
            return folder


def locate(name: str, options: LoadOptions = PLAIN) -> Generator[Event, None, ModelFolder]:
    """The folder of `name`: "atlas", a folder, or a name on the Hugging Face Hub (from the cache when offline).

    Yields ModelLoading while files come from the Hub.

    Raises:
        ModelError: there is no such model, or it has no configuration.
    """
    if name == ATLAS:
        return ModelFolder(ATLAS, Path(__file__).parent.parent / "atlas" / "model", "")
    path = Path(os.path.expanduser(name))  # noqa: PTH111  as it is for an unknown user; Path's own raises
    # os.path's word for it is False where the name cannot be a path at all.
    if os.path.isfile(path):  # noqa: PTH113
        raise ModelError(
            f"'{name}' is a file, and a model is a folder.", "Name the folder with config.json and the weights in it."
        )
    if os.path.isdir(path):  # noqa: PTH112
        found = ModelFolder(name.rstrip("/"), path, "")
    else:
        from workbench.models.hub import fetch_model

        folder = yield from fetch_model(name, options)
        found = ModelFolder(name, folder, folder.name)
    if not (found.path / "config.json").is_file():
        raise ModelError(f"The folder '{name}' holds no model: config.json is missing.", "Name the model's folder.")
    return found


def weight_files(folder: Path, *, allow_pickle: bool = False) -> list[Path]:
    """The files that hold the weights of the model in `folder`: safetensors, or `.bin` where those may be read.

    Raises:
        ModelError: there are none, or one that the index names is missing.
    """
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if (folder / _INDEX).is_file():
        return _indexed(folder, read_index(folder / _INDEX))
    pickled = (folder / _PICKLED).is_file() or (folder / _PICKLED_INDEX).is_file()
    if not pickled:
        raise ModelError(
            f"The folder '{folder}' has no safetensors weights.", "Download the model again, or convert the checkpoint."
        )
    if not allow_pickle:
        raise ModelError(
            f"The folder '{folder}' has no safetensors weights, only pickle files (.bin).",
            "Convert the checkpoint, or read them with --allow-pickle if you trust who made them.",
        )
    if (folder / _PICKLED).is_file():
        return [folder / _PICKLED]
    return _indexed(folder, read_index(folder / _PICKLED_INDEX))


def weight_map(folder: Path) -> dict[str, str]:
    """Which file the index of the safetensors shards names for each tensor; empty where there is one file alone."""
    whole, index = (folder / name for name in (_WEIGHTS, _INDEX))
    return read_index(index) if index.is_file() and not whole.is_file() else {}


def is_pickle(files: Sequence[Path]) -> bool:
    """Whether the weights are pickle files."""
    return files[0].suffix == ".bin"


def read_index(path: Path) -> dict[str, str]:
    """Tensor names to file names. Raises ModelError if `path` is no index."""
    try:
        named = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        return {str(tensor): str(file) for tensor, file in named.items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(
            f"The index of the weights in '{path.parent}' cannot be read.", "Download the model again."
        ) from error


def _indexed(folder: Path, index: dict[str, str]) -> list[Path]:
    names = sorted(set(index.values()))
    if not names:
        raise ModelError(f"The index of the weights in '{folder}' names none.", "Download the model again.")
    for name in names:
        if Path(name).name != name or not os.path.isfile(folder / name):  # noqa: PTH113  False for what is no path
            raise ModelError(f"The weight file '{name}' is missing in '{folder}'.", "Download the model again.")
    return [folder / name for name in names]
