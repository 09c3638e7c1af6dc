"""PEFT LoRA adapters: a stack's state written as one, and a stranger's read with suspicion. Free of torch.

Written: for each edited module A = all rows u, (R, d_in), and B = all columns v, (d_out, R), with R the sum of the
ranks and lora_alpha = R, so that peft's scale is 1. Read: as `lora_config` says, the scale folded into B.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import UsageError
from workbench.stack import container, files
from workbench.stack.lora_config import MAX_CONFIG, WEIGHT, LoraConfig, read_config
from workbench.stack.record import MAX_MODULES, Factors, Layout, check_module
from workbench.stack.strictjson import MalformedError, naming, parse

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MAX_ADAPTER = 512 * 1024 * 1024
"""Largest adapter_model.safetensors, in bytes; as float32 it still fits into an edit file."""

_HINT = "Get an intact copy of the adapter."
_NAME = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_KINDS = {
    "lora_embedding_": "it changes embeddings",
    "lora_magnitude_vector": "it uses DoRA",
    "modules_to_save": "it carries whole modules beside its factors",
    ".bias": "it carries biases",
}
"""Parts of names of tensors that no linear update has, and what they mean."""


def joined(edits: Iterable[Sequence[Factors]]) -> tuple[Factors, ...]:
    """The factors of many edits, in order, as one low-rank update a module, by the modules' names."""
    import numpy as np

    found: dict[str, list[Factors]] = {}
    for one in (factors for edit in edits for factors in edit):
        found.setdefault(one.module, []).append(one)
    return tuple(
        Factors(module, np.concatenate([f.a for f in parts], 0), np.concatenate([f.b for f in parts], 1))
        for module, parts in sorted(found.items())
    )


def adapter_config(
    factors: Sequence[Factors], layouts: Mapping[str, Layout], base: str, revision: str, *, experts: bool = False
) -> bytes:
    """adapter_config.json for `factors`, one a module. Modules are named in full, so that no other one matches.

    In a base with `experts` their weights are named instead: peft takes every module called down_proj for the experts'
    (0.21, utils/transformers_weight_conversion.py), and leaves weights as they are named.
    """
    ranks = {one.module: one.a.shape[0] for one in factors}
    most = max(ranks.values())
    suffix = WEIGHT if experts else ""
    others = {module + suffix: rank for module, rank in ranks.items() if rank != most}
    document = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision or None,
        "inference_mode": True,
        "r": most,
        "lora_alpha": most,
        "rank_pattern": others,
        "alpha_pattern": others,
        "use_rslora": False,
        "use_dora": False,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": "in,out" in {layouts[module] for module in ranks},
        "init_lora_weights": True,
        "modules_to_save": None,
        "target_modules": [] if experts else list(ranks),
        **({"target_parameters": [module + suffix for module in ranks]} if experts else {}),
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def adapter_weights(factors: Sequence[Factors]) -> bytes:
    """adapter_model.safetensors for `factors`, in float32. Raises MalformedError if the header would be too long."""
    tensors = []
    for one in factors:
        for letter, matrix in (("A", one.a), ("B", one.b)):
            rows, columns = matrix.shape
            name = f"base_model.model.{one.module}.lora_{letter}.weight"
            tensors.append((name, (rows, columns), matrix.astype("<f4").tobytes()))
    return container.build({"format": "pt"}, tensors)


def read_adapter_files(folder: Path) -> tuple[LoraConfig, tuple[Factors, ...]]:
    """The configuration of the adapter in `folder`, and its update as float32 factors, the scale folded into B.

    Only the two files of fixed names are looked at. Which modules are changed, the tensors say; `target_modules` is
    not read.

    Raises:
        UsageError: there is no LoRA adapter that an edit can be.
        StackError: one of its files is damaged, hostile or too large.
        StorageError: it may not be read.
    """
    _check_there(folder)
    with naming(CONFIG, _HINT):
        config = read_config(parse(files.read_bytes(folder / CONFIG, MAX_CONFIG)))
    with naming(WEIGHTS, _HINT):
        return config, _factors(files.read_bytes(folder / WEIGHTS, MAX_ADAPTER), config)


def _check_there(folder: Path) -> None:
    with files.storage("read", folder):
        config, weights = (folder / CONFIG).exists(), (folder / WEIGHTS).exists()
    if not config:
        raise UsageError(f"There is no adapter at {folder}: {CONFIG} is missing.", "Name the adapter's folder.")
    if not weights:
        raise UsageError(
            f"The adapter at {folder} has no {WEIGHTS}.", "Save it again with safetensors; pickle files are not read."
        )


def _factors(data: bytes, config: LoraConfig) -> tuple[Factors, ...]:
    length = container.header_length(data[:8], len(data))
    head = container.parse_header(data[8 : 8 + length], len(data), dtypes=tuple(container.BYTES), bare=True)
    content = memoryview(data)[head.start :]
    return tuple(_update(module, pair, content, config) for module, pair in sorted(_pairs(head).items()))


def _pairs(head: container.Head) -> dict[str, dict[str, container.Matrix]]:
    """The matrices A and B of each module. Raises MalformedError, UsageError."""
    pairs: dict[str, dict[str, container.Matrix]] = {}
    for matrix in head.matrices:
        match = _NAME.fullmatch(matrix.name)
        if not match:
            raise _not_a_factor(matrix.name)
        pairs.setdefault(check_module(match[1]), {})[match[2]] = matrix
    if not pairs:
        raise MalformedError("holds no update")
    if len(pairs) > MAX_MODULES:
        raise UsageError(f"The adapter changes more than {MAX_MODULES} modules.", "An edit takes no more.")
    return pairs


def _not_a_factor(name: str) -> Exception:
    for part, why in _KINDS.items():
        if part in name:
            return UsageError(f"The adapter cannot be imported: {why}.", "Only updates of linear modules can.")
    return MalformedError("holds a tensor that is not a LoRA factor of a linear module")


def _update(module: str, pair: Mapping[str, container.Matrix], content: memoryview, config: LoraConfig) -> Factors:
    if pair.keys() != {"A", "B"}:
        raise MalformedError("holds a factor without its counterpart")
    if not pair["A"].shape[0] == pair["B"].shape[1] == config.rank_of(module):
        raise MalformedError("holds factors of another rank than its configuration says")
    a, b = _float32(pair["A"], content), _float32(pair["B"], content)
    return Factors(module, a, _scaled(b, config.scale_of(module)))


def _float32(matrix: container.Matrix, content: memoryview) -> npt.NDArray[np.float32]:
    import numpy as np

    raw = content[matrix.start : matrix.end]
    if matrix.dtype == "BF16":  # the upper half of a float32
        wide = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        wide = np.frombuffer(raw, "<f2" if matrix.dtype == "F16" else "<f4").astype(np.float32)
    if not np.isfinite(wide).all():
        raise MalformedError("holds numbers that are not finite")
    return wide.reshape(matrix.shape)


def _scaled(b: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.float32]:
    """B times `scale`, rounded once."""
    import numpy as np

    product = b.astype(np.float64) * scale
    if np.abs(product).max() > np.finfo(np.float32).max:
        raise MalformedError("holds numbers that float32 cannot hold once its scale is in them")
    return product.astype(np.float32)
