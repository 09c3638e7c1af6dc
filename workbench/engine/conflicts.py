"""What two sets of edits on one base disagree about: facts with two targets, and keys that are nearly one.

A key is what a value is stored under; two edits whose keys point the same way, as C⁻¹ measures it, write over each
other. Source: ROME, arXiv 2202.05262, equation 2, with u ∝ C⁻¹ k, so that k is recovered from the edit file as C u.
"""

from __future__ import annotations

import heapq
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.edits import EditRequest
from workbench.engine.core import Core
from workbench.errors import EditError, ModelError
from workbench.events import Conflict
from workbench.stack.record import Edit, Factors

IDENTITY = "identity"
"""What an edit file says where C = I was chosen."""
COSINE = 0.6
"""Keys with a larger |cos| are reported, unless told otherwise."""
MOST_PAIRS = 50
"""Worst pairs of keys that are listed."""

BASIS = 1e-5
"""Rows whose products differ by less from those of an orthonormal basis are one: float32 rounds by 1e-7."""

_BLOCK = 1024
"""Keys of ours held against all of theirs at a time."""

Updates = Mapping[str, tuple[Factors, ...]]
"""The factors of edits, by id."""


def same_words(text: str) -> str:
    """`text` without what does not change its meaning: case, width, runs of spaces, a full stop at the end."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".")


def facts(request: EditRequest) -> set[tuple[str, str]]:
    """(subject, question) for every way in which the request asks: its prompt and its paraphrases."""
    return {(same_words(request.subject), same_words(text)) for text in (request.text, *request.paraphrases)}


def target_conflicts(ours: Sequence[Edit], theirs: Sequence[Edit]) -> list[Conflict]:
    """Pairs about the same subject and relation with different targets; of several on one side the last counts."""
    own, other = _last_words(ours), _last_words(theirs)
    pairs = {(own[fact], other[fact]): None for fact in own if fact in other}
    return [
        Conflict(
            kind="target",
            ours=a.edit,
            theirs=b.edit,
            prompt=a.request.text,
            other_prompt=b.request.text if b.request.text != a.request.text else "",
            target_ours=a.request.target_new,
            target_theirs=b.request.target_new,
        )
        for a, b in pairs
        if same_words(a.request.target_new) != same_words(b.request.target_new)
    ]


@dataclass(frozen=True)
class _Asked:
    """One of the requests of an edit."""

    edit: str
    """The edit's id."""
    request: EditRequest


def _last_words(edits: Iterable[Edit]) -> dict[tuple[str, str], _Asked]:
    known = (edit for edit in edits if not edit.imported)
    asked = (_Asked(edit.id, request) for edit in known for request in edit.requests)
    return {fact: one for one in asked for fact in facts(one.request)}


@dataclass
class KeyReport:
    """Keys of one side held against those of the other."""

    pairs: list[Conflict] = field(default_factory=list)
    """The worst, worst first."""
    count: int = 0
    """How many are beyond the threshold."""
    incomparable: set[str] = field(default_factory=set)
    """Ids of edits whose keys are not known: imported ones, and those whose C is not here."""


def key_conflicts(
    core: Core,
    ours: Sequence[Edit],
    theirs: Sequence[Edit],
    updates: Updates,
    *,
    threshold: float = COSINE,
    most: int = MOST_PAIRS,
) -> KeyReport:
    """Every pair, one of ours and one of theirs on one module, with |cos(k_i, k_j)| under C⁻¹ above `threshold`.

    One matrix product a module: with C = L Lᵀ, cos is the plain cosine of the whitened keys L⁻¹ k = Lᵀ u.
    """
    report = KeyReport()
    found: list[tuple[float, Conflict]] = []
    for module in sorted({module for edit in (*ours, *theirs) for module in edit.weights}):
        whitening = _whitening(core, module, (*ours, *theirs))
        own, other = (_whitened(module, edits, updates, whitening, report) for edits in (ours, theirs))
        for a, b, cosine in _beyond(own.keys, other.keys, threshold, most, report):
            found.append((abs(cosine), _pair(module, own.asked[a], other.asked[b], cosine)))
    report.pairs = [pair for _, pair in heapq.nlargest(most, found, key=lambda one: one[0])]
    return report


