"""The third version of the edit file: many requests, several modules, C by module; the first two stay as they were."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stack.batches import MODULES, batch, requests, written
from tests.stack.making import D_OUT, edit, factors
from tests.stack.test_hostile import joined, refused, set_to, split
from workbench.edits import Recipe
from workbench.errors import EditError
from workbench.stack import fields, limits
from workbench.stack.bundle import EDIT_FILE
from workbench.stack.editfile import decode_edit, encode_edit, file_name, read_edit, read_header
from workbench.stack.record import SEVERAL, Edit
from workbench.stack.store import Stack

TOUR = Path(__file__).parent.parent.parent / "edits" / "tour"
Change = Callable[[dict[str, Any]], object]


def record_of(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(split(data)[0]["__metadata__"]["workbench"])
    return found


def changed(data: bytes, change: Change) -> bytes:
    header, body = split(data)
    record = record_of(data)
    change(record)
    header["__metadata__"]["workbench"] = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return joined(header, body)


@pytest.mark.parametrize("layers", [(1,), (0, 1, 2)])
@pytest.mark.parametrize("count", [1, 3])
def test_an_edit_of_many_requests_comes_back_from_its_file(count: int, layers: tuple[int, ...], tmp_path: Path) -> None:
    made = batch(count, layers)
    saved, data = written(made, rank=count)
    path = tmp_path / "e.safetensors"
    path.write_bytes(data)
    read, back = read_edit(path)
    assert read == saved == read_header(path)
    assert dataclasses.replace(read, id="", ranks={}) == made
    assert read.ranks == dict.fromkeys(MODULES[: len(layers)], count)
    assert [one.module for one in back] == [*MODULES[: len(layers)]]
    assert encode_edit(read, back)[1] == data


def test_each_module_says_which_c_it_was_made_with() -> None:
    several, one = written(batch(2, (0, 1)), 2)[0], written(batch(2), 2)[0]
    assert several.second_moment == SEVERAL
    assert several.moment_of("h.1") == {"fingerprint": "c-h.1", "ridge": 0.5}
    assert (one.second_moment, one.ridge) == ("c-h.0", 0.5)
    assert edit(second_moment="c", ridge=2.0).moment_of("any") == {"fingerprint": "c", "ridge": 2.0}


def test_methods_that_came_later_are_written_as_the_third_version_and_the_others_as_before() -> None:
    assert record_of(written(batch(1), 1)[1])["version"] == 3
    later = edit(recipe=Recipe(method="c-rome", layer=1), second_moment="c" * 64)
    saved, data = encode_edit(later, factors())
    assert (record_of(data)["version"], len(saved.requests)) == (3, 1)
    assert saved.second_moment == "c" * 64
    for method in ("r-rome", "rome", "p-rome"):
        record = record_of(encode_edit(edit(recipe=Recipe(method=method, layer=1)), factors())[1])
        assert record["version"] == 1
        assert {"request", "second_moment", "ridge"} <= record.keys()
        assert not {"requests", "second_moments"} & record.keys()


def test_the_edits_that_ship_are_written_again_byte_for_byte() -> None:
    for path in sorted(TOUR.glob("*.safetensors")):
        assert encode_edit(*read_edit(path))[1] == path.read_bytes()


def test_a_method_that_takes_one_request_does_not_lose_others_without_a_word() -> None:
    with pytest.raises(EditError, match="several requests, and a method that takes one"):
        encode_edit(edit(requests=requests(2)), factors())


def test_the_name_of_a_file_says_how_many_more_requests_there_are() -> None:
    saved = written(batch(3), 3)[0]
    assert file_name(saved) == f"0001-tower-1-and-2-more-{saved.id[:8]}.safetensors"
    assert file_name(written(batch(1), 1)[0]).startswith("0001-tower-1-")
    long = [dataclasses.replace(one, subject="x" * 80) for one in requests(3)]
    longest = file_name(written(batch(3, requests=tuple(long)), 3)[0])
    assert EDIT_FILE.fullmatch(longest)
    assert "-and-2-more-" in longest


def test_a_stack_takes_it_as_any_other(tmp_path: Path) -> None:
    made = batch(3, (0, 1))
    with Stack.open(tmp_path, write=True, base=made.base) as stack:
        kept = stack.append(made, [factors(0, 3, "h.0")[0], factors(1, 3, "h.1")[0]])
    with Stack.open(tmp_path) as again:
        assert again.line == (kept,)
        assert all(found.ok for found in again.verify())


HOSTILE: dict[str, tuple[Change, str]] = {
    "no requests": (set_to("requests", []), "holds no requests"),
    "requests that are none": (set_to("requests", {}), "holds no requests"),
    "one that is none": (lambda r: r["requests"].append(3), "no valid request"),
    "one of version 1": (lambda r: r.update(request=r.pop("requests")[0]), "the field 'request' is unknown"),
    "said to be version 1": (set_to("version", 1), "the field"),
    "version 1 of a later method": (
        lambda r: r.update(
            version=1,
            request=r.pop("requests")[0],
            second_moment=r.pop("second_moments")["h.0"]["fingerprint"],
            ridge=0.0,
        ),
        "of a method that is not written so",
    ),
    "a method of version 1": (
        lambda r: r.update(recipe=Recipe(layer=1).to_json()),
        "of a method that is not written so",
    ),
    "a method of one request": (
        lambda r: r.update(recipe=Recipe(method="c-rome", layer=1).to_json()),
        "several requests, and a method that takes one",
    ),
    "fewer requests than ranks": (lambda r: r["requests"].pop(), "a higher rank than its requests"),
    "more layers than modules": (
        lambda r: r["recipe"].update(layers=[0, 1]),
        "more or fewer modules than its recipe has layers",
    ),
    "layers out of order": (lambda r: r["recipe"].update(layers=[1, 0]), "no valid recipe"),
    "no second moments": (set_to("second_moments", {}), "second moments of other modules"),
    "one of another module": (
        lambda r: r["second_moments"].update({"h.9": r["second_moments"]["h.0"]}),
        "second moments of other modules",
    ),
    "of nothing that can be a module": (lambda r: r.update(second_moments={"../x": {}}), "module that cannot be one"),
    "a moment without a ridge": (lambda r: r["second_moments"]["h.0"].pop("ridge"), "'ridge' is missing"),
    "a ridge that is no number": (
        lambda r: r["second_moments"]["h.0"].update(ridge=True),
        "ridge that is not a number",
    ),
    "a ridge below nothing": (lambda r: r["second_moments"]["h.0"].update(ridge=-1.0), "ridge that is not a number"),
    "a fingerprint that is too long": (
        lambda r: r["second_moments"]["h.0"].update(fingerprint="x" * (limits.MAX_SHORT + 1)),
        "no proper text for 'fingerprint'",
    ),
    "a setting of another method": (lambda r: r["recipe"].update(mu=0.5), "no valid recipe"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_batch_from_a_stranger_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    change, said = HOSTILE[name]
    assert said in refused(changed(written(batch(3), 3)[1], change), tmp_path)


def test_the_rank_is_at_most_a_side_of_the_module_however_many_requests_there_are(tmp_path: Path) -> None:
    assert written(batch(9), D_OUT)[0].ranks == {"h.0": D_OUT}
    with pytest.raises(EditError, match="a higher rank than its requests"):
        written(batch(9), D_OUT + 1)
    with pytest.raises(EditError, match="a higher rank than its requests"):
        written(batch(2), 3)


def of_requests(count: int) -> bytes:
    """A header that holds so many."""
    one = record_of(written(batch(1), 1)[1])["requests"][0]
    return changed(written(batch(1), 1)[1], set_to("requests", [one] * count))


def test_so_many_requests_are_taken_and_no_more(tmp_path: Path) -> None:
    assert limits.MAX_REQUESTS == 10_000
    taken = tmp_path / "e.safetensors"
    taken.write_bytes(of_requests(limits.MAX_REQUESTS))
    assert len(read_header(taken).requests) == limits.MAX_REQUESTS
    assert "more than 10000 requests" in refused(of_requests(limits.MAX_REQUESTS + 1), tmp_path)


def test_as_many_as_can_be_saved_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "MAX_REQUESTS", 3)
    assert written(batch(3), 3)[0].ranks == {"h.0": 3}
    with pytest.raises(EditError, match="more than 3 requests"):
        written(batch(4), 4)


def test_ten_thousand_requests_as_counterfact_has_them_fit_into_a_header() -> None:
    """2,000 bytes a request, which is what CounterFact's take with their paraphrases and ten neighbours."""
    neighbours = [{"prompt": "x" * 150, "expected": "Paris"}] * 10
    one = requests(1)[0].to_json() | {"paraphrases": ["y" * 150] * 2, "neighbours": neighbours}
    assert len(json.dumps(one)) > 2_000
    text = json.dumps(json.dumps([one] * limits.MAX_REQUESTS))
    assert len(text) < limits.MAX_HEADER // 2


def test_a_newer_version_is_said_to_be_newer(tmp_path: Path) -> None:
    assert "a newer workbench wrote" in refused(changed(written(batch(1), 1)[1], set_to("version", 4)), tmp_path)


def test_an_edit_has_the_first_of_its_requests_at_hand() -> None:
    made: Edit = batch(3)
    assert made.request is made.requests[0]
    assert decode_edit(written(made, 3)[1], "x")[0].request == made.request
