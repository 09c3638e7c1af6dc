"""From a model's name to a folder of files that can be hashed and loaded. Never remote code, never pickle."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ModelError

ATLAS = "atlas"
"""The name of the model that ships."""

_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class ModelFolder:
    """Where a model's files lie, and what it is called."""

    name: str
    path: Path
    revision: str
    """The Hub's commit; empty for a folder."""


def find_model(name: str) -> ModelFolder:
    """The folder of `name`: "atlas", a folder, or a name on the Hugging Face Hub (from the cache when offline).

    Raises:
        ModelError: there is no such model, or it has no safetensors weights.
    """
    if name == ATLAS:
        return ModelFolder(ATLAS, Path(__file__).parent.parent / "atlas" / "model", "")
    path = Path(os.path.expanduser(name))  # noqa: PTH111  as it is for an unknown user; Path's own raises
    # os.path's word for it is False where the name cannot be a path at all.
    found = ModelFolder(name.rstrip("/"), path, "") if os.path.isdir(path) else _from_hub(name)  # noqa: PTH112
    if not (found.path / "config.json").is_file():
        raise ModelError(f"The folder '{name}' holds no model: config.json is missing.", "Name the model's folder.")
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model in `folder`.

    Raises:
        ModelError: there are none, or one that the index names is missing.
    """
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if not (folder / _INDEX).is_file():
        raise ModelError(
            f"The folder '{folder}' has no safetensors weights.", "Convert the checkpoint; pickle files are not read."
        )
    try:
        weight_map = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in weight_map.values()})
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(
            f"The index of the weights in '{folder}' cannot be read.", "Download the model again."
        ) from error
    for name in names:
        if Path(name).name != name or not os.path.isfile(folder / name):  # noqa: PTH113  False for what is no path
            raise ModelError(f"The weight file '{name}' is missing in '{folder}'.", "Download the model again.")
    return [folder / name for name in names]


def _from_hub(name: str) -> ModelFolder:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    unknown = f"There is no model '{name}': no such folder, and the Hub does not have it or cannot be reached."
    hint = "Give a folder, a Hub name such as openai-community/gpt2, or nothing for atlas."
    try:
        path = Path(snapshot_download(name, allow_patterns=_WANTED))
    except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(unknown, hint) from error
    return ModelFolder(name, path, path.name)
