"""The events of looking into a stack: files checked, the culprit found, two states compared, a mismatch explained.

They are part of the wire as those in `workbench.events` are, and are read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class FileChecked(Event):
    """One file of a stack was read in full, and all that it says was derived again."""

    file: str
    edit: str = ""
    """Id of the edit in it; empty where none can be read, and for files that hold none."""
    problem: str = ""
    """What is wrong with it, in words; empty: nothing."""


@dataclass(frozen=True, kw_only=True)
class BisectStep(Event):
    """A probe was asked at one position of a line."""

    position: int
    edit: str
    """Id of the newest edit applied there; empty: the base."""
    holds: bool
    low: int
    """The change lies after this position,"""
    high: int
    """and at this one or before it."""
    left: int
    """Further probes at most."""
    said: str
    """What was measured, in words."""


@dataclass(frozen=True, kw_only=True)
class Bisected(Event):
    """The end of a search for the edit that changed a probe's outcome."""

    outcome: Literal["broke", "began", "holds", "fails"]
    """It broke or began to hold at `position`; or it holds, or fails, at both ends."""
    low: int
    """The last position on the near side of the change."""
    position: int
    """The first position on the far side of it."""
    edit: str
    """Id of the edit there; empty where there is no change."""
    probes: int
    """How many positions were probed."""


@dataclass(frozen=True, kw_only=True)
class EditDiffers(Event):
    """An edit that does not stand in both of two states under one id."""

    how: Literal["only in A", "only in B", "moved", "remade"]
    """"moved": the same update at another place; "remade": the same request, but another update."""
    prompt: str
    subject: str
    target_new: str
    edit_a: str = ""
    """Id in A; empty: not there."""
    number_a: int | None = None
    edit_b: str = ""
    number_b: int | None = None
    detail: str = ""
    """In words, such as "toggled off in B"."""
    requests: int = 1
    """How many requests it is made of; the texts are the first one's."""


@dataclass(frozen=True, kw_only=True)
class WeightsDiffer(Event):
    """One module's weight in two states."""

    module: str
    distance: float
    """|W_A − W_B| / |W_0|, Frobenius; 0 only where all bytes agree."""
    sha_a: str
    """sha256 of the weight in A."""
    sha_b: str


@dataclass(frozen=True, kw_only=True)
class AnswersDiffer(Event):
    """What two states answer to one probe."""

    kind: Literal["efficacy", "paraphrase", "neighbourhood", "prompt"]
    prompt: str
    answer_a: str
    """The likeliest next token."""
    p_answer_a: float
    answer_b: str
    p_answer_b: float
    kl: float
    """KL(A ‖ B) of the next-token distributions, in nats."""
    expected: str = ""
    """Empty: none is stated."""
    rival: str = ""
    p_expected_a: float | None = None
    p_expected_b: float | None = None
    p_rival_a: float | None = None
    p_rival_b: float | None = None
    edit: str = ""
    """Id of the edit that the probe belongs to; empty: it was asked for."""


@dataclass(frozen=True, kw_only=True)
class Finding(Event):
    """One thing that was looked at, and whether it is as it should be."""

    topic: str
    """In a word: "device", "tokenizer", "checkpoint"."""
    verdict: Literal["fine", "note", "mismatch", "damaged", "unusable"]
    """"note": something to know; "unusable": it cannot be had here at all."""
    message: str
    """One plain sentence."""
    hint: str = ""
    """What can be done; may be empty."""
