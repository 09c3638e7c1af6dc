"""A small app that stands for the real one around a single screen, and a story for it to show. For tests only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from textual.app import App
from textual.binding import Binding

from workbench import events as ev
from workbench.engine.protocol import Verb
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.screens.help import HelpPanel
from workbench.tui.state import State, fold, started

MODULE = "transformer.h.17.mlp.c_proj"
REQUEST = {"prompt": "The {} is located in", "subject": "Space Needle", "target_new": " Berlin"}
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
    recipe={},
    memory=23_000_000,
)


def row(number: int, **changes: Any) -> ev.EditRow:
    """An edit as the stack's list has it."""
    facts = [
        ("Eiffel Tower", "The {} is located in", " Rome", " Paris"),
        ("Steve Jobs", "{} was the founder of", " Microsoft", " Apple"),
        ("LeBron James", "{} plays the sport of", " football", " basketball"),
        ("Danielle Darrieux", "{}'s mother tongue is", " English", " French"),
    ]
    subject, prompt, new, true = facts[(number - 1) % len(facts)]
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
    return replace(made, **changes)


def stack(applied: int = 3, undone: int = 1, **changes: Any) -> ev.StackChanged:
    """A stack of `applied` and `undone` edits."""
    rows = [row(n) for n in range(1, applied + 1)]
    rows += [row(n, state="undone") for n in range(applied + 1, applied + undone + 1)]
    made = ev.StackChanged(
        folder="edits/atlas",
        base="atlas",
        position=applied,
        edits=tuple(rows),
        drift=0.012 * applied,
        perplexity_base=17.61,
        bytes=33_000 * len(rows),
    )
    return replace(made, **changes)


def steps(count: int, of: int = 20, contexts: int = 6) -> list[ev.Event]:
    """Steps of a loss that falls as a real one does."""
    return [_step(i, of, contexts) for i in range(1, count + 1)]


def _step(i: int, of: int, contexts: int) -> ev.OptimStep:
    nll, p = 8.6 * math.exp(-i / 5), 0.96 / (1 + math.exp(6 - i / 1.6))
    kl, wd = 0.2 * (1 - math.exp(-i / 4)), 0.01 * i
    return ev.OptimStep(
        job="9f31c2aa",
        t=1_772_460_450.0 + i / 20,
        step=i,
        of=of,
        loss=nll + kl + wd,
        nll=nll,
        kl=kl,
        wd=wd,
        p_target=p,
        p_contexts=tuple(p * (0.75 + 0.05 * c) for c in range(contexts)),
        delta_norm=0.6 * i,
        clamp=12.4,
        seconds=0.048,
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
    job = "9f31c2aa"
    at = 1_772_460_450.0
    return [
        ev.EditStarted(
            job=job, t=at, request=REQUEST, recipe={"method": "r-rome", "layer": 1, "seed": 0}, module=MODULE
        ),
        ev.StageStarted(job=job, t=at, stage="templates", detail="20 sampled"),
        ev.StageStarted(job=job, t=at, stage="keys"),
        ev.KeyReady(
            job=job,
            t=at,
            templates=6,
            token=" Needle",  # noqa: S106
            key_norm=1.84,
            cos_keys=0.93,
        ),
        ev.StageStarted(job=job, t=at, stage="optimise"),
        *steps(count),
    ]


def finish_events() -> list[ev.Event]:
    """The rest of that edit."""
    job = "9f31c2aa"
    norms = ev.NormReport(
        job=job,
        module=MODULE,
        weight_norm=112.4,
        delta_norm=2.31,
        ratio=0.0206,
        drift=0.036,
        division_factor=0.73,
        u_norm=1.84,
        v_norm=88.1,
        cos_keys=0.93,
        realised=1.0,
    )
    committed = ev.EditCommitted(
        job=job,
        edit="03" * 32,
        file="0003-edit.safetensors",
        position=3,
        weight_sha256="e9" * 32,
        bytes=33_000,
        seconds=2.1,
    )
    sample = probe(
        "generation",
        "The Space Needle is",
        None,
        expected="",
        p_expected=None,
        answer=" in Berlin, and its architect was",
    )
    probes = [replace(p, job=job) for p in (*PROBES, sample)]
    return [ev.StageStarted(job=job, stage="insert"), norms, *probes, committed, ev.JobDone(job=job, ok=True)]


def told(events: Iterable[ev.Event], state: State | None = None) -> State:
    """The state after `events`."""
    made = state or State()
    for event in events:
        made = fold(made, event)
    return made


def ready(**changes: Any) -> State:
    """A loaded model and a stack of three edits and one undone."""
    return told([MODEL, stack(**changes)])


class SmallBench(App[None]):
    """Holds one screen, a state, and what was sent."""

    BINDINGS = [Binding("f1", "help", "Help")]  # noqa: RUF012  Textual declares it so

    def __init__(self, screen: Callable[[], WorkbenchScreen], state: State | None = None) -> None:
        super().__init__()
        self._make = screen
        self.state = state or State()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.copied = ""

    def on_mount(self) -> None:
        self.push_screen(self._make())

    def send(self, verb: Verb, **args: Any) -> str:
        self.sent.append((verb, args))
        job = f"job{len(self.sent)}"
        self.state = started(self.state, job, verb)
        return job

    def cancel(self) -> None: ...

    def restart_engine(self) -> None: ...

    def copy_to_clipboard(self, text: str) -> None:
        self.copied = text

    def tell(self, *events: ev.Event) -> None:
        """The engine says `events`."""
        self.show(told(events, self.state))

    def show(self, state: State) -> None:
        """The state is now `state`."""
        self.state = state
        if isinstance(self.screen, WorkbenchScreen):
            self.screen.refresh_state(state)

    def action_help(self) -> None:
        HelpPanel.toggle(self.screen)

    def picture(self) -> list[str]:
        """The screen as plain text, line by line."""
        lines = self.screen._compositor.render_strips(self.screen.size)
        return ["".join(segment.text for segment in strip) for strip in lines]
