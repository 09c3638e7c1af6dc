"""`.bin` checkpoints, read only where a person allowed it: tensors alone are unpickled, never other objects.

A checkpoint hashes as the same tensors would in a safetensors file, so converting it does not make it another base.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from workbench.errors import ModelError
from workbench.models.checkpoint import AGAIN
from workbench.models.fingerprint import tensor_hash

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""How safetensors writes a dtype."""


def tensor_digests(files: Sequence[Path], counted: Callable[[int], None]) -> dict[str, str]:
    """The digest of every tensor in the `.bin` files `files`, by name; `counted` is told the bytes read.

    Raises:
        ModelError: a file is damaged, or holds anything but tensors.
    """
    digests = {}
    for path in files:
        for name, tensor in read_pickled(path).items():
            digests[name] = _digest(tensor)
            counted(tensor.numel() * tensor.element_size())
    return digests


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.bin` file by name, on the CPU, memory-mapped where its format allows.

    Raises:
        ModelError: it is damaged, or holds anything but tensors.
    """
    try:
        mapped = zipfile.is_zipfile(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"The weight file '{path.name}' is damaged or holds more than tensors, and is not read.",
            "Get the model as safetensors.",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"The weight file '{path.name}' is damaged.", AGAIN) from error
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ModelError(f"The weight file '{path.name}' is no table of tensors.", "Get the model as safetensors.")
    return {str(name): tensor for name, tensor in found.items()}


def _digest(tensor: Tensor) -> str:
    name = _NAMES.get(tensor.dtype)
    if name is None or tensor.layout != torch.strided:
        raise ModelError(f"The weights hold a tensor of the dtype {tensor.dtype}.", "Get the model as safetensors.")
    if tensor.is_meta or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ModelError("The weights hold a tensor larger than what is stored of it.", "Get the model as safetensors.")
    digest = tensor_hash(name, tensor.shape)
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    if sys.byteorder == "big":
        raw = raw.reshape(-1, tensor.element_size())[:, ::-1].copy()
    digest.update(raw.data)
    return digest.hexdigest()
