"""The collapse experiment: one sequence of edits under each method, as real stacks, and the health along each of them.

    OUT/requests.json          the sequence, as any request file
    OUT/METHOD/results.jsonl   a line a request, as `workbench eval` writes them
    OUT/METHOD/stack/          the stack, like any other
    OUT/METHOD/health.jsonl    health along it, and the phase

What is done is on the disk; the same call goes on, and several processes may do different methods in one folder.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.edits import BATCHED, Method
from workbench.engine.collapse.fared import Curve, fared
from workbench.engine.collapse.sequence import Shared, of_atlas, of_dataset
from workbench.engine.evaluating.dataset import Dataset
from workbench.engine.evaluating.plan import Wanted
from workbench.engine.evaluating.results import STACK, Results
from workbench.engine.evaluating.run import run as evaluate
from workbench.engine.starting import start_engine
from workbench.errors import StackError, UsageError
from workbench.events import Diagnosed, Event, HealthReport, Reproduced, from_line, to_line
from workbench.models.folder import ATLAS, locate
from workbench.models.options import PLAIN, LoadOptions
from workbench.models.tokenizer import read_tokenizer
from workbench.requests_export import requests_file
from workbench.stack.files import make_folder, read_bytes, write_atomic
from workbench.stack.limits import MAX_JOURNAL

HEALTH, REQUESTS = "health.jsonl", "requests.json"

Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class Asked:
    """What the experiment is to be made with."""

    out: Path
    methods: tuple[Method, ...]
    edits: int = 500
    """Requests of the sequence."""
    share: float = 0.1
    """Of them, those whose subject is to be the first and only token of the prompt."""
    batch: int = 100
    """Requests of one edit, for the methods that take several."""
    every: int = 25
    """Health is measured after every so many requests."""
    sample: int = 100
    """Earlier requests that are asked at each of these states."""
    seed: int = 0
    dataset: Dataset | None = None
    """Where the requests are from; None: the facts that atlas was taught."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Changes to the profile's recipe, for all methods."""
    model: str = ATLAS
    device: str = "auto"
    dtype: str = "auto"
    options: LoadOptions = PLAIN


def collapse(asked: Asked, cancelled: Cancelled) -> Generator[Event, None, tuple[Reproduced, ...]]:
    """Edits the sequence under each method in turn; yields what happens, and how each method fared.

    Returns what was found; fewer than the methods if it was cancelled.

    Raises:
        UsageError: there are too few requests, or the folder holds another sequence.
        EditError: there is no second moment.
        ModelError, DeviceError, StackError, StorageError: of the model, the device and the folder.
    """
    shared = yield from _sequence(asked)
    found: list[Reproduced] = []
    for method in asked.methods:
        wanted = _wanted(asked, shared, method)
        done = yield from evaluate(wanted, cancelled)
        curve = (yield from _curve(asked, wanted, cancelled)) if done and not cancelled() else None
        if curve is None:
            break
        yield from (fate := fared(method, Results.at(wanted.out), shared, curve, wanted.batch))
        found.append(fate[-1])
    return tuple(found)


def _sequence(asked: Asked) -> Generator[Event, None, Shared]:
    """The requests; written down, and held against what is written down."""
    if asked.dataset is None and asked.model != ATLAS:
        raise UsageError(f"There is no list of facts for {asked.model}.", "Name a data set: --facts counterfact.json.")
    found = yield from locate(asked.model, asked.options)
    tokenizer = read_tokenizer(found.path, asked.model, trust_remote_code=asked.options.trust_remote_code)
    size = asked.edits, asked.share, asked.seed
    shared = of_dataset(asked.dataset, tokenizer, *size) if asked.dataset else of_atlas(tokenizer, *size)
    data = requests_file([case.request for case in shared.dataset.cases], "workbench")
    path = asked.out / REQUESTS
    if path.exists() and read_bytes(path, len(data) + 1) != data:
        raise UsageError(
            f"{asked.out} holds the experiment with another sequence.", "Choose another folder with --out."
        )
    make_folder(asked.out)
    write_atomic(path, data)
    return shared


def _wanted(asked: Asked, shared: Shared, method: Method) -> Wanted:
    return Wanted(
        shared.dataset,
        asked.out / method,
        "sequential",
        {**asked.changes, "method": method},
        batch=asked.batch if method in BATCHED else 1,
        model=asked.model,
        device=asked.device,
        dtype=asked.dtype,
        options=asked.options,
    )


def _curve(asked: Asked, wanted: Wanted, cancelled: Cancelled) -> Generator[Event, None, Curve | None]:
    """Health along the stack of `wanted`, kept from an earlier run or measured now; None: it was cancelled."""
    path = wanted.out / HEALTH
    if kept := _kept(path, asked):
        yield from kept.reports
        return kept
    found: list[Event] = []
    with contextlib.closing(_examined(asked, wanted, cancelled)) as events:
        for event in events:
            yield event
            if isinstance(event, (HealthReport, Diagnosed)):
                found.append(event)
    curve = _as_curve(found)
    if curve is not None:
        write_atomic(path, b"\n".join([_settings(asked), *(to_line(event).encode() for event in found), b""]))
    return curve


def _examined(asked: Asked, wanted: Wanted, cancelled: Cancelled) -> Generator[Event, None, None]:
    opening = start_engine(
        wanted.model,
        device=wanted.device,
        dtype=wanted.dtype,
        options=wanted.options,
        stack=wanted.out / STACK,
        write=False,
    )
    engine = yield from opening
    try:
        every = max(1, asked.every // wanted.batch)
        yield from engine.health(sample=asked.sample, seed=asked.seed, every=every, cancelled=cancelled)
    finally:
        engine.close()


def measured_along(folder: Path) -> tuple[HealthReport, ...]:
    """Health along the stack of a method's folder, as it was measured; none if it was not. Raises StackError."""
    path = folder / HEALTH
    found = _read(path)[1] if path.exists() else []
    return tuple(event for event in found if isinstance(event, HealthReport))


def _kept(path: Path, asked: Asked) -> Curve | None:
    """What an earlier run measured in the same way. Raises StackError if the file is not one of ours."""
    if not path.exists():
        return None
    head, found = _read(path)
    return _as_curve(found) if head == _settings(asked) else None


def _read(path: Path) -> tuple[bytes, list[Event]]:
    head, *lines = read_bytes(path, MAX_JOURNAL).splitlines() or [b""]
    try:
        found = [event for line in lines if (event := from_line(line))]
    except (ValueError, OverflowError, RecursionError) as error:
        raise StackError(f"{path} is damaged.", "Remove it: the same command measures anew.") from error
    return head, [_with_infinity(event) if isinstance(event, HealthReport) else event for event in found]


def _with_infinity(report: HealthReport) -> HealthReport:
    """JSON has no infinity: where the base's perplexity is there, and a state's is not, it was infinite."""
    lost = report.perplexity is None and report.perplexity_base is not None
    return replace(report, perplexity=math.inf) if lost else report


def _settings(asked: Asked) -> bytes:
    return f'{{"every": {asked.every}, "sample": {asked.sample}, "seed": {asked.seed}}}'.encode()


def _as_curve(found: list[Event]) -> Curve | None:
    reports = tuple(event for event in found if isinstance(event, HealthReport))
    phases = [event for event in found if isinstance(event, Diagnosed)]
    if not reports or not phases:
        return None
    return Curve(tuple(replace(one, job="", seq=0, t=0.0) for one in reports), phases[-1])
