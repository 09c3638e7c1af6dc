"""What a stranger's file may hold: just so much is taken, and one more is refused in one sentence."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stack.making import D_IN, D_OUT, MODULE, base, edit, factors
from tests.stack.test_hostile import GOOD, NAME, joined, set_to, split, with_record
from workbench.edits import MAX_PROBES, MAX_TEXT
from workbench.errors import StackError, UsageError
from workbench.stack import container, editfile, files, limits, strictjson
from workbench.stack.editfile import encode_edit, read_edit, read_header
from workbench.stack.index import Index
from workbench.stack.record import Base, check_module
from workbench.stack.store import Stack
from workbench.stack.strictjson import MalformedError, parse

Change = Callable[[dict[str, Any]], object]


def taken(data: bytes, folder: Path) -> bool:
    """Whether the header of `data` is taken; if not, in one sentence that names the file."""
    (folder / NAME).write_bytes(data)
    try:
        read_header(folder / NAME)
    except StackError as error:
        return not error.message.startswith(NAME)
    return True


def padded(length: int) -> bytes:
    """The good file with a header of that many bytes."""
    header, body = split(GOOD)
    text = json.dumps(header).encode()
    return struct.pack("<Q", length) + text + b" " * (length - len(text)) + body


def wide(count: int) -> bytes:
    """An edit of that many modules."""
    names = [f"h.{number}" for number in range(count)]
    known = Base("m", "", "f", "float32", {name: {"shape": [D_IN, D_OUT], "layout": "in,out"} for name in names})
    hashes = {name: {"before": "0" * 64, "after": "1" * 64} for name in names}
    return encode_edit(edit(base=known, weights=hashes), [factors(1, module=name)[0] for name in names])[1]


def text(key: str, length: int) -> bytes:
    return with_record(set_to(key, "x" * length))


def of_base(key: str, value: object) -> bytes:
    return with_record(lambda record: record["base"].update({key: value}))


def request(**changes: object) -> bytes:
    return with_record(lambda record: record["request"].update(changes))


def nested(depth: int) -> bytes:
    """Metrics so deep that the record nests as deeply as that."""
    inner: object = 1
    for _ in range(depth - 1):
        inner = {"a": inner}
    return with_record(set_to("metrics", inner))


def side(length: int) -> bytes:
    """A base that knows one more module, with a side of that length."""
    return with_record(lambda r: r["base"]["modules"].update(other={"shape": [length, 1], "layout": "in,out"}))


CASES: dict[str, tuple[bytes, bytes]] = {
    "header": (padded(limits.MAX_HEADER), padded(limits.MAX_HEADER + 1)),
    "note": (text("note", MAX_TEXT), text("note", MAX_TEXT + 1)),
    "tokenizer": (text("tokenizer", limits.MAX_SHORT), text("tokenizer", limits.MAX_SHORT + 1)),
    "second moment": (text("second_moment", limits.MAX_SHORT), text("second_moment", limits.MAX_SHORT + 1)),
    "base's name": (of_base("name", "x" * limits.MAX_SHORT), of_base("name", "x" * (limits.MAX_SHORT + 1))),
    "revision": (of_base("revision", "x" * limits.MAX_SHORT), of_base("revision", "x" * (limits.MAX_SHORT + 1))),
    "subject": (request(subject="x" * MAX_TEXT), request(subject="x" * (MAX_TEXT + 1))),
    "target": (request(target_new="x" * MAX_TEXT), request(target_new="x" * (MAX_TEXT + 1))),
    "probes": (request(paraphrases=["x"] * MAX_PROBES), request(paraphrases=["x"] * (MAX_PROBES + 1))),
    "templates": (
        with_record(set_to("templates", ["{}"] * limits.MAX_TEMPLATES)),
        with_record(set_to("templates", ["{}"] * (limits.MAX_TEMPLATES + 1))),
    ),
    "template": (
        with_record(set_to("templates", ["{}" + "x" * (MAX_TEXT - 2)])),
        with_record(set_to("templates", ["{}" + "x" * (MAX_TEXT - 1)])),
    ),
    "number": (
        with_record(set_to("number", limits.MAX_NUMBER)),
        with_record(set_to("number", limits.MAX_NUMBER + 1)),
    ),
    "depth": (nested(limits.MAX_DEPTH), nested(limits.MAX_DEPTH + 1)),
    "integer": (
        with_record(set_to("metrics", {"x": limits.MAX_INT - 1})),
        with_record(set_to("metrics", {"x": limits.MAX_INT})),
    ),
    "negative integer": (
        with_record(set_to("metrics", {"x": 1 - limits.MAX_INT})),
        with_record(set_to("metrics", {"x": -limits.MAX_INT})),
    ),
    "side": (side(limits.MAX_SIDE), side(limits.MAX_SIDE + 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_just_so_much_is_taken_and_one_more_is_refused(name: str, tmp_path: Path) -> None:
    good, bad = CASES[name]
    assert taken(good, tmp_path)
    assert not taken(bad, tmp_path)


def test_an_edit_may_change_so_many_modules_and_no_more(tmp_path: Path) -> None:
    assert taken(wide(limits.MAX_MODULES), tmp_path)
    assert limits.MAX_TENSORS == 2 * limits.MAX_MODULES
    header, body = split(wide(limits.MAX_MODULES))
    first = next(name for name in header if name.startswith("base_model"))
    header["base_model.model.one.more.lora_A.weight"] = header[first]
    assert not taken(joined(header, body), tmp_path)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (".".join(["h"] * limits.MAX_MODULE_PARTS), ".".join(["h"] * (limits.MAX_MODULE_PARTS + 1))),
        ("h" * limits.MAX_MODULE_PART, "h" * (limits.MAX_MODULE_PART + 1)),
        ("h." + "h" * limits.MAX_MODULE_PART, "h." + "h" * (limits.MAX_MODULE_PART + 1)),
        ("transformer.h.1.mlp.c_proj", "transformer.h..mlp"),
        ("_h.0", "0.h"),
        ("h", ""),
        ("h", "h/../x"),
        ("h", "h.é"),
        ("h", "h\x1b"),
        ("h", "h."),
        ("h", "h\n"),
    ],
)
def test_a_module_has_a_dotted_path_of_a_bounded_length(good: str, bad: str) -> None:
    assert check_module(good) == good
    with pytest.raises(MalformedError):
        check_module(bad)


@pytest.mark.parametrize(
    ("module", "limit", "value"),
    [(editfile, "MAX_RANK", 3), (container, "MAX_SIDE", D_IN), (container, "MAX_TENSORS", 2)],
)
def test_rank_side_and_tensors_are_held_against_their_limits(
    module: object, limit: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode_edit(edit(), factors(0, rank=3))[1]
    monkeypatch.setattr(module, limit, value)
    assert taken(data, tmp_path)
    monkeypatch.setattr(module, limit, value - 1)
    assert not taken(data, tmp_path)


def test_a_file_is_measured_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / NAME
    path.write_bytes(GOOD)
    monkeypatch.setattr(container, "MAX_FILE", len(GOOD))
    assert read_edit(path)
    monkeypatch.setattr(container, "MAX_FILE", len(GOOD) - 1)
    monkeypatch.setattr(files, "read_exactly", lambda *_: pytest.fail("it was read"))
    with pytest.raises(StackError, match="larger than"):
        read_edit(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stack.json", f"larger than {limits.MAX_INDEX} bytes"),
        ("journal.jsonl", "longer than 64 MiB and is not read; the stack is whole without it"),
    ],
)
def test_an_index_or_journal_that_is_too_long_is_said_and_not_read(name: str, said: str, tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        stack.append(edit(), factors())
    with (tmp_path / name).open("r+b") as file:
        file.truncate(limits.MAX_INDEX + 1)
    with Stack.open(tmp_path) as stack:
        assert said in " ".join(stack.findings)
        assert len(stack.applied) == 1


@pytest.mark.parametrize("field", ["branches", "tags"])
def test_an_index_may_hold_so_many_names_and_no_more(field: str) -> None:
    def encoded(count: int) -> bytes:
        document = json.loads(Index(base=base()).encode())
        document[field] = {f"name-{number}": "a" * 64 for number in range(count)}
        return json.dumps(document).encode()

    assert Index.decode(encoded(limits.MAX_NAMES))
    with pytest.raises(MalformedError):
        Index.decode(encoded(limits.MAX_NAMES + 1))


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.stack.index.MAX_NAMES", 2)
    monkeypatch.setattr("workbench.stack.index.MAX_MODULES", 1)
    other = dataclasses.replace(base(), modules={"transformer.h.2.mlp.c_proj": base().modules[MODULE]})
    elsewhere = edit(base=other, weights={"transformer.h.2.mlp.c_proj": edit().weights[MODULE]})
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        stack.append(edit(), factors())
        for number in range(2):
            stack.tag(f"tag-{number}", stack.line[0].id)
            stack.start_branch(f"branch-{number}")
        before, size = (tmp_path / "stack.json").read_bytes(), (tmp_path / "journal.jsonl").stat().st_size
        monkeypatch.setattr("workbench.stack.index.MAX_BYTES", len(before) + 100)
        attempts: dict[str, Callable[[], object]] = {
            "tags": lambda: stack.tag("tag-2", stack.line[0].id),
            "branches": lambda: stack.start_branch("branch-2"),
            "modules": lambda: stack.append(elsewhere, factors(1, module="transformer.h.2.mlp.c_proj")),
            "bytes": lambda: stack.note(stack.line[0].id, "x" * 200),
        }
        for what, attempt in attempts.items():
            with pytest.raises(UsageError, match=rf"The stack would have \d+ {what}"):
                attempt()
    assert (tmp_path / "stack.json").read_bytes() == before
    assert (tmp_path / "journal.jsonl").stat().st_size == size
    assert not Stack.open(tmp_path).findings


def test_json_is_as_deep_as_the_limit_and_no_deeper() -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        for read in (parse, strictjson.parse_canonical):
            middle = "1" if closing == "}" else ""
            assert read(opening * limits.MAX_DEPTH + middle + closing * limits.MAX_DEPTH) is not None
            for depth in (limits.MAX_DEPTH + 1, 5_000, 200_000):
                with pytest.raises(MalformedError, match="nested too deeply"):
                    read(opening * depth + middle + closing * depth)


def test_every_limit_is_a_documented_number() -> None:
    source = Path(limits.__file__).read_text(encoding="utf-8").splitlines()
    named = [number for number, line in enumerate(source) if line.startswith("MAX_")]
    assert len(named) == len([name for name in vars(limits) if name.startswith("MAX_")]) >= 17
    assert all(source[number + 1].startswith('"""') for number in named)
    assert MODULE
