"""Second moments that others published as .npz: the sum of k kᵀ and the number of keys, as the ROME code keeps them.

Source: the files `<model>/<data set>_stats/<module>_float32_mom2_100000.npz` of rome.baulab.info: arrays `mom2.mom2`,
(d_in, d_in), a sum, and `mom2.count`. Nothing in them says which weights they were made with.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from workbench.errors import ModelError, StorageError, UsageError

SUM, COUNT = "mom2.mom2.npy", "mom2.count.npy"
_HINT = "Is the file whole, and is it for this model and layer?"
_HEADER = 10_000
"""Bytes of an array's header at most, as numpy has it."""
_CHUNK = 2**24


def read_published(path: Path, d_in: int) -> tuple[Tensor, int, str]:
    """C, (d_in, d_in) float32, the keys it is the mean of, and the file's sha256.

    Raises:
        UsageError: the file is not there.
        ModelError: it is none of these files, is damaged, or is for keys of another size.
    """
    if not path.is_file():
        raise UsageError(f"There is no file '{path}'.", "Name a .npz file that the ROME code made.")
    try:
        with zipfile.ZipFile(path) as archive:
            count = _array(archive, COUNT, ())
            total = _array(archive, SUM, (d_in, d_in))
        sha256 = _sha256(path)
    except OSError as error:
        raise StorageError(f"Cannot read {path.name}: {error.strerror or error}.", "Check who may read it.") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"'{path.name}' is no second moment: {_reason(error)}", _HINT) from error
    samples = float(count)
    if not 1 <= samples < 2**53 or samples != int(samples):
        raise ModelError(f"'{path.name}' is no second moment: it counts {samples} keys.", "Get the file again.")
    return _mean(torch.from_numpy(total), int(samples), path), int(samples), sha256


def _mean(total: Tensor, samples: int, path: Path) -> Tensor:
    mean = total.double() / samples
    if not bool(mean.isfinite().all()) or bool((mean.diagonal() < 0).any()) or float(mean.diagonal().sum()) <= 0:
        raise ModelError(f"The numbers in '{path.name}' are no second moment.", "Get the file again.")
    uneven = float((mean - mean.T).abs().max()) / float(mean.abs().max())
    if uneven > 1e-4:
        raise ModelError(f"The matrix in '{path.name}' is not symmetric.", "Get the file again.")
    return ((mean + mean.T) / 2).float()


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """One array, of that shape or refused before its numbers are read; never anything that would have to run code."""
    with archive.open(name) as member:
        found, fortran, dtype = _header(member)
        if dtype.hasobject or dtype.kind not in "fiu":
            raise ValueError("it holds something other than numbers.")
        if found != shape:
            sides = " x ".join(map(str, found)) or "one number"
            raise ValueError(f"it is {sides}, and {' x '.join(map(str, shape)) or 'one number'} is needed.")
        data = member.read(int(np.prod(shape)) * dtype.itemsize)
    values = np.frombuffer(data, dtype=dtype)  # ValueError where the file is cut short
    if values.size != int(np.prod(shape)):
        raise ValueError("it is cut short.")
    ordered = values.reshape(shape, order="F" if fortran else "C")
    return ordered.astype(np.float64 if dtype.itemsize > 4 else np.float32)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(member)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError("its arrays are of an unknown version.")
    try:
        return read(member, max_header_size=_HEADER)
    except (SyntaxError, TokenError, TypeError, RecursionError, MemoryError) as error:  # numpy lets them through
        raise ValueError("its arrays are damaged.") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {SUM.removesuffix('.npy')} and {COUNT.removesuffix('.npy')}."
    return str(error) if isinstance(error, ValueError) and str(error) else "it is damaged."
