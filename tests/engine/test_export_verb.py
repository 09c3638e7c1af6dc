"""The verb export: what it writes, what it never writes over, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.making import OTHER, REQUEST, drain, weight_bytes
from workbench import events as ev
from workbench.engine.dispatch import dispatch
from workbench.engine.engine import Engine
from workbench.engine.protocol import Command
from workbench.errors import UsageError


@pytest.fixture
def two(engine: Engine) -> Engine:
    drain(engine.apply(REQUEST))
    drain(engine.apply(OTHER))
    return engine


def export(engine: Engine, **args: object) -> ev.Exported:
    *_, last = dispatch(
        engine,
        Command("export", "j", {k: str(v) if isinstance(v, Path) else v for k, v in args.items()}),
        lambda: False,
    )
    assert isinstance(last, ev.Exported)
    return last


@pytest.mark.parametrize(("kind", "count"), [("bundle", 2), ("requests", 2), ("peft", 2), ("merged", 2), ("edit", 1)])
def test_every_kind_is_written_and_told(two: Engine, tmp_path: Path, kind: str, count: int) -> None:
    out, before = tmp_path / "out", weight_bytes(two)
    found = export(two, format=kind, out=out, edit=two.stack.line[0].id)
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    assert (found.format, found.out, found.count) == (kind, str(out), count)
    assert found.bytes == sum(path.stat().st_size for path in files) > 0
    assert weight_bytes(two) == before


def test_one_edit_leaves_as_the_very_bytes_of_its_file(two: Engine, tmp_path: Path) -> None:
    edit = two.stack.line[1]
    export(two, format="edit", out=tmp_path / "one.safetensors", edit=edit.id)
    assert (tmp_path / "one.safetensors").read_bytes() == two.stack.path_of(edit).read_bytes()


def test_requests_take_the_shape_that_is_asked_for(two: Engine, tmp_path: Path) -> None:
    export(two, format="requests", out=tmp_path / "r.json", shape="counterfact")
    assert "requested_rewrite" in json.loads((tmp_path / "r.json").read_text())[0]


@pytest.mark.parametrize("kind", ["bundle", "merged"])
def test_an_export_that_is_there_gives_way_only_when_told(two: Engine, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    export(two, format=kind, out=out)
    with pytest.raises(UsageError, match="is there already"):
        export(two, format=kind, out=out)
    drain(two.undo())
    assert export(two, format=kind, out=out, replace=True).count == (2 if kind == "bundle" else 1)


@pytest.mark.parametrize("kind", ["bundle", "merged"])
def test_what_is_no_export_is_left_alone(two: Engine, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="left alone"):
        export(two, format=kind, out=out, replace=True)
    assert (out / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    "args",
    [
        {"format": "zip", "out": "x"},
        {"format": None, "out": "x"},
        {"format": "bundle"},
        {"format": "bundle", "out": "\0"},
        {"format": "bundle", "out": "~nobody-is-called-so/x"},
        {"format": "requests", "out": "x", "shape": "other"},
        {"format": "edit", "out": "x", "edit": "ffff"},
        {"format": "bundle", "out": "x", "replace": 1},
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    two: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        export(two, **args)
    assert not (tmp_path / "x").exists()


def test_nothing_applied_leaves_nothing_behind(engine: Engine, tmp_path: Path) -> None:
    for kind in ("bundle", "requests", "peft"):
        with pytest.raises(UsageError):
            export(engine, format=kind, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
