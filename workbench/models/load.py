"""Loading a causal language model with its tokenizer, and saying what goes on meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from workbench.errors import DeviceError, ModelError, StorageError, UsageError
from workbench.events import Event, ModelLoading
from workbench.models.device import DTYPES, dtype_name, pick_device
from workbench.models.fingerprint import base_fingerprint, tokenizer_fingerprint
from workbench.models.folder import find_model

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""What a tokenizer is read from, besides its own vocabulary files.

Copied, not written anew: another spelling of it would be another fingerprint.
"""


@dataclass(frozen=True)
class LoadedModel:
    """A model on its device, in evaluation mode, and which one it is."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    folder: Path
    revision: str
    fingerprint: str
    """Of the checkpoint's tensors as stored: the same in every dtype."""
    tokenizer_fingerprint: str
    device: torch.device
    dtype: torch.dtype

    @property
    def family(self) -> str:
        """The architecture as its configuration names it: "gpt2"."""
        return str(self.model.config.model_type)

    @property
    def memory(self) -> int:
        """Bytes of all parameters."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())


def load_model(name: str, device: str = "auto", dtype: str = "auto") -> Generator[Event, None, LoadedModel]:
    """Loads `name` ("atlas", a folder or a Hub name); yields ModelLoading and returns the model.

    Raises:
        ModelError: unknown, damaged, or not a causal language model.
        DeviceError: the device is not there, or is too small.
        UsageError: `dtype` is not one of auto, float32, bfloat16, float16.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(f"Unknown dtype '{dtype}'.", f"Use auto, {', '.join(DTYPES)}.")
    where = pick_device(device)
    yield ModelLoading(stage=f"finding {name}")
    found = find_model(name)
    yield ModelLoading(stage=f"checking {name}", fraction=0.1)
    fingerprint = base_fingerprint(found.path)
    yield ModelLoading(stage=f"reading {name}", fraction=0.3)
    model = _read(found.path, name, DTYPES.get(dtype, "auto"))
    tokenizer = _read_tokenizer(found.path, name)
    yield ModelLoading(stage=f"moving {name} to {where}", fraction=0.8)
    try:
        model = model.to(where).eval().requires_grad_(False)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        raise DeviceError(f"'{name}' does not fit on {where}.", "Use a smaller --dtype, or --device cpu.") from error
    return LoadedModel(
        model,
        tokenizer,
        found.name,
        found.path,
        found.revision,
        fingerprint,
        tokenizer_fingerprint(found.path),
        where,
        model.dtype,
    )


def save_model(loaded: LoadedModel, folder: Path, shard_size: int | str = "5GB") -> None:
    """Writes the model into `folder` as it is now, and the files of its tokenizer as they are, for transformers.

    Args:
        loaded: the model; its dtype is kept.
        folder: where to.
        shard_size: of one safetensors file at most: bytes, or words like "5GB".

    Raises:
        OSError, StorageError: the disk would not take it.
    """
    try:
        loaded.model.save_pretrained(folder, max_shard_size=shard_size)
    except SafetensorError as error:
        raise StorageError(f"Cannot write the weights: {error}.", "Is the disk full?") from error
    for name in {*TOKENIZER_FILES, *loaded.tokenizer.vocab_files_names.values()}:
        if (loaded.folder / name).is_file():
            shutil.copyfile(loaded.folder / name, folder / name)


def describe_dtype(loaded: LoadedModel) -> str:
    """The dtype's name: "float32"."""
    return dtype_name(loaded.dtype)


def _read(folder: Path, name: str, dtype: torch.dtype | str) -> Any:
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers leaves both untyped
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # transformers lets through whatever a strange checkpoint makes happen
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"'{name}' cannot be loaded as a causal language model: {reason}", "Try it with transformers alone."
        ) from error
    model, found = loaded
    missing = sorted(found["missing_keys"])
    if missing:  # transformers would go on with random numbers in their place
        raise ModelError(
            f"The weights of '{name}' are not all there: {missing[0]} is missing"
            + (f", and {len(missing) - 1} more." if len(missing) > 1 else "."),
            "Is it a causal language model? If so, download it again.",
        )
    return model


def _read_tokenizer(folder: Path, name: str) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # as above
        raise ModelError(f"The tokenizer of '{name}' cannot be loaded.", "Is tokenizer.json in the folder?") from error
    if not tokenizer.is_fast:
        raise ModelError(f"The tokenizer of '{name}' has no offsets.", "A fast tokenizer (tokenizer.json) is needed.")
    return tokenizer
