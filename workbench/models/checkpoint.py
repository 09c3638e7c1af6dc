"""What tensors a checkpoint holds and where they lie in its files, read from the safetensors headers alone.

A file that is damaged, cut short or not the one that the index speaks of is told here, before anything is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ModelError

AGAIN = "Download or copy the model again."
LFS = b"version https://git-lfs"
"""How the pointer begins that git leaves where a large file was not fetched."""

_MAX_HEADER = 100 * 1024 * 1024


@dataclass(frozen=True)
class Stored:
    """One tensor as it lies in a file."""

    path: Path
    dtype: str
    """As safetensors writes it: "F32", "BF16"."""
    shape: tuple[int, ...]
    start: int
    """First byte in the file."""
    end: int
    """One past the last."""


def stored_tensors(files: Sequence[Path]) -> dict[str, Stored]:
    """Every tensor of the safetensors files `files`, by name.

    Raises:
        ModelError: a file is damaged, cut short, or cannot be read.
    """
    return {name: stored for path in files for name, stored in _read_header(path)}


def check_index(folder: Path, weight_map: dict[str, str], tensors: dict[str, Stored]) -> None:
    """Raises ModelError if the index promises a tensor that its file does not hold."""
    for name, file in weight_map.items():
        if name not in tensors or tensors[name].path != folder / file:
            raise ModelError(
                f"The weights in '{folder}' are not all there: '{file}' does not hold {name}, which the index names.",
                AGAIN,
            )


def _read_header(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(8)
            if LFS.startswith(first) and first:
                raise ModelError(
                    f"The weight file '{path.name}' is a git-lfs pointer, not the weights.", "Run git lfs pull there."
                )
            length = int.from_bytes(first, "little")
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                raise ValueError("header length")
            document = json.loads(file.read(length))
        found = [(name, _stored(path, info, 8 + length)) for name, info in document.items() if name != "__metadata__"]
    except OSError as error:
        raise ModelError(f"The weight file '{path.name}' cannot be read.", "Check who may read it.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ModelError(f"The weight file '{path.name}' is damaged.", AGAIN) from error
    _check_end(path, size, max((stored.end for _, stored in found), default=0))
    yield from found


def _stored(path: Path, info: dict[str, object], data: int) -> Stored:
    """One entry of a header; `data` is where the file's tensors begin. Raises what a strange entry makes happen."""
    start, end = (data + int(offset) for offset in info["data_offsets"])  # type: ignore[attr-defined]  # or TypeError
    if not data <= start <= end:
        raise ValueError("offsets")
    return Stored(path, str(info["dtype"]), tuple(info["shape"]), start, end)  # type: ignore[arg-type]  # or TypeError


def _check_end(path: Path, size: int, end: int) -> None:
    if end > size:
        raise ModelError(
            f"The weight file '{path.name}' is damaged: it ends after {size:,} of {end:,} bytes.",
            "The download was cut short; download or copy the model again.",
        )
