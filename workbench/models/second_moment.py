"""The second moment C of keys over ordinary text: a safetensors file that says which weights and text it is made of.

It lies in the model's own folder or among what is kept for the base, and is never used for other weights.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.errors import ModelError
from workbench.models.device import for_float64
from workbench.models.families import EditSite
from workbench.models.kept import kept_for

FOLDER = "second_moment"
TENSOR = "second_moment"
VERSION = 2
LABELS = {"self": "self-sampled", "published": "imported"}
"""What an edit records behind C's hash, by the kind of text; nothing for ordinary text."""


@dataclass(frozen=True)
class MomentRecord:
    """What a stored C says about itself."""

    module: str
    samples: int
    """Keys that it is the mean of."""
    base: str
    """Fingerprint of the weights; of an imported C, those that it was taken for."""
    text: dict[str, Any] = field(default_factory=dict)
    """`kind` (self, files, dataset, published), `words`, sha256 and whatever else is known of the text."""
    made_by: dict[str, Any] = field(default_factory=dict)
    """window, dtype, device, versions, time."""

    @property
    def words(self) -> str:
        """What the keys are keys of, in words."""
        return str(self.text.get("words", "unnamed text"))

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        named = {"module": self.module, "samples": self.samples, "base": self.base}
        more = {key: value for key, value in (("text", self.text), ("made_by", self.made_by)) if value}
        return {"format_version": VERSION, **named, **more}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> MomentRecord:
        """Reads it back. Raises KeyError, TypeError or ValueError for what is none."""
        text, made_by = document.get("text", {}), document.get("made_by", {})
        if not isinstance(text, dict) or not isinstance(made_by, dict):
            raise TypeError("text and made_by are objects")
        return cls(str(document["module"]), int(document["samples"]), str(document["base"]), text, made_by)


class StoredMoment(NamedTuple):
    """C as an edit takes it."""

    moment: Tensor
    """(d_in, d_in), float32."""
    samples: int
    fingerprint: str
    """Hash of C's bytes, with a word behind it where the text was not ordinary."""


def second_moment_path(folder: Path, site: EditSite) -> Path:
    """Where C of `site` lies for the model in `folder`."""
    return folder / FOLDER / f"{site.module}.safetensors"


def places_of(folder: Path, base: str) -> tuple[Path, Path]:
    """Where second moments are looked for, in this order: in the model's folder, then among what is kept."""
    return folder, kept_for(base)


@torch.no_grad()
def accumulate_second_moment(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, site: EditSite, lines: Sequence[str], batch: int = 32
) -> Generator[int, None, tuple[Tensor, int]]:
    """E[k kᵀ] over all tokens of `lines`, each read from its own start; yields the keys seen so far.

    Returns:
        C as float32 (d_in, d_in), summed in float64, and the number of keys.
    """
    total = torch.zeros(site.d_in, site.d_in, dtype=torch.float64, device=for_float64(model.device))
    seen = 0
    keys: list[Tensor] = []
    hook = site.linear(model).register_forward_pre_hook(lambda _, inputs: keys.append(inputs[0]))
    try:
        for start in range(0, len(lines), batch):
            rows = [torch.tensor(tokenizer(line)["input_ids"]) for line in lines[start : start + batch]]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.device)
            mask = torch.zeros_like(ids)
            for i, row in enumerate(rows):
                mask[i, : len(row)] = 1
            model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1)
            k = keys.pop().reshape(*ids.shape, site.d_in)[mask.bool()].to(total.device).double()
            total += k.T @ k
            seen += len(k)
            yield seen
    finally:
        hook.remove()
    return (total / max(seen, 1)).float().cpu(), seen


def encode_second_moment(moment: Tensor, record: MomentRecord) -> tuple[bytes | memoryview, ...]:
    """The safetensors file of C, (d_in, d_in), symmetrised, as its head and its numbers."""
    about = json.dumps(record.to_json(), sort_keys=True)
    return encode_tensors({TENSOR: symmetrised(moment)}, {"workbench": about})


def symmetrised(moment: Tensor) -> Tensor:
    """`moment`, (d, d), as it is stored: symmetric to the bit, float32 on the CPU."""
    return ((moment + moment.T) / 2).float().contiguous().cpu()


