"""Loading a causal language model with its tokenizer, and saying what goes on meanwhile.

Weights are memory-mapped and go straight to where they stay: there is never a second copy. The checkpoint is hashed
while it is read.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.errors import DeviceError, ModelError, StorageError, UsageError
from workbench.events import Event, ModelLoading, Warning  # noqa: A004  the wire's word
from workbench.models.checkpoint import check_index, stored_tensors
from workbench.models.device import DTYPES, dtype_name, is_out_of_memory, pick_device
from workbench.models.families import decoder_blocks
from workbench.models.fingerprint import base_fingerprint, keep_fingerprint, known_fingerprint, tokenizer_fingerprint
from workbench.models.folder import ModelFolder, is_pickle, locate, weight_files, weight_map
from workbench.models.options import PLAIN, LoadOptions
from workbench.models.placing import check_map, settle_inputs
from workbench.models.quantised import keep_differentiable
from workbench.models.reading import Asked, read_config, read_model
from workbench.models.task import Task
from workbench.models.tokenizer import check_tokenizer, embedded, guarded, named_few, read_tokenizer

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
    """Where its inputs go; all of it, unless it is spread by a device map."""
    dtype: torch.dtype
    keep_fp32: bool = False
    """Edited modules are to be held in float32."""

    @property
    def family(self) -> str:
        """The architecture as its configuration names it: "gpt2"."""
        return str(self.model.config.model_type)

    @property
    def memory(self) -> int:
        """Bytes of all parameters."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())


def load_model(
    name: str, device: str = "auto", dtype: str = "auto", options: LoadOptions = PLAIN
) -> Generator[Event, None, LoadedModel]:
    """Loads `name` ("atlas", a folder or a Hub name); yields ModelLoading and Warning, and returns the model.

    Raises:
        ModelError: unknown, damaged, or not a causal language model.
        DeviceError: the device is not there, or is too small; accelerate is needed and not there.
        UsageError: `dtype` is not one of auto, float32, bfloat16, float16, or the options contradict each other.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(f"Unknown dtype '{dtype}'.", f"Use auto, {', '.join(DTYPES)}.")
    check_map(device, options)
    where = pick_device(device)
    yield ModelLoading(stage=f"finding {name}")
    found = yield from locate(name, options)
    if options.trust_remote_code:
        yield Warning(
            message=f"Code that comes with '{name}' may be run: it can do whatever you can do on this machine.",
            hint="Leave out --trust-remote-code unless you have read it.",
        )
    asked = Asked(found.path, name, DTYPES.get(dtype, "auto"), where, options)
    model, fingerprint = yield from _weights(found, asked)
    _check_decoder(model, name)
    keep_differentiable(model)
    tokenizer = read_tokenizer(found.path, name, trust_remote_code=options.trust_remote_code)
    strange = check_tokenizer(tokenizer, model, name)
    if strange:
        tokenizer = guarded(tokenizer, embedded(model))
        yield Warning(message=strange, hint="Texts with such a token cannot be read.")
    if few := named_few(tokenizer, model, name):
        yield Warning(message=few, hint="Is it the model's own? With another's every text is noise to the model.")
    if not options.device_map and model.device != where:
        yield ModelLoading(stage=f"moving {name} to {where}")
        model = _moved(model, where, name)
    if model.device.type == "cpu" and model.dtype == torch.float16:
        yield Warning(
            message="Most CPUs are slow in float16: an edit may take tens of times as long as in float32.",
            hint="Use --dtype float32 or bfloat16; a stack stays with the dtype that it was made in.",
        )
    settle_inputs(model)
    model.train(False)
    return LoadedModel(
        model.requires_grad_(False),
        tokenizer,
        found.name,
        found.path,
        found.revision,
        fingerprint,
        tokenizer_fingerprint(found.path),
        model.device,
        model.dtype,
        options.keep_fp32,
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


def _weights(found: ModelFolder, asked: Asked) -> Generator[Event, None, tuple[PreTrainedModel, str]]:
    """The model, and the fingerprint of its checkpoint, which is hashed at the same time unless it is known."""
    allowed = asked.options.allow_pickle
    files = weight_files(found.path, allow_pickle=allowed)
    if not is_pickle(files):
        check_index(found.path, weight_map(found.path), stored_tensors(files))
    config = read_config(asked)
    size = _size(sum(path.stat().st_size for path in files))
    known = None if asked.options.rehash else known_fingerprint(found.path, allow_pickle=allowed)
    with ExitStack() as running:
        reading = running.enter_context(Task(lambda tell: read_model(asked, config, tell)))
        if known is None:
            hashing = running.enter_context(
                Task(lambda tell: base_fingerprint(found.path, allow_pickle=allowed, tell=tell))
            )
        model = yield from reading.follow(f"reading {asked.name}, {size}")
        if known is None:
            known = yield from hashing.follow(f"checking {asked.name}, {size}")
            keep_fingerprint(found.path, known, allow_pickle=allowed)
    return model, known


def _check_decoder(model: PreTrainedModel, name: str) -> None:
    """Raises ModelError, with the model's own name, if its structure is none that can be edited."""
    try:
        decoder_blocks(model)
    except ModelError as error:
        raise ModelError(f"'{name}' cannot be edited: {error.message}", error.hint) from error


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _moved(model: PreTrainedModel, where: torch.device, name: str) -> PreTrainedModel:
    try:
        moved: PreTrainedModel = model.to(where)  # type: ignore[arg-type]  # transformers wraps it without types
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise ModelError(f"'{name}' cannot be moved to {where}: {error}") from error
        raise DeviceError(f"'{name}' does not fit on {where}.", "Use a smaller --dtype, or --device cpu.") from error
    return moved
