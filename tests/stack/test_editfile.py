"""An edit file says all about one edit, any safetensors library reads it, and its id is its content's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from tests.stack.making import D_IN, D_OUT, MODULE, base, edit, factors
from workbench.edits import EditRequest, Neighbour, Recipe
from workbench.errors import EditError, StackError, VerificationError
from workbench.stack.editfile import encode_edit, file_name, read_edit, read_header
from workbench.stack.record import Base, Factors


def saved(folder: Path, name: str = "edit.safetensors") -> Path:
    path = folder / name
    path.write_bytes(encode_edit(edit(), factors())[1])
    return path


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    request = EditRequest(
        "The mother tongue of {} is",
        "Zoë 北京\x1b[31m",
        " français",
        None,
        ("Zoë speaks",),
        (Neighbour("Bob speaks", "x"),),
    )
    recipe = Recipe(method="p-rome", layer=3, lr=0.2, nll_stop=0.1, template_lengths=((3, 2),))
    given = edit(
        requests=(request,),
        recipe=recipe,
        templates=("{}", "Once. {}"),
        ridge=1e-3,
        note="line\nbreak \x00",
        second_moment="c" * 64,
        parent="a" * 64,
        number=7,
    )
    written, data = encode_edit(given, factors(3, rank=2))
    path = tmp_path / "e.safetensors"
    path.write_bytes(data)
    read, back = read_edit(path)
    assert read == written == read_header(path)
    assert dataclasses.replace(read, id="", ranks={}, created="") == given
    assert read.ranks == {MODULE: 2}
    assert np.array_equal(back[0].a, factors(3, rank=2)[0].a)
    assert np.array_equal(back[0].b, factors(3, rank=2)[0].b)


def test_any_safetensors_library_reads_it_as_a_lora_payload(tmp_path: Path) -> None:
    path = saved(tmp_path)
    tensors = load_file(path)
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        f"base_model.model.{MODULE}.lora_A.weight": (1, D_IN),
        f"base_model.model.{MODULE}.lora_B.weight": (D_OUT, 1),
    }
    with safe_open(path, "np") as file:
        assert file.metadata()["format"] == "pt"
        record = json.loads(file.metadata()["workbench"])
    assert record["id"] == read_header(path).id
    assert record["request"]["subject"] == "Eiffel Tower"
    assert record["version"] == 1


def test_the_same_edit_has_the_same_bytes() -> None:
    fixed = edit(created="2026-01-02T03:04:05+00:00")
    assert encode_edit(fixed, factors())[1] == encode_edit(fixed, factors())[1]


@pytest.mark.parametrize(
    "other",
    [
        {"note": "x"},
        {"ridge": 1.0},
        {"parent": "a" * 64},
        {"number": 2},
        {"metrics": {}},
        {"templates": ("{}", "a {}")},
        {"recipe": Recipe(layer=1, seed=5)},
        {"created": "2026-01-02T03:04:06+00:00"},
    ],
)
def test_the_id_depends_on_every_part_of_the_record(other: dict[str, Any]) -> None:
    fixed = edit(created="2026-01-02T03:04:05+00:00")
    assert encode_edit(fixed, factors())[0].id != encode_edit(dataclasses.replace(fixed, **other), factors())[0].id


def test_the_id_depends_on_every_factor() -> None:
    fixed = edit(created="2026-01-02T03:04:05+00:00")
    assert encode_edit(fixed, factors(0))[0].id != encode_edit(fixed, factors(1))[0].id


def test_the_id_can_be_derived_by_anyone_from_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with safe_open(path, "np") as file:
        record = json.loads(file.metadata()["workbench"])
        parts = []
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name)
            parts += [json.dumps([name, *tensor.shape], separators=(",", ":")).encode(), tensor.tobytes()]
    ident = record.pop("id")
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    message = b"".join(len(part).to_bytes(8, "little") + part for part in (text.encode(), *parts))
    assert hashlib.sha256(b"workbench-edit-1\0" + message).hexdigest() == ident


def test_numbers_that_json_lacks_are_kept_as_null() -> None:
    written, _ = encode_edit(edit(metrics={"p": float("nan"), "trace": (1.0, float("inf"))}), factors())
    assert written.metrics == {"p": None, "trace": [1.0, None]}


def test_several_modules_in_one_edit_are_read_in_order_of_name(tmp_path: Path) -> None:
    names = ["h.2.fc", "h.1.fc"]
    wide = Base("m", "", "f", "float32", {n: {"shape": [D_OUT, D_IN], "layout": "out,in"} for n in names})
    hashes = {n: {"before": "0" * 64, "after": "1" * 64} for n in names}
    parts = [factors(i, rank=i + 1, module=n)[0] for i, n in enumerate(names)]
    path = tmp_path / "e.safetensors"
    path.write_bytes(encode_edit(edit(base=wide, weights=hashes), parts)[1])
    read, back = read_edit(path)
    assert [f.module for f in back] == sorted(names)
    assert read.ranks == {"h.1.fc": 2, "h.2.fc": 1}
    assert np.array_equal(back[1].a, parts[0].a)


@pytest.mark.parametrize(
    ("subject", "slug"),
    [
        ("Eiffel Tower", "eiffel-tower"),
        ("../../etc/passwd", "etc-passwd"),
        ("北京", "edit"),
        ("Zoë O'Neil", "zoe-o-neil"),
        ("con", "con"),
        ("a" * 300, "a" * 40),
        ("\x1b[2J\n", "2j"),
    ],
)
def test_file_names_are_safe_on_any_file_system(subject: str, slug: str) -> None:
    written, _ = encode_edit(edit(subject, number=12), factors())
    assert file_name(written) == f"0012-{slug}-{written.id[:8]}.safetensors"


@pytest.mark.parametrize(
    "bad",
    [
        Factors(MODULE, np.full((1, D_IN), np.nan, np.float32), np.ones((D_OUT, 1), np.float32)),
        Factors(MODULE, np.full((1, D_IN), np.inf, np.float32), np.ones((D_OUT, 1), np.float32)),
        Factors(MODULE, np.ones((1, D_IN + 1), np.float32), np.ones((D_OUT, 1), np.float32)),
        Factors(MODULE, np.ones((2, D_IN), np.float32), np.ones((D_OUT, 1), np.float32)),
        Factors(MODULE, np.ones(D_IN, np.float32), np.ones((D_OUT, 1), np.float32)),
        Factors(MODULE, np.ones((1, D_IN), np.float64), np.ones((D_OUT, 1), np.float32)),
        Factors("transformer.h.9.mlp.c_proj", np.ones((1, D_IN), np.float32), np.ones((D_OUT, 1), np.float32)),
    ],
)
def test_an_update_that_could_not_be_read_back_is_not_written(bad: Factors) -> None:
    with pytest.raises(EditError, match="cannot be saved"):
        encode_edit(edit(), [bad])


def test_a_record_that_json_cannot_hold_is_not_written() -> None:
    for metrics in ({"x": object()}, {"x": "\ud800"}, {"x": 2**70}):
        with pytest.raises(EditError, match="cannot be saved"):
            encode_edit(edit(metrics=metrics), factors())
    with pytest.raises(EditError, match="cannot be saved"):
        encode_edit(edit(), [])
    with pytest.raises(EditError, match="cannot be saved"):
        encode_edit(edit(base=base(name="x" * 9_000_000)), factors())


def test_a_header_is_read_without_its_factors(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(data[:length] + b"\xff" * (len(data) - length))
    assert read_header(path).request.subject
    with pytest.raises((StackError, VerificationError)):
        read_edit(path)
