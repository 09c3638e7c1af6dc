"""What two states of a stack said to one prompt, as Compare shows it and as it can be kept. No widgets, no files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.stack.markdown import plain, table
from workbench.tui.state import State
from workbench.tui.watched import Watched, summary

MAX_NEW, MAX_TEMPERATURE, MAX_SEED = 1_000, 100.0, 2**62
LONGEST = 100_000
"""Characters of a text that are exported."""
Top = tuple[tuple[str, float], ...]
"""Tokens and their probabilities, likeliest first."""


@dataclass(frozen=True)
class Sampling:
    """How both sides generate: the same for both."""

    max_new: int = 40
    temperature: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        how = "greedy" if self.temperature == 0 else f"sampled at {self.temperature:g}, seed {self.seed}"
        return f"at most {self.max_new} tokens, {how}"


def sampling_of(max_new: str, temperature: str, seed: str) -> Sampling:
    """What the three fields say. Raises ValueError, with a sentence for the person, where one says nothing usable."""
    whole = _number(max_new, int, "max", 1, MAX_NEW)
    heat = _number(temperature, float, "temp", 0.0, MAX_TEMPERATURE)
    return Sampling(int(whole), heat, int(_number(seed, int, "seed", 0, MAX_SEED)))


def _number(text: str, kind: type[int] | type[float], name: str, low: float, high: float) -> float:
    try:
        value = kind(text.strip())
    except (ValueError, OverflowError):
        value = math.nan
    if not low <= value <= high:
        unit = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name} is {unit} from {low:g} to {high:g}.")
    return value


@dataclass(frozen=True)
class Asked:
    """What was asked for last."""

    prompt: str
    words: tuple[str, str]
    """A and B, as the engine was asked."""
    names: tuple[str, str]
    """The same as the screen calls them."""
    made_of: tuple[tuple[str, ...], tuple[str, ...]]
    """What their weights depended on."""
    sampling: Sampling
    job: str

    def swapped(self) -> Asked:
        """A is B, and B is A."""
        words, names, made = self.words[::-1], self.names[::-1], self.made_of[::-1]
        return Asked(self.prompt, words, names, made, self.sampling, self.job)


@dataclass(frozen=True)
class Said:
    """What one side said."""

    name: str
    text: str = ""
    """What it generated after the prompt."""
    top: Top = ()
    tokens: int = 0
    seconds: float = 0.0
    done: bool = False

    @property
    def pace(self) -> str:
        """As in 40 tokens 1.1 s; while it goes on, how many so far."""
        if not self.tokens and not self.done:
            return ""
        count = f"{self.tokens} token{'' if self.tokens == 1 else 's'}"
        return f"{count} {self.seconds:.1f} s" if self.done else f"{count} ..."


@dataclass(frozen=True)
class Comparison:
    """Both sides, and how far they lie apart."""

    asked: Asked
    sides: tuple[Said, Said]
    kl: float | None = None
    """KL(A ‖ B) in nats; None: not known, or infinite."""
    shared: int = 0
    of: int = 0
    """0: not known."""
    running: bool = False

    @property
    def finished(self) -> bool:
        """Both sides have said all that they will."""
        return not self.running and all(side.text for side in self.sides)

    def apart(self, *, short: bool = False) -> str:
        """How far the next tokens lie apart, in words; empty while that is not known."""
        if not self.of:
            return ""
        kl = "inf" if self.kl is None else f"{self.kl:.2f}" if self.kl >= 0.01 or self.kl == 0 else f"{self.kl:.1e}"
        return f"KL(A||B) {kl}  {'' if short else f'top-{self.of} '}overlap {self.shared}/{self.of}"


def comparison(state: State, asked: Asked) -> Comparison:
    """What `state` knows of what was `asked`."""
    first, second = (_said(state, asked, side) for side in (0, 1))
    found = state.compared
    running = bool(asked.job) and state.job == asked.job
    if found is None or found.prompt != asked.prompt or {found.a, found.b} != {*asked.words}:
        return Comparison(asked, (first, second), running=running)
    kl = found.kl if found.a == asked.words[0] else found.kl_back
    return Comparison(asked, (first, second), kl, found.shared, found.of, running)


def _said(state: State, asked: Asked, side: int) -> Said:
    word = asked.words[side]
    top = next((a.top for a in reversed(state.answers) if (a.prompt, a.side) == (asked.prompt, word)), ())
    last = state.spoken.get(word)
    if last is None or last.prompt != asked.prompt:
        return Said(asked.names[side], top=top)
    return Said(asked.names[side], state.generations.get(word, ""), top, last.tokens, last.seconds, last.done)


def document(found: Comparison, rows: Sequence[Watched], names: tuple[str, str]) -> str:
    """The comparison and the probes as JSON."""
    asked = found.asked
    whole: dict[str, Any] = {
        "prompt": asked.prompt,
        "max_new": asked.sampling.max_new,
        "temperature": asked.sampling.temperature,
        "seed": asked.sampling.seed,
        "kl": found.kl,
        "overlap": {"shared": found.shared, "of": found.of} if found.of else None,
    }
    for letter, side, word in zip("ab", found.sides, asked.words, strict=True):
        whole[letter] = {
            "state": word,
            "name": side.name,
            "text": side.text,
            "tokens": side.tokens,
            "seconds": round(side.seconds, 3),
            "next": [[token, p] for token, p in side.top],
        }
    whole["probes"] = {"a": names[0], "b": names[1], "rows": [_row(row) for row in rows]}
    return json.dumps(whole, ensure_ascii=True, indent=1) + "\n"


def _row(row: Watched) -> dict[str, Any]:
    a, b = row.values
    return {
        "kind": row.kind,
        "prompt": row.prompt,
        "expected": row.expected,
        "edit": row.edit,
        "a": a,
        "b": b,
        "answer_a": row.a.answer if row.a else "",
        "answer_b": row.b.answer if row.b else "",
        "passed": row.passed,
    }


def markdown(found: Comparison, rows: Sequence[Watched], names: tuple[str, str]) -> str:
    """The comparison and the probes as Markdown, in which nothing of what a model said is obeyed."""
    asked = found.asked
    parts = [f"# {plain(asked.prompt, LONGEST)}", f"{asked.sampling}. {plain(found.apart())}".rstrip()]
    for letter, side in zip("AB", found.sides, strict=True):
        parts += [f"## {letter}: {plain(side.name)}", plain(asked.prompt + side.text, LONGEST), side.pace]
        if side.top:
            parts.append(table(["next token", "p"], [[plain(token), f"{p:.3g}"] for token, p in side.top]))
    if rows:
        parts += [f"## Probes: A {plain(names[0])}, B {plain(names[1])}", summary(rows), _probes(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _probes(rows: Sequence[Watched]) -> str:
    cells = []
    for row in rows:
        a, b = ("-" if value is None else f"{value:.3g}" for value in row.values)
        held = {True: "holds", False: "fails", None: ""}[row.passed]
        cells.append([row.word, plain(row.prompt), plain(row.expected.strip()), a, b, held])
    return table(["kind", "prompt", "expected", "A", "B", "in B"], cells)
