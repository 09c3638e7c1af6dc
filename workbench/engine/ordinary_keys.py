"""How far ordinary keys lie under C⁻¹: measured on the model's held-out text, once, and kept between runs.

Anything odd about a kept file means that the text is read again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from workbench.editing.flags import frozen
from workbench.editing.hooks import capture
from workbench.editing.preflight import KeyRange, implied_range, key_range, mahalanobis
from workbench.editing.second_moment import SecondMoment
from workbench.engine.core import Core
from workbench.engine.kept_documents import Kept
from workbench.models.context import context_length
from workbench.models.families import EditSite
from workbench.stack.strictjson import canonical

LARGEST = 4096
"""Bytes of a kept file, at most."""
AT_ONCE = 16
"""Texts of one forward pass."""


def ordinary_range(core: Core, site: EditSite, moment: SecondMoment) -> KeyRange:
    """The range of the keys of the base at `site` over its held-out text; without text, what C alone implies."""
    if not core.held_out:
        return implied_range(site.d_in)
    text = hashlib.sha256(canonical([*core.held_out]).encode()).hexdigest()
    decides = {"module": site.module, "second_moment": moment.fingerprint, "text": text}
    kept = Kept.of(core.loaded, "key_range", decides, LARGEST)
    known = _read(kept)
    if known is None:
        known = _measured(core, site, moment)
        kept.write(asdict(known))
    return known


def _read(kept: Kept) -> KeyRange | None:
    document = kept.read()
    if not isinstance(document, dict) or document.keys() != {"low", "high", "largest", "keys"}:
        return None
    low, high, largest, keys = (document[name] for name in ("low", "high", "largest", "keys"))
    if type(keys) is not int or not all(type(one) is float and math.isfinite(one) for one in (low, high, largest)):
        return None
    return KeyRange(low, high, largest, keys) if keys > 0 and 0 <= low <= high <= largest else None


def _measured(core: Core, site: EditSite, moment: SecondMoment) -> KeyRange:
    """Reads every text from its own start; the forward pass ends at the site."""
    tokenizer, limit = core.loaded.tokenizer, context_length(core.loaded.model)
    rows = [torch.tensor(ids[:limit]) for ids in tokenizer([*core.held_out])["input_ids"] if ids]
    with core.live.at_base(), frozen(core.loaded.model), torch.no_grad():
        found = [
            mahalanobis(_keys(core, site, rows[start : start + AT_ONCE]), moment)
            for start in range(0, len(rows), AT_ONCE)
        ]
    distances = torch.cat(found) if found else torch.zeros(0)
    distances = distances[distances.isfinite()]
    return key_range(distances) if len(distances) else implied_range(site.d_in)


def _keys(core: Core, site: EditSite, rows: Sequence[Tensor]) -> Tensor:
    """The keys of every token of `rows`, (n, d_in)."""
    model = core.loaded.model
    ids = torch.nn.utils.rnn.pad_sequence([*rows], batch_first=True).to(model.device)
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    seen = capture(
        site.linear(model),
        mask.flatten().nonzero()[:, 0],
        lambda: model(input_ids=ids, attention_mask=mask.long().to(model.device), use_cache=False),
    )
    return seen.inputs
