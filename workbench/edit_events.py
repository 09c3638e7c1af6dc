"""What an engine says of an edit, and of itself, while it works. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from workbench.event_base import Event

Stage = Literal["templates", "keys", "optimise", "insert", "probe", "save"]
"""The stages of one edit, in order."""


@dataclass(frozen=True, kw_only=True)
class ModelLoading(Event):
    """Loading goes on."""

    stage: str
    """In words: "reading atlas", "checking the base", "rebuilding 3 edits"."""
    fraction: float | None = None
    """Done of this stage, 0 to 1; None: not known."""


@dataclass(frozen=True, kw_only=True)
class ModelReady(Event):
    """The model is loaded and the stack is materialised."""

    model: str
    family: str
    device: str
    dtype: str
    parameters: int
    layers: int
    module: str
    """The module that the profile edits."""
    fingerprint: str
    second_moment: str
    """Fingerprint of C at the profile's layer, or "identity"."""
    recipe: dict[str, Any]
    """The model's profile, as Recipe.to_json."""
    memory: int | None = None
    """Bytes the model takes on its device; None: not known."""
    chat: bool = False
    """The tokenizer has a chat template: a prompt may be a user's turn."""


@dataclass(frozen=True, kw_only=True)
class EditStarted(Event):
    """Work on one request begins."""

    request: dict[str, Any]
    """As EditRequest.to_json; of several, the first."""
    recipe: dict[str, Any]
    module: str
    """Of several, the last."""
    index: int = 1
    of: int = 1
    """This is edit `index` of `of` that were asked for together."""
    requests: int = 1
    """How many requests it is made of."""


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A stage of the edit begins."""

    stage: Stage
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class OptimStep(Event):
    """One evaluation of the loss; loss = nll + kl + wd."""

    step: int
    """From 1."""
    of: int
    loss: float
    nll: float
    kl: float
    wd: float
    p_target: float
    """Probability of the target, geometric mean over its tokens, mean over templates."""
    p_contexts: tuple[float, ...]
    """The same, template by template."""
    delta_norm: float
    """|δ|."""
    clamp: float
    """What |δ| is held below."""
    seconds: float
    """Time of this step."""
    stopped: str = ""
    """Why this was the last step: "loss", "nll", "steps"; empty while it goes on."""


@dataclass(frozen=True, kw_only=True)
class StepTogether(Event):
    """One evaluation of the losses of several requests that are optimised side by side."""

    step: int
    """From 1."""
    of: int
    requests: int
    running: int
    """Requests that go on after this step."""
    loss: float
    """Mean over the requests that were still running; so is p_target."""
    p_target: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class KeyReady(Event):
    """The keys of all templates are known."""

    templates: int
    token: str
    """The subject's last token, as text."""
    key_norm: float
    """|k̄|."""
    cos_keys: float
    """cos(k_0, k̄)."""
    first_token: bool = False
    """The subject's last token is the very first of the bare prompt."""


@dataclass(frozen=True, kw_only=True)
class NormReport(Event):
    """The update in numbers."""

    module: str
    weight_norm: float
    """|W| before."""
    delta_norm: float
    """|ΔW|."""
    ratio: float
    """|ΔW| / |W|."""
    drift: float
    """|W − W0| / |W0| after."""
    realised: float
    """|what changed after rounding| / |ΔW|; 1 in float32 up to rounding."""
    division_factor: float | None = None
    """k · u; None, with the three that follow, where the update is not of rank one."""
    u_norm: float | None = None
    """|C⁻¹ k| before u was made of norm 1."""
    v_norm: float | None = None
    cos_keys: float | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Event):
    """One probe's answer."""

    kind: Literal["efficacy", "paraphrase", "neighbourhood", "generation", "perplexity", "command"]
    prompt: str
    expected: str = ""
    rival: str = ""
    """The answer that must lose."""
    p_expected: float | None = None
    """Probability per token of `expected`, geometric mean."""
    p_rival: float | None = None
    answer: str = ""
    """The likeliest next token, or the generated text."""
    p_answer: float | None = None
    value: float | None = None
    """Perplexity."""
    before: float | None = None
    """p_expected or perplexity before the edit; on the base where a stack's probes are asked again."""
    passed: bool | None = None
    edit: str = ""
    """Id of the edit the probe belongs to."""
    side: str = ""
    """The state it was asked in: a position, or the word that a state was asked for by."""


@dataclass(frozen=True, kw_only=True)
class GenerationChunk(Event):
    """Text as it is generated."""

    side: str
    """The state that speaks, as it was asked for: "base", "stack", a position, an id, a branch, a tag."""
    text: str
    prompt: str = ""
    done: bool = False
    tokens: int = 0
    """Drawn so far in this state."""
    seconds: float = 0.0
    """Taken so far in this state."""


@dataclass(frozen=True, kw_only=True)
class Answered(Event):
    """The likeliest next tokens after a prompt, in one state."""

    prompt: str
    side: str
    top: tuple[tuple[str, float], ...]
    target_tokens: int | None = None
    """How many tokens the target asked about has."""
    goes_on: str = ""
    """The beginning of what the model would write, where that was asked for."""


@dataclass(frozen=True, kw_only=True)
class EditCommitted(Event):
    """The edit is on disk and in the model."""

    edit: str
    file: str
    position: int
    weight_sha256: str
    bytes: int
    seconds: float
    """That its making took; not those in which a guard's question was open."""


@dataclass(frozen=True, kw_only=True)
class EditCancelled(Event):
    """The edit in flight was dropped; every weight is as before."""

    position: int
    step: int = 0
    reason: str = ""
    """Why, where a guard's question was answered with discard; empty: a person stopped it."""


@dataclass(frozen=True, kw_only=True)
class EditFailed(Event):
    """The edit could not be made; every weight is as before."""

    message: str
    hint: str = ""
    exit_code: int = 1


@dataclass(frozen=True, kw_only=True)
class Verified(Event):
    """One state was compared with what its edit recorded."""

    position: int
    edit: str
    expected: str
    """Recorded sha256 of the weight; empty for the base."""
    actual: str
    outcome: Literal["bit-identical", "different", "not comparable"]
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Warning(Event):  # noqa: A001  the wire's word
    """Something a person should know; work goes on."""

    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """A line for the log."""

    message: str


@dataclass(frozen=True, kw_only=True)
class JobDone(Event):
    """A command has ended; the last event of its job."""

    ok: bool
    message: str = ""
    hint: str = ""
    exit_code: int = 0
