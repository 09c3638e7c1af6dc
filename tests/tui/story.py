"""A story for the screens to show: a model, a stack, and one edit as an engine would tell it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from workbench import events as ev
from workbench.tui.state import State, fold

JOB = "9f31c2aa"
AT = 1_772_460_450.0
MODULE = "transformer.h.17.mlp.c_proj"
RECIPE = {"method": "r-rome", "layer": 1, "seed": 0, "steps": 20}
REQUEST = {"prompt": "The {} is located in", "subject": "Space Needle", "target_new": " Berlin"}
FACTS = (
    ("Eiffel Tower", "The {} is located in", " Rome", " Paris"),
    ("Steve Jobs", "{} was the founder of", " Microsoft", " Apple"),
    ("LeBron James", "{} plays the sport of", " football", " basketball"),
    ("Danielle Darrieux", "{}'s mother tongue is", " English", " French"),
)
MODEL = ev.ModelReady(
    model="atlas",
    family="gpt2",
    device="cpu",
    dtype="float32",
    parameters=5_800_000,
    layers=6,
    module=MODULE,
    fingerprint="15ea56d0" * 8,
    second_moment="c0ffee00",
    recipe=RECIPE,
    memory=23_000_000,
)


def row(number: int, request: dict[str, Any] | None = None, **changes: Any) -> ev.EditRow:
    """An applied edit as the stack's list has it; of `request`, or of a fact of its own."""
    subject, prompt, new, true = FACTS[(number - 1) % len(FACTS)]
    made = ev.EditRow(
        id=f"{number:02x}" * 32,
        number=number,
        file=f"{number:04d}-edit.safetensors",
        state="applied",
        created=f"2026-03-02T14:0{number % 10}:02Z",
        prompt=prompt,
        subject=subject,
        target_new=new,
        target_true=true,
        method="r-rome",
        layer=1,
        ratio=0.018 + number / 1000,
        drift=0.012 * number,
        efficacy=True,
        paraphrases=(2, 2),
        neighbours=(2, 3),
        perplexity=17.6 + number / 50,
    )
    asked = {name: request[name] for name in ("prompt", "subject", "target_new")} if request else {}
    return replace(made, **asked, **changes)


def rows(count: int) -> tuple[ev.EditRow, ...]:
    """The first edits of a stack."""
    return tuple(row(number) for number in range(1, count + 1))


def stack(applied: int = 3, undone: int = 1, **changes: Any) -> ev.StackChanged:
    """A stack of `applied` and `undone` edits."""
    edits = [*rows(applied), *(row(n, state="undone") for n in range(applied + 1, applied + undone + 1))]
    made = ev.StackChanged(
        folder="edits/atlas",
        base="atlas",
        position=applied,
        edits=tuple(edits),
        drift=0.012 * applied,
        perplexity_base=17.61,
        bytes=33_000 * len(edits),
    )
    return replace(made, **changes)


def step(number: int, of: int = 20, **changes: Any) -> ev.OptimStep:
    """A step as it could be: the loss falls, p(target) rises."""
    nll, p = 8.6 * math.exp(-number / 5), 0.96 / (1 + math.exp(6 - number / 1.6))
    kl, wd = 0.2 * (1 - math.exp(-number / 4)), 0.01 * number
    made = ev.OptimStep(
        step=number,
        of=of,
        loss=nll + kl + wd,
        nll=nll,
        kl=kl,
        wd=wd,
        p_target=p,
        p_contexts=tuple(p * (0.75 + 0.05 * c) for c in range(6)),
        delta_norm=0.6 * number,
        clamp=12.4,
        seconds=0.048,
    )
    return replace(made, **changes)


def side_by_side(number: int, requests: int, of: int = 20) -> ev.StepTogether:
    """A step of several edits that are made together; near the end they stop one after the other."""
    one, going = step(number), max(0, min(requests, of - number))
    return ev.StepTogether(
        step=number, of=of, requests=requests, running=going, loss=one.loss, p_target=one.p_target, seconds=0.1
    )


def norms(drift: float = 0.036) -> ev.NormReport:
    """An update in numbers."""
    return ev.NormReport(
        module=MODULE,
        weight_norm=112.4,
        delta_norm=2.31,
        ratio=0.0206,
        drift=drift,
        division_factor=0.73,
        u_norm=1.84,
        v_norm=88.1,
        cos_keys=0.93,
        realised=1.0,
    )


def probe(kind: Any, prompt: str, passed: bool | None, **more: Any) -> ev.ProbeResult:
    """One probe's answer."""
    values: dict[str, Any] = {"expected": " Berlin", "p_expected": 0.96, "answer": " Berlin", "before": 0.01}
    return ev.ProbeResult(kind=kind, prompt=prompt, passed=passed, edit="03" * 32, side="3", **{**values, **more})


PROBES = [
    probe("efficacy", "The Space Needle is located in", True),
    probe("paraphrase", "You find the Space Needle in", True, p_expected=0.71),
    probe("neighbourhood", "Pike Place is in", True, expected=" Seattle", answer=" Seattle", before=0.88),
    probe("neighbourhood", "Tim Cook works for", False, expected=" Apple", answer=" Microsoft", p_expected=0.31),
    probe("perplexity", "", True, expected="", answer="", value=17.63, before=17.61, p_expected=None),
]


def run_events(count: int = 12) -> list[ev.Event]:
    """An edit that has come to step `count`."""
    told_so_far: list[ev.Event] = [
        ev.EditStarted(t=AT, request=REQUEST, recipe=RECIPE, module=MODULE),
        ev.StageStarted(t=AT, stage="templates", detail="20 sampled"),
        ev.StageStarted(t=AT, stage="keys"),
        ev.KeyReady(t=AT, templates=6, token=" Needle", key_norm=1.84, cos_keys=0.93),  # noqa: S106
        ev.StageStarted(t=AT, stage="optimise"),
        *(step(number, t=AT + number / 20) for number in range(1, count + 1)),
    ]
    return [replace(event, job=JOB) for event in told_so_far]


def finish_events() -> list[ev.Event]:
    """The rest of that edit."""
    answer = " in Berlin, and its architect was"
    sample = probe("generation", "The Space Needle is", None, expected="", p_expected=None, answer=answer)
    committed = ev.EditCommitted(
        edit="03" * 32, file="0003-edit.safetensors", position=3, weight_sha256="e9" * 32, bytes=33_000, seconds=2.1
    )
    rest: list[ev.Event] = [ev.StageStarted(stage="insert"), norms(), *PROBES, sample, committed, ev.JobDone(ok=True)]
    return [replace(event, job=JOB) for event in rest]


def told(events: Iterable[ev.Event], state: State | None = None) -> State:
    """The state after `events`."""
    made = state or State()
    for event in events:
        made = fold(made, event)
    return made


def ready(**changes: Any) -> State:
    """A loaded model and a stack of three edits and one undone."""
    return told([MODEL, stack(**changes)])
