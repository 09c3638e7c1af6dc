"""Events survive their line of JSON, whatever they carry; older and newer readers understand each other."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import events as ev
from workbench.engine import protocol

ROW = ev.EditRow(
    id="ab", number=1, file="f", state="applied", created="t", prompt="{} is", subject="s", target_new="n",
    paraphrases=(1, 2),
)  # fmt: skip

SAMPLES: dict[str, Any] = {
    "str": "a ␛ \u2028 é",
    "int": 3,
    "float": 0.5,
    "bool": True,
    "dict[str, Any]": {"a": [1, {"b": None}]},
    "dict[str, dict[str, float | None]]": {"es": {"before": 0.5, "base": None}},
    "tuple[float, ...]": (0.1, 0.2),
    "tuple[int, int]": (1, 2),
    "tuple[int, ...]": (1, 2, 3),
    "tuple[tuple[float, ...], ...]": ((0.5, -0.25), (0.0, 1.0)),
    "Kind": "mlp",
    "tuple[tuple[str, float], ...]": (("Rome", 0.9), (" 北京", 0.1)),
    "tuple[str, ...]": ("a", " b"),
    "tuple[EditRow, ...]": (ROW, ROW),
    "Stage": "keys",
    "StackChanged": ev.StackChanged(folder="f", base="b", position=1, names=("main",)),
    "tuple[tuple[str, str, str], ...]": (("edits/a", "2 edits", ""), ("edits/b", "✗", "damaged")),
    "RowState": "undone",
    "tuple[tuple[RowState, int], ...]": (("applied", 2), ("undone", 1)),
}


def sample(cls: type[ev.Event], optional: bool) -> ev.Event:
    """An event with every field set; optional ones None or set."""
    values: dict[str, typing.Any] = {}
    for field in dataclasses.fields(cls):
        kind = str(field.type)
        if kind.endswith(" | None"):
            values[field.name] = SAMPLES[kind.removesuffix(" | None")] if optional else None
        elif kind.startswith("Literal"):
            values[field.name] = typing.get_type_hints(cls)[field.name].__args__[0]
        else:
            values[field.name] = SAMPLES[kind]
    return cls(**values)


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("cls", ev.types().values(), ids=list(ev.types()))
def test_every_event_comes_back_from_its_line(cls: type[ev.Event], optional: bool) -> None:
    event = sample(cls, optional)
    line = ev.to_line(event)
    assert "\n" not in line
    assert ev.from_line(line) == event
    assert ev.from_line(line.encode()) == event


def test_every_event_that_the_design_names_is_there() -> None:
    named = (
        "ModelLoading ModelReady EditStarted StageStarted OptimStep KeyReady NormReport ProbeResult GenerationChunk "
        "GuardTripped EditCommitted EditCancelled EditFailed Warning Log"
    )
    assert set(named.split()) <= set(ev.types())


@given(text=st.text(), number=st.floats())
def test_any_text_and_any_number_fits_on_one_line(text: str, number: float) -> None:
    line = ev.to_line(ev.GuardTripped(measure=text, value=number, limit=1.0))
    assert "\n" not in line
    document = json.loads(line, parse_constant=pytest.fail)
    assert document["measure"] == text
    assert document["value"] == (number if math.isfinite(number) else None)


def test_a_type_of_a_newer_version_reads_as_nothing_and_a_newer_field_is_dropped() -> None:
    assert ev.from_line('{"type": "Telepathy", "job": "a"}') is None
    assert ev.from_line('{"type": "Log", "message": "hi", "mood": 3}') == ev.Log(message="hi")


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"type": "Log"}'])
def test_a_line_that_is_no_event_is_an_error(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any reason will do
        ev.from_line(line)


BROKEN = {
    "a text for a number": ("StepTogether", {"step": "x", "of": 2, "requests": 2, "running": 1, "loss": 1.0}),
    "nothing where something must be": ("Log", {"message": None}),
    "a field that is not there": ("Log", {}),
    "a word that is none of its own": ("Verified", {"position": 1, "edit": "", "expected": "", "outcome": "maybe"}),
    "too many in a pair": ("Answered", {"prompt": "", "side": "", "top": [["a", 1.0, 2]]}),
    "a number that is too large": ("GuardTripped", {"measure": "ratio", "value": 10**400, "limit": 1.0}),
    "a wrong row": ("StackChanged", {"folder": "", "base": "", "position": 0, "edits": [{"id": 3}]}),
    "a wrong state": (
        "StackDelta",
        {"now": {"folder": "", "base": "", "position": 0}, "edits": [], "version": 1, "states": [["gone", 1]]},
    ),
}


@pytest.mark.parametrize(("kind", "values"), BROKEN.values(), ids=BROKEN.keys())
def test_a_known_event_with_a_wrong_value_is_no_event(kind: str, values: dict[str, Any]) -> None:
    with pytest.raises(ev.WrongEventError, match=kind if kind != "StackChanged" else "EditRow"):
        ev.from_line(json.dumps({"type": kind, **values}))


def test_a_number_that_json_cannot_say_is_none_or_no_number_and_whole_ones_are_numbers() -> None:
    tripped = ev.from_line(json.dumps({"type": "GuardTripped", "measure": "ratio", "value": None, "limit": 1}))
    assert tripped == ev.GuardTripped(measure="ratio", value=None, limit=1.0)
    step = ev.from_line(ev.to_line(sample(ev.OptimStep, False)).replace("0.5", "null"))
    assert isinstance(step, ev.OptimStep)
    assert math.isnan(step.loss)


@pytest.mark.parametrize("verb", protocol.VERBS)
def test_every_command_comes_back_from_its_line(verb: Any) -> None:
    command = protocol.Command(verb, "j1", {"prompt": "é\n{}", "count": 2})
    assert "\n" not in protocol.to_line(command)
    assert protocol.from_line(protocol.to_line(command)) == command


@pytest.mark.parametrize(
    "line", ["", "[]", '{"do": "format"}', '{"do": "undo", "job": 1}', '{"do": "undo", "args": []}']
)
def test_a_line_that_is_no_command_is_an_error(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any reason will do
        protocol.from_line(line)
