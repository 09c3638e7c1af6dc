"""The base's perplexity kept between runs: a number that only the base, the text and how both are read decide.

Anything odd about a kept file means that the text is read again. What edits make of the model is never kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

from workbench.engine.kept_documents import Kept
from workbench.models.load import LoadedModel
from workbench.stack.strictjson import canonical

LARGEST = 4096
"""Bytes of a kept file, at most."""


def base_perplexity(loaded: LoadedModel, lines: Sequence[str], measure: Callable[[], float | None]) -> float | None:
    """What `measure` says of the base on `lines`, now or in an earlier run; None where there is nothing to measure.

    An infinite one, of a base that is broken, is not kept.
    """
    if not lines:
        return None
    decides = {
        "text": hashlib.sha256(canonical([*lines]).encode()).hexdigest(),
        "keep_fp32": loaded.keep_fp32,
        "held": hashlib.sha256(canonical(_held(loaded)).encode()).hexdigest(),
    }
    kept = Kept.of(loaded, "perplexity", decides, LARGEST)
    known = kept.read()
    if isinstance(known, float) and known >= 1.0:
        return known
    found = measure()
    if found is not None and math.isfinite(found):
        kept.write(found)
    return found


def _held(loaded: LoadedModel) -> list[list[str]]:
    """What every weight is held in now: the edits of a stack may want some in float32."""
    return [[name, str(weight.dtype)] for name, weight in sorted(loaded.model.named_parameters())]
