"""What a second moment is worth: condition, ranks, and the ridge that an edit will add to it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
from torch import Tensor

from workbench.editing.second_moment import CONDITION_LIMIT, factorise
from workbench.events import MomentReady
from workbench.models.device import for_float64
from workbench.models.second_moment import MomentRecord, StoredMoment

COUNTED = 4096
"""Largest d_in whose eigenvalues are all computed on a CPU: beyond it that takes minutes."""


def worth(stored: StoredMoment, record: MomentRecord, path: Path, device: torch.device) -> MomentReady:
    """The numbers of a C that is used for edits, computed on `device`. Raises EditError where it cannot be used."""
    moment = stored.moment.to(for_float64(device))
    factors = factorise(moment, stored.samples)
    mean = float(moment.diagonal().double().mean())
    return MomentReady(
        module=record.module,
        layer=layer_in(record.module),
        dimension=len(moment),
        samples=stored.samples,
        text=record.words,
        file=str(path),
        fingerprint=stored.fingerprint,
        condition=factors.condition if math.isfinite(factors.condition) else None,
        effective_rank=effective_rank(moment),
        rank=_rank(moment),
        ridge=factors.ridge,
        ridge_part=factors.ridge / mean if mean else 0.0,
        reason=factors.reason,
    )


def effective_rank(moment: Tensor) -> float:
    """(tr C)² / tr C², for symmetric C, (d, d): 1 if all keys are parallel, d if no direction stands out."""
    trace = float(moment.diagonal().double().sum())
    squares = float(moment.norm(dtype=torch.float64)) ** 2
    return trace**2 / squares if squares else 0.0


def layer_in(module: str) -> int:
    """The decoder block in a module's path: 17 in transformer.h.17.mlp.c_proj; -1 where there is none."""
    numbers = re.findall(r"(?:^|\.)(\d+)(?:\.|$)", module)
    return int(numbers[-1]) if numbers else -1


def _rank(moment: Tensor) -> int | None:
    if moment.device.type == "cpu" and len(moment) > COUNTED:
        return None
    values = torch.linalg.eigvalsh(moment.double())
    return int((values > values.max() / CONDITION_LIMIT).sum())
