"""The edit file: one rank-one (or low-rank) update as a safetensors file that is already a valid LoRA payload.

`encode_edit` makes it, `read_header` reads only what it says of itself, `read_edit` reads and checks all of it. The id
is a tagged sha256 over the canonical record and the factors, so a file cannot change without its id changing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import AlteredFile, EditError
from workbench.stack import container, files
from workbench.stack.limits import MAX_RANK
from workbench.stack.record import (
    FIRST_METHODS,
    Base,
    Edit,
    Factors,
    Layout,
    ModuleInfo,
    WeightHashes,
    check_module,
)
from workbench.stack.strictjson import MalformedError, canonical, naming, parse_canonical

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "Base",
    "Edit",
    "Factors",
    "Layout",
    "ModuleInfo",
    "WeightHashes",
    "decode_edit",
    "encode_edit",
    "file_name",
    "read_edit",
    "read_header",
]

SUFFIX = ".safetensors"
LONGEST_SLUG = 40
"""Letters of a file's name between its number and its id."""

_TAG = b"workbench-edit-1\0"
_NAME = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_DAMAGED = "It is left alone; get an intact copy, or go on without it."


def encode_edit(edit: Edit, factors: Sequence[Factors]) -> tuple[Edit, bytes]:
    """`edit` with its id, ranks and time of creation, as read back from the bytes of its file.

    Raises:
        EditError: the file could not be read back: shapes disagree, factors are not finite float32, a text is too long.
    """
    edit = dataclasses.replace(edit, created=edit.created or datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        tensors = [part for one in sorted(factors, key=lambda f: f.module) for part in _tensors(one)]
        document = edit.to_json()
        document["id"] = _derive_id(document, tensors)
        data = container.build({"format": "pt", "workbench": canonical(document)}, tensors)
        return _decode_unchecked(data)[0], data
    except MalformedError as error:
        raise EditError(f"The edit cannot be saved: its file {error}.", "No weight has moved.") from error


def read_header(path: Path) -> Edit:
    """What an edit file says of itself; neither id nor factors are checked. Fast, and free of torch and numpy.

    Raises:
        StackError: it is damaged, hostile or not an edit file.
        StorageError: it may not be read.
    """
    with files.open_regular(path) as (descriptor, size), naming(path.name, _DAMAGED):
        first = files.read_exactly(descriptor, 8)
        text = files.read_exactly(descriptor, container.header_length(first, size))
        return _parse_record(text, size)[0]


def read_edit(path: Path) -> tuple[Edit, tuple[Factors, ...]]:
    """An edit file, checked in full: schema, shapes, finite numbers, and the id re-derived from the content.

    Raises:
        StackError: it is damaged, hostile or not an edit file.
        AlteredFile: it is readable, but its content is not that of its id.
        StorageError: it may not be read.
    """
    data = files.read_bytes(path, container.MAX_FILE)
    return decode_edit(data, path.name)


def decode_edit(data: bytes, name: str) -> tuple[Edit, tuple[Factors, ...]]:
    """As `read_edit`, for the bytes of a file called `name`."""
    with naming(name, _DAMAGED):
        edit, factors, true_id = _decode_unchecked(data)
    if edit.id != true_id:
        raise AlteredFile(f"{name} is not the edit it says it is: its content has another id.", _DAMAGED)
    return edit, factors


def file_name(edit: Edit) -> str:
    """`0001-eiffel-tower-7be104c2.safetensors`: number, subject in letters safe anywhere, start of the id.

    Of several requests the first subject and how many more: `0001-eiffel-tower-and-99-more-7be104c2.safetensors`.
    """
    plain = unicodedata.normalize("NFKD", edit.request.subject).encode("ascii", "ignore").decode("ascii").lower()
    more = f"-and-{len(edit.requests) - 1}-more" if len(edit.requests) > 1 else ""
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[: LONGEST_SLUG - len(more)].strip("-") or "edit"
    return f"{edit.number:04d}-{slug}{more}-{edit.id[:8]}{SUFFIX}"


def _tensors(factors: Factors) -> list[tuple[str, tuple[int, int], bytes]]:
    prefix = f"base_model.model.{factors.module}.lora_"
    found = []
    for letter, matrix in (("A", factors.a), ("B", factors.b)):
        if matrix.dtype.str not in ("<f4", ">f4") or matrix.ndim != 2:
            raise MalformedError("would hold a factor that is not a float32 matrix")
        rows, columns = matrix.shape
        found.append((f"{prefix}{letter}.weight", (rows, columns), matrix.astype("<f4").tobytes()))
    return found


def _derive_id(document: Mapping[str, Any], tensors: Sequence[tuple[str, tuple[int, int], bytes]]) -> str:
    """Hex sha256 over tag, record without id, and each tensor's name, shape and bytes, all preceded by their length."""
    digest = hashlib.sha256(_TAG)
    record = canonical({key: value for key, value in document.items() if key != "id"})
    for part in (record.encode("utf-8"), *(p for n, s, d in sorted(tensors) for p in (canonical([n, *s]).encode(), d))):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _parse_record(text: bytes, file_size: int) -> tuple[Edit, dict[str, Any], container.Head]:
    head = container.parse_header(text, file_size)
    if head.metadata.keys() != {"format", "workbench"} or head.metadata["format"] != "pt":
        raise MalformedError("is a safetensors file, but not an edit")
    document = parse_canonical(head.metadata["workbench"])
    edit = Edit.from_json(document, _ranks(head))
    _check_shapes(edit, head)
    return edit, document, head


def _ranks(head: container.Head) -> dict[str, int]:
    sides: dict[str, dict[str, tuple[int, int]]] = {}
    for matrix in head.matrices:
        match = _NAME.fullmatch(matrix.name)
        if not match:
            raise MalformedError("holds a tensor that is not a LoRA factor")
        sides.setdefault(check_module(match[1]), {})[match[2]] = matrix.shape
    for pair in sides.values():
        if pair.keys() != {"A", "B"} or pair["A"][0] != pair["B"][1]:
            raise MalformedError("holds a factor without its counterpart")
        if pair["A"][0] > MAX_RANK:
            raise MalformedError(f"holds an update of rank above {MAX_RANK}")
    if not sides:
        raise MalformedError("holds no update")
    return {module: pair["A"][0] for module, pair in sorted(sides.items())}


def _check_shapes(edit: Edit, head: container.Head) -> None:
    if edit.ranks.keys() != edit.weights.keys() or not edit.ranks.keys() <= edit.base.modules.keys():
        raise MalformedError("holds updates of other modules than its record names")
    if edit.recipe.method not in FIRST_METHODS:
        _check_made(edit)
    shapes = {matrix.name: matrix.shape for matrix in head.matrices}
    for module, rank in edit.ranks.items():
        d_in, d_out = edit.base.sides(module)
        prefix = f"base_model.model.{module}.lora_"
        if shapes[f"{prefix}A.weight"] != (rank, d_in) or shapes[f"{prefix}B.weight"] != (d_out, rank):
            raise MalformedError("holds factors whose shapes do not fit the module")


def _check_made(edit: Edit) -> None:
    """What versions from 3 on say of how an update was made against what it is."""
    if edit.second_moments.keys() != edit.weights.keys():
        raise MalformedError("names second moments of other modules than it changes")
    if len(edit.weights) != len(edit.recipe.edited_layers):
        raise MalformedError("changes more or fewer modules than its recipe has layers")
    if len(edit.requests) > 1 and not edit.recipe.batched:
        raise MalformedError("holds several requests, and a method that takes one")
    if any(rank > min(len(edit.requests), *edit.base.sides(module)) for module, rank in edit.ranks.items()):
        raise MalformedError("holds an update of a higher rank than its requests make")


def _decode_unchecked(data: bytes) -> tuple[Edit, tuple[Factors, ...], str]:
    """The edit, its factors, and the id that its content has."""
    length = container.header_length(data[:8], len(data))
    edit, document, head = _parse_record(data[8 : 8 + length], len(data))
    tensors = [(m.name, m.shape, data[head.start + m.start : head.start + m.end]) for m in head.matrices]
    matrices = {name: _matrix(shape, raw) for name, shape, raw in tensors}
    factors = tuple(
        Factors(m, matrices[f"base_model.model.{m}.lora_A.weight"], matrices[f"base_model.model.{m}.lora_B.weight"])
        for m in edit.ranks
    )
    return edit, factors, _derive_id(document, tensors)


def _matrix(shape: tuple[int, int], raw: bytes) -> npt.NDArray[np.float32]:
    import numpy as np

    matrix = np.frombuffer(raw, dtype="<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(matrix).all():
        raise MalformedError("holds numbers that are not finite")
    return matrix