@dataclass(frozen=True, eq=False)
class _Whitening:
    """C = L Lᵀ of one module."""

    lower: Tensor | None
    """L, (d_in, d_in) in float64; None: C is not here, and keys are compared as they are."""
    fingerprint: str

    def of(self, u: Tensor, made_with: str) -> Tensor:
        """L⁻¹ k for the update directions `u`, (n, d_in), of edits made with C or with the identity."""
        if self.lower is None:
            return u
        if made_with == IDENTITY:
            keys: Tensor = torch.linalg.solve_triangular(self.lower, u.T, upper=False).T  # k = u
            return keys
        return u @ self.lower  # k = C u


def _whitening(core: Core, module: str, edits: Iterable[Edit]) -> _Whitening:
    """C of `module`, which lies at the layer that an edit of it names."""
    for layer in dict.fromkeys(edit.recipe.layer for edit in edits if module in edit.weights):
        try:
            site = core.site(layer)
            if site.module == module:
                moment = core.second_moment(site)
                return _Whitening(moment.factorisation.lower.cpu(), moment.fingerprint)
        except (EditError, ModelError):  # no such layer, or no C beside the model: then there is nothing to whiten by
            continue
    return _Whitening(None, IDENTITY)


@dataclass(frozen=True, eq=False)
class _Keys:
    """The whitened keys of one side in one module."""

    asked: list[_Asked]
    """What each of them is the key of."""
    keys: Tensor
    """(n, d_in), float32, of norm 1."""


def _whitened(module: str, edits: Sequence[Edit], updates: Updates, whitening: _Whitening, report: KeyReport) -> _Keys:
    """The keys that are known; notes the edits whose keys are not."""
    touching = [edit for edit in edits if module in edit.weights]
    found = {edit.id: _directions(edit, updates[edit.id], module, whitening) for edit in touching}
    report.incomparable |= {ident for ident, u in found.items() if u is None}
    kept: list[_Asked] = []
    parts: list[Tensor] = []
    for made_with in dict.fromkeys((IDENTITY, whitening.fingerprint)):
        group = [edit for edit in touching if edit.moment_of(module)["fingerprint"] == made_with]
        rows = [(edit, u) for edit in group if (u := found[edit.id]) is not None]
        if rows:
            white = whitening.of(torch.cat([u for _, u in rows]), made_with)
            parts.append(torch.nn.functional.normalize(white, dim=1).float())
            kept += [_Asked(edit.id, request) for edit, _ in rows for request in edit.requests]
    return _Keys(kept, torch.cat(parts) if parts else torch.zeros(0, 1))


def _directions(edit: Edit, factors: Sequence[Factors], module: str, whitening: _Whitening) -> Tensor | None:
    """U of each request, (n, d_in) in float64; None if they are not known, or C is not the one at hand.

    A batch's update has a row a request, each the u ∝ C⁻¹ k of that request, unless it is the update itself, or an
    orthonormal basis of those rows.
    """
    comparable = edit.moment_of(module)["fingerprint"] in (IDENTITY, whitening.fingerprint)
    if edit.imported or not comparable or edit.ranks.get(module) != len(edit.requests):
        return None
    rows = torch.from_numpy(next(one.a for one in factors if one.module == module)).double()
    return None if len(rows) > 1 and _orthonormal(rows) else rows


def _orthonormal(rows: Tensor) -> bool:
    return bool(torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=rows.dtype), rtol=0, atol=BASIS))


def _beyond(
    own: Tensor, other: Tensor, threshold: float, most: int, report: KeyReport
) -> Iterator[tuple[int, int, float]]:
    """Row of `own`, row of `other` and cosine, of the worst `most` pairs of each block; counts all beyond."""
    if not len(own) or not len(other):
        return
    for start in range(0, len(own), _BLOCK):
        cosines = (own[start : start + _BLOCK] @ other.T).flatten()  # (block · theirs,)
        beyond = (cosines.abs() > threshold).nonzero().squeeze(1)
        report.count += len(beyond)
        found = cosines[beyond]
        for index in found.abs().topk(min(most, len(found))).indices.tolist():
            row, column = divmod(int(beyond[index]), len(other))
            yield start + row, column, float(found[index])


def _pair(module: str, a: _Asked, b: _Asked, cosine: float) -> Conflict:
    return Conflict(
        kind="key",
        ours=a.edit,
        theirs=b.edit,
        module=module,
        cosine=cosine,
        prompt=a.request.text,
        other_prompt=b.request.text,
        target_ours=a.request.target_new,
        target_theirs=b.request.target_new,
    )
