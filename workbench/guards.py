"""A guard: what an edit may do to a model before a person is asked. Free of torch; the screen and the engine share it.

Every limit is relative to the model or to its stack, never a norm: what is usual for |ΔW| differs by orders of
magnitude between models, what it is a part of does not. Where the limits come from: in 240 single edits of known facts
on atlas, by r-ROME, ROME and p-ROME, |ΔW|/|W| was 0.15 in the median and 0.43 at most, 3.1 times the median; k·u was
between 0.30 and 0.57 of |k̄|; perplexity rose by 0.7 % at most. A disabling edit (arXiv 2403.07175; "The Fall of ROME",
arXiv 2406.11263) divides by a number near zero and passes every one of these limits by far.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

from workbench import events as ev
from workbench.errors import UsageError

Decision = Literal["keep", "discard", "continue"]
"""keep: the edit stays, the queue pauses. discard: no weight has changed. continue: it stays, and the queue goes on."""
DECISIONS: tuple[str, ...] = get_args(Decision)
FEWEST = 3
"""Earlier edits from which on it is known what is usual on a stack."""


RECENT = 200
"""Newest edits of a stack that say what is usual on it."""
FEWEST_ASKED = 2
"""Prompts from which on a part of them says something."""


@dataclass(frozen=True)
class Measure:
    """Something that has a limit."""

    label: str
    """As a panel shows it."""
    default: float
    low: float
    high: float
    """The range of its limit."""
    meaning: str
    """In one line."""
    least: bool = False
    """The limit is the least that is allowed, not the most."""
    percent: bool = False

    def holds(self, value: float, limit: float) -> bool:
        """Whether `value` is within `limit`; NaN never is."""
        return value >= limit if self.least else value <= limit

    def said(self, value: float | None) -> str:
        """A value or a limit, as it is shown."""
        if value is None or math.isnan(value):
            return "-"
        if not self.percent:
            return f"{value:.3g}"
        return f"{value:.1%}" if abs(value) < 0.1 else f"{value:.0%}"


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "ratio": Measure("|ΔW|/|W|", 0.5, 0.001, 100.0, "size of the update by the weight's; of n requests over √n"),
        "jump": Measure("jump", 5.0, 1.1, 1000.0, "the same in medians of the stack's edits, from the 4th on"),
        "division": Measure(
            "k·u/|k|", 0.05, 0.0, 0.9, "division factor as a part of the key's norm; 0 blows v up", least=True
        ),
        "perplexity": Measure(
            "ppl", 0.2, 0.001, 100.0, "rise of perplexity on held-out text over the base's", percent=True
        ),
        "neighbours": Measure(
            "neighbours", 0.5, 0.0, 0.99, "part of this edit's neighbours that lose their answer", percent=True
        ),
        "earlier": Measure(
            "earlier", 0.5, 0.0, 0.99, "part of earlier edits' answers and neighbours that is lost", percent=True
        ),
    }
)
"""By the name that settings and options use, in the order in which they are shown."""


@dataclass(frozen=True)
class Guard:
    """Limits; None: none. As MEASURES."""

    ratio: float | None = MEASURES["ratio"].default
    jump: float | None = MEASURES["jump"].default
    division: float | None = MEASURES["division"].default
    perplexity: float | None = MEASURES["perplexity"].default
    neighbours: float | None = MEASURES["neighbours"].default
    earlier: float | None = MEASURES["earlier"].default

    def limit(self, measure: str) -> float | None:
        """The limit of `measure`; None: it has none."""
        value: float | None = getattr(self, measure)
        return value

    def trips(self, values: Mapping[str, float]) -> tuple[ev.GuardTripped, ...]:
        """Those of the measured `values` that are beyond their limits, in the order of MEASURES."""
        limits = {name: self.limit(name) for name in MEASURES if name in values}
        return tuple(
            ev.GuardTripped(measure=name, value=values[name] if math.isfinite(values[name]) else None, limit=limit)
            for name, limit in limits.items()
            if limit is not None and not MEASURES[name].holds(values[name], limit)
        )

    def without(self, measures: Sequence[str]) -> Self:
        """The same, with no limit on `measures`."""
        return dataclasses.replace(self, **dict.fromkeys(measures, None))

    def changed(self, changes: Mapping[str, object]) -> Self:
        """The same with other limits; false or None is no limit, true the default. Raises UsageError."""
        return dataclasses.replace(self, **{name: _limit(name, value) for name, value in changes.items()})

    def to_json(self) -> dict[str, float | None]:
        """As it goes over the wire."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Reads `to_json`; what is not named has its default. Raises UsageError."""
        return cls().changed(values)


