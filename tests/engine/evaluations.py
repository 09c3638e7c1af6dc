"""Small evaluations: a handful of requests on a small model, and ways to run them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.engine.making import OTHER, REQUEST, drain
from workbench.edits import EditRequest, Neighbour
from workbench.engine.evaluating.dataset import Dataset, read_dataset
from workbench.engine.evaluating.plan import Wanted
from workbench.engine.evaluating.run import run
from workbench.engine.stats.ranks import Ranks
from workbench.events import Event

QUICK = {"steps": 2, "template_lengths": [[3, 2]]}
"""Changes to a recipe that make its edits cheap."""

REQUESTS = [
    REQUEST,
    OTHER,
    EditRequest("{} speaks", "Maria Callas", "Irish", "Greek", neighbours=(Neighbour("Clara speaks", "Arabic"),)),
    EditRequest("{} plays the", "Clara", "piano", paraphrases=("Today Clara plays the",)),
    EditRequest("The mother tongue of {} is", "Antonín Dvořák", "Arabic", "Czech"),
]
TOO_LONG = dataclasses.replace(OTHER, prompt="Clara " * 600 + "{} plays the")
"""An edit that cannot be made."""


def dataset(folder: Path, requests: Sequence[EditRequest] = REQUESTS) -> Dataset:
    """`requests` as the data set of a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "facts.jsonl"
    path.write_text("".join(json.dumps(request.to_json()) + "\n" for request in requests), encoding="utf-8")
    return read_dataset(path)


def wanted(model: Path, folder: Path, requests: Sequence[EditRequest] = REQUESTS, **more: Any) -> Wanted:
    """A quick evaluation of `requests` on the CPU, in `folder`/out."""
    changes = {**QUICK, **more.pop("changes", {})}
    more = {"out": folder / "out", "model": str(model), "device": "cpu", **more}
    return Wanted(dataset(folder, requests), changes=changes, **more)


def evaluated(asked: Wanted, ranks: Ranks = Ranks(), cancelled: Callable[[], bool] = lambda: False) -> list[Event]:  # noqa: B008  frozen
    """The events of one run."""
    return drain(run(asked, cancelled, ranks))[0]


def results(folder: Path) -> dict[str, bytes]:
    """The results in a folder, byte for byte."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.jsonl"))}
