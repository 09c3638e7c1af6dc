"""A file from a stranger is refused with one plain sentence that names it, whatever is wrong with it."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stack.making import D_IN, D_OUT, MODULE, edit, factors
from workbench.errors import StackError, VerificationError
from workbench.stack import container
from workbench.stack.editfile import decode_edit, encode_edit, read_edit, read_header
from workbench.stack.record import FORMAT
from workbench.stack.strictjson import canonical

NAME = "0001-gift-00000000.safetensors"
A, B = f"base_model.model.{MODULE}.lora_A.weight", f"base_model.model.{MODULE}.lora_B.weight"
WRITTEN, GOOD = encode_edit(edit(created="2026-01-02T03:04:05+00:00"), factors())


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict[str, Any] | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def with_header(change: Callable[[dict[str, Any]], object]) -> bytes:
    header, body = split(GOOD)
    change(header)
    return joined(header, body)


def with_record(change: Callable[[dict[str, Any]], object]) -> bytes:
    header, body = split(GOOD)
    record = json.loads(header["__metadata__"]["workbench"])
    change(record)
    header["__metadata__"]["workbench"] = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return joined(header, body)


def with_text(old: str, new: str) -> bytes:
    header, body = split(GOOD)
    text = header["__metadata__"]["workbench"]
    assert old in text
    header["__metadata__"]["workbench"] = text.replace(old, new, 1)
    return joined(header, body)


def refused(data: bytes, folder: Path) -> str:
    path = folder / NAME
    path.write_bytes(data)
    with pytest.raises(StackError) as caught:
        read_edit(path)
    assert caught.value.message.startswith(NAME)
    assert caught.value.message.endswith(".")
    assert caught.value.message.count("\n") == 0
    assert caught.value.exit_code == 5
    return caught.value.message


def set_to(key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.__setitem__(key, value)


CONTAINERS = {
    "empty": b"",
    "seven bytes": GOOD[:7],
    "only a length": GOOD[:8],
    "header cut short": GOOD[:100],
    "last byte missing": GOOD[:-1],
    "a byte too many": GOOD + b"\0",
    "huge header length": struct.pack("<Q", 2**63) + GOOD[8:],
    "header length beyond the file": struct.pack("<Q", len(GOOD)) + GOOD[8:],
    "a pickle": b"\x80\x04\x95" + b"x" * 200,
    "not JSON": joined(b"{nonsense", b""),
    "a list": joined(b"[]", b""),
    "padded in front": joined(b" " + json.dumps(split(GOOD)[0]).encode(), split(GOOD)[1]),
    "not UTF-8": joined(b'{"\xff":1}', b""),
    "deep nesting": joined(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""),
    "NaN": joined(b'{"a":NaN}', b""),
    "infinity": joined(b'{"a":1e999}', b""),
    "huge integer": joined(b'{"a":' + b"9" * 5000 + b"}", b""),
    "same key twice": joined(json.dumps(split(GOOD)[0]).encode()[:-1] + b',"__metadata__":{}}', split(GOOD)[1]),
    "no metadata": with_header(lambda h: h.pop("__metadata__")),
    "metadata not text": with_header(set_to("__metadata__", {"format": 1})),
    "more metadata": with_header(lambda h: h["__metadata__"].update(extra="x")),
    "another format": with_header(lambda h: h["__metadata__"].update(format="np")),
    "no record": with_header(lambda h: h["__metadata__"].pop("workbench")),
    "another dtype": with_header(lambda h: h[A].update(dtype="F16")),
    "a vector": with_header(lambda h: h[A].update(shape=[D_IN])),
    "an empty side": with_header(lambda h: h[A].update(shape=[0, D_IN])),
    "a negative side": with_header(lambda h: h[A].update(shape=[-1, -D_IN])),
    "a side that is true": with_header(lambda h: h[A].update(shape=[True, D_IN])),
    "a huge side": with_header(lambda h: h[A].update(shape=[2**62, 2**62])),
    "shape and size disagree": with_header(lambda h: h[A].update(shape=[1, D_IN + 1])),
    "overlap": with_header(lambda h: h[B].update(data_offsets=[0, 4 * D_OUT])),
    "a gap": with_header(lambda h: h[B].update(data_offsets=[4 * D_IN + 4, 4 * D_IN + 4 + 4 * D_OUT])),
    "offsets backwards": with_header(lambda h: h[A].update(data_offsets=[4 * D_IN, 0])),
    "a tensor missing": with_header(lambda h: h.pop(B)),
    "a tensor's fields missing": with_header(lambda h: h[A].pop("shape")),
    "a tensor's field too many": with_header(lambda h: h[A].update(more=1)),
    "a tensor that is text": with_header(set_to(A, "x")),
    "a tensor of another name": with_header(lambda h: h.update({"weight": h.pop(A)})),
    "a module outside": with_header(lambda h: h.update({"base_model.model.../x.lora_A.weight": h.pop(A)})),
    "no tensors": joined({"__metadata__": split(GOOD)[0]["__metadata__"]}, b""),
    "too many tensors": joined({"__metadata__": {}, **{f"t{i}": {} for i in range(600)}}, b""),
}

RECORDS = {
    "not an object": with_header(lambda h: h["__metadata__"].update(workbench="[]")),
    "not JSON": with_header(lambda h: h["__metadata__"].update(workbench="{")),
    "nested deeply": with_header(lambda h: h["__metadata__"].update(workbench="[" * 50_000)),
    "NaN": with_text('"ridge":0.0', '"ridge":NaN'),
    "spaces": with_text('"ridge":0.0', '"ridge": 0.0'),
    "another spelling": with_text('"ridge":0.0', '"ridge":0.00'),
    "same key twice": with_text('"ridge":0.0', '"ridge":0.0,"ridge":0.0'),
    "half a surrogate pair": with_text("Eiffel", "\\ud800"),
    "version missing": with_record(lambda r: r.pop("version")),
    "version zero": with_record(set_to("version", 0)),
    "version text": with_record(set_to("version", "1")),
    "field missing": with_record(lambda r: r.pop("templates")),
    "field too many": with_record(set_to("evil", 1)),
    "id short": with_record(set_to("id", "abc")),
    "id a number": with_record(set_to("id", 5)),
    "id a path": with_record(set_to("id", "../" * 21 + "a")),
    "parent a list": with_record(set_to("parent", [])),
    "number zero": with_record(set_to("number", 0)),
    "number true": with_record(set_to("number", True)),
    "number huge": with_record(set_to("number", 10**15)),
    "request text": with_record(set_to("request", "x")),
    "request without a slot": with_record(lambda r: r["request"].update(prompt="x")),
    "request too long": with_record(lambda r: r["request"].update(subject="x" * 5000)),
    "recipe unknown method": with_record(lambda r: r["recipe"].update(method="evil")),
    "recipe unknown field": with_record(lambda r: r["recipe"].update(evil=1)),
    "recipe negative": with_record(lambda r: r["recipe"].update(steps=-1)),
    "templates none": with_record(set_to("templates", [])),
    "templates numbers": with_record(set_to("templates", [1])),
    "templates too many": with_record(set_to("templates", ["{}"] * 300)),
    "ridge negative": with_record(set_to("ridge", -1.0)),
    "ridge text": with_record(set_to("ridge", "0")),
    "tokenizer a number": with_record(set_to("tokenizer", 1)),
    "base missing": with_record(set_to("base", None)),
    "base without a field": with_record(lambda r: r["base"].pop("dtype")),
    "base modules a list": with_record(lambda r: r["base"].update(modules=[])),
    "base module a path": with_record(
        lambda r: r["base"]["modules"].update({"../x": {"shape": [1, 1], "layout": "in,out"}})
    ),
    "module shape": with_record(lambda r: r["base"]["modules"][MODULE].update(shape=[D_IN])),
    "module other shape": with_record(lambda r: r["base"]["modules"][MODULE].update(shape=[D_OUT, D_IN])),
    "module layout": with_record(lambda r: r["base"]["modules"][MODULE].update(layout="up,down")),
    "module unknown to the base": with_record(lambda r: r["base"].update(modules={})),
    "weights none": with_record(set_to("weights", {})),
    "weights list": with_record(set_to("weights", [])),
    "weights not a hash": with_record(lambda r: r["weights"][MODULE].update(after="x")),
    "weights half": with_record(lambda r: r["weights"][MODULE].pop("after")),
    "metrics list": with_record(set_to("metrics", [])),
    "made_by text": with_record(set_to("made_by", "me")),
    "metrics nested deeply": with_record(set_to("metrics", json.loads('{"a":' * 40 + "1" + "}" * 40))),
    "created nonsense": with_record(set_to("created", "yesterday")),
    "note too long": with_record(set_to("note", "x" * 5000)),
    "note a number": with_record(set_to("note", 1)),
}


def test_the_good_file_is_good(tmp_path: Path) -> None:
    assert decode_edit(GOOD, NAME)[0] == WRITTEN
    assert decode_edit(joined(*split(GOOD)), NAME)[0] == WRITTEN


@pytest.mark.parametrize("data", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_a_container_that_is_not_sound_is_refused(data: bytes, tmp_path: Path) -> None:
    refused(data, tmp_path)


@pytest.mark.parametrize("data", RECORDS.values(), ids=RECORDS.keys())
def test_a_record_that_is_not_sound_is_refused_by_its_header(data: bytes, tmp_path: Path) -> None:
    refused(data, tmp_path)
    with pytest.raises(StackError, match=NAME):
        read_header(tmp_path / NAME)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_factors_that_are_not_finite_are_refused(number: float, tmp_path: Path) -> None:
    assert "not finite" in refused(GOOD[:-4] + struct.pack("<f", number), tmp_path)


def test_a_newer_format_is_refused_with_the_advice_to_update(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(with_record(set_to("version", FORMAT + 1)))
    with pytest.raises(StackError, match="newer workbench") as caught:
        read_header(path)
    assert caught.value.hint == "Update workbench."


def test_a_readable_file_with_another_content_is_not_the_edit_it_says_it_is(tmp_path: Path) -> None:
    for data in (
        with_record(lambda r: r["request"].update(target_new="Atlantis")),
        with_record(set_to("note", "hello")),
        with_record(set_to("id", "0" * 64)),
        GOOD[:-4] + struct.pack("<f", 1.0),
    ):
        (tmp_path / NAME).write_bytes(data)
        with pytest.raises(VerificationError, match=NAME) as caught:
            read_edit(tmp_path / NAME)
        assert caught.value.exit_code == 5


def test_swapping_two_equal_sized_factors_is_noticed(tmp_path: Path) -> None:
    _, data = encode_edit(edit(), factors(0, rank=2))
    header, body = split(data)
    header[A], header[B] = header[B], header[A]
    with pytest.raises(StackError):
        decode_edit(joined(header, body), NAME)


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "dangling link"])
def test_something_else_in_a_files_place_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / NAME
    (tmp_path / "target").write_bytes(GOOD)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / ("target" if kind == "link" else "nowhere"))
    for read in (read_header, read_edit):
        with pytest.raises(StackError, match=NAME):
            read(path)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="missing"):
        read_edit(tmp_path / NAME)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with path.open("wb") as file:
        file.write(GOOD)
        file.truncate(container.MAX_FILE + 1)
    for read in (read_header, read_edit):
        with pytest.raises(StackError, match="larger than"):
            read(path)


def test_no_byte_can_change_without_being_noticed() -> None:
    content = canonical({**WRITTEN.to_json(), "id": WRITTEN.id})
    silent = 0
    for at in range(len(GOOD)):
        for mask in (0x01, 0x20, 0x80):
            data = bytearray(GOOD)
            data[at] ^= mask
            try:
                read, back = decode_edit(bytes(data), NAME)
            except (StackError, VerificationError):
                continue
            silent += 1
            assert canonical({**read.to_json(), "id": read.id}) == content
            assert back[0].a.tobytes() == factors()[0].a.tobytes()
            assert back[0].b.tobytes() == factors()[0].b.tobytes()
    assert silent <= 8 * 3
