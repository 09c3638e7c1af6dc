"""One line of results: what a case gave on the base and with its edit, as JSON and back.

Numbers that JSON lacks are words: "nan", "inf", "-inf". A line that is not whole reads as None, and its case is done
again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.events import CaseScored
from workbench.probing.metrics import KINDS, MEASURES, CaseScore, ProbeScore
from workbench.stack.strictjson import MalformedError, canonical, parse

WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class CaseLine:
    """What is kept of a case."""

    case: int
    subject: str
    target_new: str
    base: CaseScore
    edited: CaseScore
    norms: Mapping[str, float] = field(default_factory=dict)
    """Of its update: ratio, delta_norm, drift, division_factor; none where it was not made."""
    perplexity: float | None = None
    name: str = ""
    """What the data set calls it."""

    def line(self) -> bytes:
        """As it stands in the file."""
        return dumped(
            {
                "case": self.case,
                "name": self.name,
                "subject": self.subject,
                "target_new": self.target_new,
                "base": score_to_json(self.base),
                "edited": score_to_json(self.edited),
                "norms": dict(self.norms),
                "perplexity": self.perplexity,
            }
        )

    def event(self, done: int, of: int) -> CaseScored:
        """As it is told."""
        return CaseScored(
            case=self.case,
            done=done,
            of=of,
            subject=self.subject,
            target_new=self.target_new,
            base=measures(self.base),
            edited=measures(self.edited),
            ratio=self.norms.get("ratio"),
            perplexity=self.perplexity,
            failed=self.edited.failed,
        )

    @classmethod
    def read(cls, line: bytes) -> CaseLine | None:
        """The case of a line; None if it is not one."""
        try:
            document = loaded(line)
            return cls(
                _whole(document["case"]),
                str(document["subject"]),
                str(document["target_new"]),
                score_from_json(document["base"]),
                score_from_json(document["edited"]),
                {str(name): _float(value) for name, value in document["norms"].items()},
                _number(document["perplexity"]),
                str(document["name"]),
            )
        except (MalformedError, ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(frozen=True)
class CheckpointLine:
    """What is kept of a stack's state: the scores of the cases edited so far, by case."""

    edited: int
    scores: Mapping[int, CaseScore]
    perplexity: float | None
    drift: float

    def line(self) -> bytes:
        """As it stands in the file."""
        scores = [{"case": case, **score_to_json(score)} for case, score in self.scores.items()]
        return dumped(
            {"edited": self.edited, "scores": scores, "perplexity": self.perplexity, "drift": self.drift},
        )

    @classmethod
    def read(cls, line: bytes) -> CheckpointLine | None:
        """The checkpoint of a line; None if it is not one."""
        try:
            document = loaded(line)
            scores = {_whole(one["case"]): score_from_json(one) for one in document["scores"]}
            return cls(_whole(document["edited"]), scores, _number(document["perplexity"]), _float(document["drift"]))
        except (MalformedError, ValueError, KeyError, TypeError, AttributeError):
            return None


def measures(score: CaseScore) -> dict[str, float | None]:
    """All that a case gave, by measure."""
    return {name: score.measure(name) for name in MEASURES}


def score_to_json(score: CaseScore) -> dict[str, Any]:
    """A plain document; `score_from_json` reads it back."""
    probes = [
        {"kind": one.kind, "passed": one.passed, "new": one.new, "true": one.true, "accuracy": one.accuracy}
        for one in score.probes
    ]
    texts = {name: value for name in ("entropy", "consistency") if (value := score.measure(name)) is not None}
    return {"probes": probes, **texts, **({"failed": score.failed} if score.failed else {})}


def score_from_json(document: dict[str, Any]) -> CaseScore:
    """Reads what `score_to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    return CaseScore(
        tuple(_probe(one) for one in document["probes"]),
        _number(document.get("entropy")),
        _number(document.get("consistency")),
        str(document.get("failed", "")),
    )


def dumped(document: object) -> bytes:
    """A line of JSON, newline included."""
    return canonical(_worded(document)).encode() + b"\n"


def loaded(line: bytes) -> Any:
    """The document of a line. Raises MalformedError."""
    return parse(line)


def _probe(one: dict[str, Any]) -> ProbeScore:
    kind = KINDS[KINDS.index(one["kind"])]
    if type(one["passed"]) is not bool:
        raise TypeError("no verdict")
    return ProbeScore(kind, one["passed"], _number(one["new"]), _number(one["true"]), _float(one["accuracy"]))


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("no count")
    return value


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, str):
        return WORDS[value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise TypeError("no number")


def _float(value: object) -> float:
    number = _number(value)
    if number is None:
        raise TypeError("no number")
    return number


def _worded(value: object) -> object:
    """`value` with a word in place of each number that JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {key: _worded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_worded(item) for item in value]
    return value