def encode_tensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> tuple[bytes | memoryview, ...]:
    """A safetensors file of contiguous float32 or float64 tensors in parts, so that no second copy is made."""
    header: dict[str, object] = {"__metadata__": metadata}
    at = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        dtype = {torch.float32: "F32", torch.float64: "F64"}[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    numbers = (bytes_of(tensor) for tensor in tensors.values())
    return struct.pack("<Q", len(text)) + text, *numbers


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, not copied."""
    array: Any = tensor.numpy()
    return memoryview(array).cast("B")


def write_second_moment(folder: Path, site: EditSite, moment: Tensor, record: MomentRecord) -> Path:
    """Writes C into a model's folder that is being made; raises OSError."""
    path = second_moment_path(folder, site)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(encode_second_moment(moment, record)))
    return path


def find_second_moment(folder: Path, site: EditSite, base: str) -> Path | None:
    """The file of C that is used for `site` of the model in `folder`; None if there is none for these weights.

    Raises:
        ModelError: all there are, are damaged or for another base.
    """
    wrong: ModelError | None = None
    for place in places_of(folder, base):
        path = second_moment_path(place, site)
        if path.is_file():
            try:
                read_record(path, base)
            except ModelError as error:
                wrong = wrong or error
            else:
                return path
    if wrong:
        raise wrong
    return None


def read_second_moment(folder: Path, site: EditSite, base: str) -> StoredMoment | None:
    """C of `site` for the weights `base`: from the model's folder, else from what is kept; None if there is none.

    Raises:
        ModelError: there is one, but it is damaged or was made for another base.
    """
    path = find_second_moment(folder, site, base)
    if path is None:
        return None
    stored, _ = read_moment_file(path, base)
    if len(stored.moment) != site.d_in:
        raise ModelError(f"The second moment '{path.name}' cannot be used: it has the wrong shape.", "Make it again.")
    return stored


def read_record(path: Path, base: str) -> MomentRecord:
    """What the C at `path` says about itself. Raises ModelError as `read_moment_file`."""
    wrong = f"The second moment '{path.name}' cannot be used"
    try:
        with safe_open(path, framework="pt") as file:
            record = MomentRecord.from_json(json.loads((file.metadata() or {})["workbench"]))
            shape = file.get_slice(TENSOR).get_shape()
            dtype = file.get_slice(TENSOR).get_dtype()
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ModelError(f"{wrong}: it is damaged.", "Make it again.") from error
    if record.base != base:
        raise ModelError(f"{wrong}: it was made for another base.", "Make it again for this one: workbench stats.")
    if record.module != path.stem:
        raise ModelError(f"{wrong}: it was made for another module.", "Make it again for this one: workbench stats.")
    if len(shape) != 2 or shape[0] != shape[1] or dtype != "F32":
        raise ModelError(f"{wrong}: it has the wrong shape, dtype or values.", "Make it again.")
    return record


def read_moment_file(path: Path, base: str) -> tuple[StoredMoment, MomentRecord]:
    """C at `path`, made for the weights `base`, and what it says about itself.

    Raises:
        ModelError: it is damaged, or was made for another base.
    """
    record = read_record(path, base)
    try:
        with safe_open(path, framework="pt") as file:
            moment: Tensor = file.get_tensor(TENSOR)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"The second moment '{path.name}' cannot be read.", "Make it again.") from error
    if not bool(moment.isfinite().all()):
        raise ModelError(
            f"The second moment '{path.name}' cannot be used: it has the wrong shape, dtype or values.",
            "Make it again.",
        )
    return StoredMoment(moment, record.samples, moment_fingerprint(moment, record)), record


def moment_fingerprint(moment: Tensor, record: MomentRecord) -> str:
    """sha256 of C's bytes, and behind it, for what is not ordinary text, what it is: "3fa9... (self-sampled)"."""
    digest = hashlib.sha256(b"workbench second moment v1\n")
    digest.update(bytes_of(moment.contiguous()))
    label = LABELS.get(str(record.text.get("kind", "")), "")
    return f"{digest.hexdigest()} ({label})" if label else digest.hexdigest()
