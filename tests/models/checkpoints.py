"""Checkpoints as people have them: whole, in shards, as pickle files; and the events of loading one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.engine.making import drain
from workbench.events import Event
from workbench.models.load import LoadedModel, load_model
from workbench.models.options import PLAIN, LoadOptions

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def load(folder: Path | str, options: LoadOptions = PLAIN, *, dtype: str = "auto") -> LoadedModel:
    """The model in `folder`, on the CPU unless a device map says otherwise."""
    return events_of(folder, options, dtype=dtype)[1]


def events_of(
    folder: Path | str, options: LoadOptions = PLAIN, *, dtype: str = "auto"
) -> tuple[list[Event], LoadedModel]:
    """What is said while the model is loaded, and the model."""
    return drain(load_model(str(folder), "auto" if options.device_map else "cpu", dtype, options))


def in_shards(folder: Path) -> dict[str, str]:
    """Puts the weights in `folder` into many shards; returns which file holds which tensor."""
    loaded = load(folder)
    (folder / WHOLE).unlink()
    loaded.model.save_pretrained(folder, max_shard_size=20_000)
    named: dict[str, str] = json.loads((folder / INDEX).read_text())["weight_map"]
    return named


def as_pickle(folder: Path) -> None:
    """Puts the weights in `folder` into one `.bin` file."""
    tensors = load_file(folder / WHOLE)
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / WHOLE).unlink()
