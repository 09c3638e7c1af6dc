"""What each hyper-parameter of an edit means, in one line, with its range: the same words in help and on the screen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.recipes import METHODS, Recipe


@dataclass(frozen=True)
class Hyper:
    """One hyper-parameter."""

    name: str
    """A field of Recipe."""
    meaning: str
    low: float | None = None
    """Least value; None: it is not a number."""
    high: float | None = None
    words: str = ""
    """What it takes, where that is no range."""

    @property
    def range(self) -> str:
        """What it takes, in a few words."""
        return self.words or f"{plain(self.low)} to {plain(self.high)}"

    @property
    def choices(self) -> tuple[Any, ...]:
        """All values, where they are few; else none."""
        return METHODS if self.name == "method" else (True, False) if self.name == "second_moment" else ()


HYPERS = (
    Hyper("method", "how the update is made of key and value", words=" ".join(METHODS)),
    Hyper("layer", "block whose down-projection is edited, from 0", 0, 10_000),
    Hyper("layers", "blocks to spread it over; the last is optimised", words="blocks as in [1,2,3]"),
    Hyper("steps", "evaluations of the loss at most", 1, 1_000),
    Hyper("lr", "Adam's rate for the offset of the value", 1e-6, 100.0),
    Hyper("clamp_factor", "the offset stays below this many times the value", 1e-6, 1e4),
    Hyper("kl_factor", "how much the subject's essence is held, by KL", 0.0, 1e4),
    Hyper("weight_decay", "how much a large offset costs", 0.0, 1e4),
    Hyper("loss_stop", "stops when the whole loss is below this", 0.0, 1e4),
    Hyper("nll_stop", "stops when the target's own loss is below this", 0.0, 1e4, words="0 to 10000, or none"),
    Hyper("second_moment", "whether C weighs the key; off: C = I", words="on or off"),
    Hyper("moment_weight", "how much C weighs against the batch's keys", 1e-12, 1e12),
    Hyper("mu", "how far the batch may miss its targets", 0.0, 1e6),
    Hyper("seed", "seed of the context templates", 0, 2**63 - 1),
    Hyper("template_lengths", "context templates: tokens and how many", words="pairs as in [[5,10],[10,10]]"),
)
"""All there are, in the order in which they are shown."""


def hypers_of(method: str) -> tuple[Hyper, ...]:
    """Those that say something for `method`."""
    own = Recipe.from_json({"method": method}).to_json()
    return tuple(hyper for hyper in HYPERS if hyper.name in own)


def plain(value: object) -> str:
    """A value as one types it: 0.0625, 20, none, on, [[5,10]]."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and abs(value) >= 10**15:
        return f"{value:.1e}"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def typed(text: str) -> Any:
    """A value from what is typed: JSON, a list of numbers as 3,4,5, a plain word, or none, on, off."""
    words = {"none": None, "off": False, "on": True}
    if text.lower() in words:
        return words[text.lower()]
    if "," in text and all(part.strip().isdecimal() for part in text.split(",")):
        text = f"[{text}]"
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def settings_table(width: int = 76) -> str:
    """A line for each setting: name, default, meaning and range. For a command's help."""
    defaults: Mapping[str, Any] = dataclasses.asdict(Recipe())
    lines = []
    for hyper in HYPERS:
        default = "" if hyper.name in ("layer", "layers") else plain(defaults[hyper.name])
        default = default if len(default) <= 8 else ""
        text = f"  {hyper.name:<17}{default:<8} {hyper.meaning}"
        lines.append(text if len(text) + len(hyper.range) + 3 > width else f"{text} ({hyper.range})")
    return "\n".join(lines)
