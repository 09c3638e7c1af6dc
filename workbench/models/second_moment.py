"""The second moment C of keys over ordinary text: computed once, kept beside the model as a safetensors file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.errors import ModelError
from workbench.models.families import EditSite

FOLDER = "second_moment"


def second_moment_path(folder: Path, site: EditSite) -> Path:
    """Where C of `site` lies for the model in `folder`."""
    return folder / FOLDER / f"{site.module}.safetensors"


@torch.no_grad()
def accumulate_second_moment(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, site: EditSite, lines: Sequence[str], batch: int = 32
) -> Generator[int, None, tuple[Tensor, int]]:
    """E[k kᵀ] over all tokens of `lines`, each read from its own start; yields the keys seen so far.

    Returns:
        C as float32 (d_in, d_in), summed in float64, and the number of keys.
    """
    total = torch.zeros(site.d_in, site.d_in, dtype=torch.float64, device=model.device)
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
            k = keys.pop().reshape(*ids.shape, site.d_in)[mask.bool()].double()
            total += k.T @ k
            seen += len(k)
            yield seen
    finally:
        hook.remove()
    return (total / max(seen, 1)).float().cpu(), seen


def write_second_moment(folder: Path, site: EditSite, moment: Tensor, samples: int, base: str) -> Path:
    """Writes C, symmetrised, with what it was made of."""
    path = second_moment_path(folder, site)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"format_version": 1, "module": site.module, "samples": samples, "base": base}
    symmetric = ((moment + moment.T) / 2).contiguous()
    save_file({"second_moment": symmetric}, path, metadata={"workbench": json.dumps(about, sort_keys=True)})
    return path


def read_second_moment(folder: Path, site: EditSite, base: str) -> tuple[Tensor, int, str] | None:
    """C (d_in, d_in) float32, its number of samples and its fingerprint; None if there is none for this site.

    Raises:
        ModelError: there is one, but it is damaged or was made for another base.
    """
    path = second_moment_path(folder, site)
    if not path.is_file():
        return None
    wrong = f"The second moment '{path.name}' cannot be used"
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["workbench"])
            moment = file.get_tensor("second_moment")
            samples, made_for = int(about["samples"]), str(about["base"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ModelError(f"{wrong}: it is damaged.", "Make it again.") from error
    if made_for != base:
        raise ModelError(f"{wrong}: it was made for another base.", "Make it again for this one.")
    if moment.shape != (site.d_in, site.d_in) or moment.dtype != torch.float32 or not moment.isfinite().all():
        raise ModelError(f"{wrong}: it has the wrong shape, dtype or values.", "Make it again.")
    return moment, samples, _fingerprint(moment)


def _fingerprint(moment: Tensor) -> str:
    digest = hashlib.sha256(b"workbench second moment v1\n")
    digest.update(moment.contiguous().numpy().tobytes())
    return digest.hexdigest()