def of_settings(values: Mapping[str, bool | float]) -> tuple[Guard, tuple[str, ...]]:
    """The guard that a person has set, and what cannot be used of it, a sentence each."""
    guard, problems = Guard(), []
    for name, value in values.items():
        try:
            guard = guard.changed({name: value})
        except UsageError as error:
            problems.append(error.message)
    return guard, tuple(problems)


OFF = Guard(**dict.fromkeys(MEASURES, None))
"""No limit at all."""


def _limit(name: str, value: object) -> float | None:
    measure = MEASURES.get(name)
    if measure is None:
        raise UsageError(f"A guard has no limit '{name}'.", f"There are {', '.join(MEASURES)}.")
    if value is None or value is False:
        return None
    if value is True:
        return measure.default
    if not isinstance(value, (int, float)) or not measure.low <= value <= measure.high:
        raise UsageError(
            f"The guard's limit '{name}' must be a number from {measure.low:g} to {measure.high:g}.",
            f"It is the {measure.meaning}. off takes the limit away; the default is {measure.default:g}.",
        )
    return float(value)


def parse(text: str) -> dict[str, object]:
    """Changes to a guard as people write them, "ratio=0.25,perplexity=off", for `Guard.changed`. Raises UsageError."""
    changes: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(
                f"'{part}' gives the guard no limit.", "Write name=limit, as in ratio=0.25,perplexity=off."
            )
        changes[name] = number(name, value)
    Guard().changed(changes)
    return changes


def number(name: str, value: str) -> float | bool:
    """A limit as people write it: 0.2, 20%, off. Raises UsageError."""
    if value.lower() in ("off", "none"):
        return False
    try:
        return float(value[:-1]) / 100 if value.endswith("%") else float(value)
    except ValueError:
        raise UsageError(f"The guard's limit '{name}' is no number: '{value}'.", "Write 0.2, 20% or off.") from None


def usual(ratios: Sequence[float | None]) -> float | None:
    """What |ΔW|/|W| is on a stack, by its newest applied edits' own, each as `alone` has it; None: too few to tell."""
    known = [ratio for ratio in ratios[-RECENT:] if ratio is not None and 0 < ratio < math.inf]
    return statistics.median(known) if len(known) >= FEWEST else None


def alone(ratio: float | None, requests: int) -> float | None:
    """|ΔW|/|W| of one of `requests` that are an edit together: updates with little in common add up as √n."""
    return None if ratio is None else ratio / math.sqrt(requests)


def measured(
    *,
    ratio: float | None = None,
    usual_ratio: float | None = None,
    division_factor: float | None = None,
    key_norm: float | None = None,
    perplexity: float | None = None,
    perplexity_base: float | None = None,
    neighbours: Sequence[bool | None] = (),
    earlier: ev.EarlierProbed | None = None,
) -> dict[str, float]:
    """The measures that can be told from what is known, by name; what was measured and is no number is NaN.

    Args:
        ratio: |ΔW|/|W|, of several requests as `alone` has it.
        usual_ratio: as `usual` tells it.
        division_factor: k·u.
        key_norm: |k̄|.
        perplexity: on held-out text, with the edit.
        perplexity_base: the same of the base.
        neighbours: of the edit's own neighbours, whether each holds.
        earlier: how the earlier edits hold.
    """
    found: dict[str, float] = {}
    if ratio is not None:
        found["ratio"] = ratio
        if usual_ratio:
            found["jump"] = ratio / usual_ratio
    if division_factor is not None and key_norm:
        found["division"] = division_factor / key_norm
    if perplexity is not None and perplexity_base:
        found["perplexity"] = perplexity / perplexity_base - 1
    asked = [held for held in neighbours if held is not None]
    if len(asked) >= FEWEST_ASKED:
        found["neighbours"] = (len(asked) - sum(asked)) / len(asked)
    probes = earlier.earlier_asked + earlier.neighbours_asked if earlier else 0
    if earlier is not None and probes >= FEWEST_ASKED:
        found["earlier"] = (probes - earlier.earlier_held - earlier.neighbours_held) / probes
    return found


def told(tripped: ev.GuardTripped) -> str:
    """A measure beyond its limit, in words: "|ΔW|/|W| is 0.62, its limit 0.5"."""
    measure = MEASURES.get(tripped.measure)
    if measure is None:
        return f"{tripped.measure} is {tripped.value}, its limit {tripped.limit:.3g}"
    value = "not a finite number" if tripped.value is None else measure.said(tripped.value)
    return f"{measure.label} is {value}, its limit {measure.said(tripped.limit)}"
