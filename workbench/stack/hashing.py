"""sha256 of weights: of the same bytes on every device, while the next block is still being rounded or copied."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.models.device import room_on_host

if TYPE_CHECKING:
    from hashlib import _Hash

_TAG = b"workbench-weight-1\0"
CPU_BLOCK = 2**17
"""Elements rounded and hashed at a time: half a MiB in float32, still in the cache when it is read again."""
CUDA_BLOCK = 2**22
"""The same on an accelerator, where a call costs more than a byte."""


def weight_sha256(weight: Tensor) -> str:
    """Hex sha256 over a tag, dtype, shape and the raw little-endian bytes; the same on every device."""
    kept = weight.detach().contiguous()
    if kept.device.type == "cpu":
        digest = _begin(kept.dtype, kept.shape)
        digest.update(_raw(kept))
        return digest.hexdigest()
    return blocks_sha256(kept.dtype, kept.shape, _copied(kept.view(-1)))


def block_of(weight: Tensor) -> int:
    """Elements of `weight` to round, copy or hash at a time."""
    return CPU_BLOCK if weight.device.type == "cpu" else CUDA_BLOCK


def weights_sha256(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """`weight_sha256` of each module, several at once."""
    if len(weights) < 2:
        return {module: weight_sha256(weight) for module, weight in weights.items()}
    with ThreadPoolExecutor(min(len(weights), os.cpu_count() or 1)) as pool:
        return dict(zip(weights, pool.map(weight_sha256, weights.values()), strict=True))


def blocks_sha256(dtype: torch.dtype, shape: torch.Size, blocks: Iterable[Tensor]) -> str:
    """`weight_sha256` of the weight whose elements are in `blocks`, in order, all on the CPU."""
    digest = _begin(dtype, shape)
    for block in blocks:
        digest.update(_raw(block))
    return digest.hexdigest()


def _copied(flat: Tensor) -> Iterator[Tensor]:
    """Blocks of a tensor on an accelerator, (n,), on the CPU; one is copied while the last one is read.

    They come in two rooms in turn: a block lasts until the next one is asked for.
    """
    rooms = [room_on_host([min(CUDA_BLOCK, flat.numel())], flat.dtype, flat.device) for _ in range(2)]
    with ThreadPoolExecutor(1) as copier:
        coming: Future[Tensor] | None = None
        for number, block in enumerate(torch.split(flat, CUDA_BLOCK)):
            last, coming = coming, copier.submit(rooms[number % 2][: block.numel()].copy_, block)
            if last is not None:
                yield last.result()
        if coming is not None:
            yield coming.result()


def _begin(dtype: torch.dtype, shape: torch.Size) -> _Hash:
    name = str(dtype).removeprefix("torch.")
    return hashlib.sha256(_TAG + f"{name} {'x'.join(map(str, shape))}\0".encode())


def _raw(block: Tensor) -> memoryview:
    """The little-endian bytes of a contiguous tensor on the CPU."""
    flat = block.reshape(-1).view(torch.uint8).numpy()
    if sys.byteorder == "big":
        flat = flat.reshape(-1, block.element_size())[:, ::-1].copy()
    return flat.data.cast("B")
