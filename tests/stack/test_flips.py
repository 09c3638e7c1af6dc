"""No bit of an edit file can flip, and no byte can be lost or added, without being noticed; every one is tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.batches import batch, written
from tests.stack.making import D_IN, D_OUT, MODULE, base, edit, factors
from tests.stack.thorough import THOROUGH
from workbench.edits import EditRequest, Neighbour, Recipe
from workbench.errors import StackError, VerificationError
from workbench.stack.editfile import decode_edit, encode_edit
from workbench.stack.record import Base
from workbench.stack.store import Stack

NAME = "0001-gift-00000000.safetensors"
TIME = "2026-01-02T03:04:05+00:00"
RARELY = pytest.mark.skipif(not THOROUGH, reason="WORKBENCH_THOROUGH is not set")
TWO = [MODULE, "transformer.h.2.mlp.c_proj"]


def plain() -> bytes:
    """The usual edit."""
    return encode_edit(edit(created=TIME), factors())[1]


def rich() -> bytes:
    """Two modules, ranks above one, text with everything that JSON escapes and much that it does not."""
    text = 'Zoë 北京 \U0001f600 \x00\x1b\x7f\u2028 "quoted" \\u00e9 \\ / \t\n'
    wide = Base(
        "a/b", "main", "f" * 64, "bfloat16", {name: {"shape": [D_OUT, D_IN], "layout": "out,in"} for name in TWO}
    )
    given = edit(
        base=wide,
        created=TIME,
        weights={name: {"before": "0" * 64, "after": "1" * 64} for name in TWO},
        requests=(EditRequest("{} is\n", text, text, text, (text,), (Neighbour(text, text), Neighbour("x", None))),),
        recipe=Recipe(layer=1, lr=1e-6, nll_stop=0.1, template_lengths=((3, 2), (5, 1))),
        templates=("{}", text),
        metrics={"loss": [1e-300, -0.0, 1.5e300, 7, None, True], text: {text: []}},
        note=text,
        ridge=1e-12,
        parent="a" * 64,
        number=12,
    )
    return encode_edit(given, [*factors(1, rank=2), *factors(2, rank=3, module=TWO[1])])[1]


def many() -> bytes:
    """Several requests, in two modules."""
    return written(batch(2, (0, 1)), 2)[1]


def flipped(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """`data` with every one of its bits flipped in turn: byte, bit, the whole."""
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            yield at, bit, bytes(changed)


def noticed(data: bytes) -> bool:
    try:
        decode_edit(data, NAME)
    except (StackError, VerificationError) as error:
        return error.message.startswith(NAME)
    return False


@pytest.mark.parametrize(
    "make",
    [plain, *(pytest.param(make, marks=RARELY) for make in (rich, many))],
)
def test_every_flip_of_one_bit_is_noticed(make: object) -> None:
    assert callable(make)
    data = make()
    assert not noticed(data)
    assert sum(1 for _ in flipped(data)) == 8 * len(data)
    assert [(at, bit) for at, bit, changed in flipped(data) if not noticed(changed)] == []


@pytest.mark.parametrize("make", [plain, rich, many])
def test_every_truncation_is_noticed(make: object) -> None:
    assert callable(make)
    data = make()
    assert [length for length in range(len(data)) if not noticed(data[:length])] == []


@pytest.mark.parametrize("make", [plain, rich, many])
def test_every_byte_left_out_or_put_in_is_noticed(make: object) -> None:
    assert callable(make)
    data = make()
    assert [at for at in range(len(data)) if not noticed(data[:at] + data[at + 1 :])] == []
    assert [at for at in range(len(data) + 1) if not noticed(data[:at] + b" " + data[at:])] == []
    assert not any(not noticed(data + tail) for tail in (b"\0", b" ", b"\0" * 8, data))


def test_verify_names_the_file_in_which_a_bit_has_flipped(tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()) as stack:
        paths = [stack.path_of(stack.append(edit(f"subject {number}"), factors(number))) for number in range(3)]
    data = paths[1].read_bytes()
    for at, _, changed in flipped(data):
        if at % 41:
            continue
        paths[1].write_bytes(changed)
        with Stack.open(tmp_path) as stack:
            bad = [checked for checked in stack.verify() if not checked.ok]
        assert paths[1].name in [checked.file for checked in bad]
        assert paths[0].name not in [checked.file for checked in bad]
    paths[1].write_bytes(data)
    with Stack.open(tmp_path) as stack:
        assert all(checked.ok for checked in stack.verify())
