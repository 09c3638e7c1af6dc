"""Causal tracing in words and events: what is asked, how far it is, and the picture. Free of torch.

The events are part of the wire as those in `workbench.events` are, and are read from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, get_args

from workbench.errors import UsageError
from workbench.event_base import Event
from workbench.text import shortened

Kind = Literal["state", "mlp", "attention"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What is put back: the hidden state that leaves a block, or the outputs of its MLP or attention."""

WINDOW = 10
"""Layers that are put back together in the paper, for GPT-2 XL with its 48."""
MAX_SAMPLES = 1_000
MAX_WINDOW = 1_000


@dataclass(frozen=True)
class TraceSettings:
    """How a trace is made; defaults are the paper's (ROME, arXiv 2202.05262, section 2 and appendix B).

    Raises:
        UsageError: on construction, if a value is out of its range.
    """

    kind: Kind = "state"
    window: int | None = None
    """Layers put back together, around the one that is named; for outputs of MLPs and attention only. None: the
    paper's 10 of 48, in a model of fewer than 40 layers a quarter of them."""
    samples: int = 10
    """Draws of the noise; probabilities are means over them."""
    noise: float = 3.0
    """Standard deviation of the noise, in standard deviations of the embeddings of subjects."""
    seed: int = 0
    """Seed of the noise."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"'{self.kind}' cannot be traced.", f"Choose one of {', '.join(KINDS)}.")
        for name, value, low, high in (
            ("samples", self.samples, 1, MAX_SAMPLES),
            ("window", 1 if self.window is None else self.window, 1, MAX_WINDOW),
            ("noise", self.noise, 0.0, 1_000.0),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if not low <= value <= high:
                raise UsageError(f"{name} = {value} is out of range.", f"It lies between {low} and {high}.")

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Reads a plain object of some settings. Raises UsageError for what is none, or of another type."""
        if not isinstance(document, dict):
            raise UsageError("The settings of a trace must be a JSON object.")
        types = {"kind": (str,), "window": (int,), "samples": (int,), "noise": (int, float), "seed": (int,)}
        for name, value in document.items():
            if type(value) not in types.get(name, ()):
                raise UsageError(f"'{shortened(str(name), 60)}' cannot be {shortened(repr(value), 60)} in a trace.")
        return cls(**document)

    def width(self, count: int) -> int:
        """How many of `count` layers are put back together; 1 for states."""
        if self.kind == "state":
            return 1
        return self.window or min(WINDOW, max(1, count // 4))

    def layers(self, layer: int, count: int) -> range:
        """Which of `count` layers are put back together for `layer`: those around it, clipped to the model."""
        width = self.width(count)
        return range(max(0, layer - width // 2), min(count, layer + (width + 1) // 2))


@dataclass(frozen=True, kw_only=True)
class TraceStep(Event):
    """A trace goes on."""

    done: int
    """(token, layer) pairs restored so far, of this fact,"""
    of: int
    """of so many."""
    subject: str
    index: int = 1
    facts: int = 1
    """This is fact `index` of `facts`."""


@dataclass(frozen=True, kw_only=True)
class Traced(Event):
    """The picture: what restoring each (token, layer) gives back of an answer that noise on the subject took away."""

    prompt: str
    """With `{}` for the subject; empty for an average over facts."""
    subject: str
    answer: str
    rows: tuple[str, ...]
    """Tokens of the prompt as text; over several facts, the groups of tokens that were averaged."""
    subject_rows: tuple[int, ...]
    """Which rows are the subject's, the last one last."""
    effects: tuple[tuple[float, ...], ...]
    """(rows, layers): the indirect effect, p(answer) with the state restored less `corrupted`."""
    clean: float
    """p(answer) as the model says it."""
    corrupted: float
    """p(answer) with noise on the subject's embeddings, nothing restored."""
    peak_row: int
    """Where the effect is largest among the subject's rows."""
    peak_layer: int
    kind: Kind
    window: int
    """Layers restored together; 1: one by one."""
    samples: int
    noise: float
    """In standard deviations of subjects' embeddings,"""
    sigma: float
    """and as a number."""
    seed: int
    side: str
    """The state that was traced: "base" or a position."""
    facts: int = 1
    """How many facts this is the mean of."""
    asked: int = 1
    """How many facts the model was asked for them; those that it does not know are left out."""

    @property
    def averaged(self) -> bool:
        """Whether it is a mean over facts."""
        return not self.prompt

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.effects[0]) if self.effects else 0

    @property
    def best(self) -> float:
        """The largest effect anywhere; 0 if nothing comes back."""
        return max((0.0, *(effect for row in self.effects for effect in row)))
