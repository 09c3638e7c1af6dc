"""What is said before an edit: each thing on a request that has it, little on one that has none; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.damage import edited
from tests.engine.by_hand import said_by_base
from tests.engine.making import OTHER, REQUEST, drain, make_model, open_on, weight_bytes
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine import ordinary_keys
from workbench.engine.dispatch import dispatch
from workbench.engine.engine import Engine
from workbench.engine.ordinary_keys import ordinary_range
from workbench.engine.protocol import Command
from workbench.errors import UsageError
from workbench.models.kept import kept_for

FIRST = EditRequest("{} is an old city", "I", "Irish")
"""Its subject is one token, with nothing before it."""


def found(engine: Engine, request: EditRequest, **changes: object) -> dict[str, ev.Preflight]:
    events, said = drain(engine.preflight(request, dict(changes)))
    assert events == [*said]
    assert len({one.topic for one in said}) == len(said)
    return {one.topic: one for one in said}


def test_an_ordinary_request_has_nothing_said_of_it(engine: Engine) -> None:
    assert not [one for one in found(engine, OTHER).values() if one.severity != "note"]


def test_looking_ahead_changes_nothing(engine: Engine) -> None:
    drain(engine.apply(OTHER))
    before, index = weight_bytes(engine), (engine.stack.folder / "stack.json").read_bytes()
    found(engine, REQUEST)
    assert weight_bytes(engine) == before
    assert (engine.stack.folder / "stack.json").read_bytes() == index


@pytest.mark.parametrize(
    ("method", "severity"), [("r-rome", "warning"), ("p-rome", "warning"), ("rome", "danger"), ("emmet", "warning")]
)
def test_a_subject_that_is_the_first_token_is_worst_for_rome(engine: Engine, method: str, severity: str) -> None:
    said = found(engine, FIRST, method=method)["first-token"]
    assert said.severity == severity
    assert "“I” is the first token" in said.message


def test_c_rome_has_no_trouble_with_a_first_token(engine: Engine) -> None:
    assert "first-token" not in found(engine, FIRST, method="c-rome")
    assert "first-token" not in found(engine, replace(FIRST, prompt="Today {} is"))


def test_a_subject_that_is_the_only_token_is_said_to_be(engine: Engine) -> None:
    said = found(engine, replace(FIRST, prompt="{}"), method="p-rome")["first-token"]
    assert "first and only token" in said.message
    assert said.severity == "danger"


def test_a_token_behind_the_beginning_of_text_is_not_the_first(tmp_path: Path) -> None:
    engine = open_on(make_model(tmp_path / "llama", "llama"), tmp_path / "stack")
    assert "first-token" not in found(engine, replace(FIRST, prompt="{}"))
    engine.close()


def test_what_the_model_says_already_needs_no_edit(engine: Engine) -> None:
    (request,) = said_by_base(engine.core.loaded.model, engine.core.loaded.tokenizer, 1)
    said = found(engine, request)["known"]
    assert said.severity == "warning"
    assert said.value is not None
    assert 0 < said.value <= 1
    assert "known" not in found(engine, OTHER)


def test_an_earlier_edit_about_the_same_fact_is_named(engine: Engine) -> None:
    drain(engine.apply(REQUEST))
    other = replace(REQUEST, prompt="the mother  tongue of {} is", target_new="Greek")
    said = found(engine, other)
    assert (said["overwrites"].severity, said["overwrites"].edit) == ("warning", engine.stack.line[0].id)
    assert "collision" not in said  # the same edit is named once
    assert "known" in found(engine, REQUEST) or "repeated-edit" in found(engine, REQUEST)
    drain(engine.undo())
    assert "overwrites" not in found(engine, other)


def test_a_key_that_an_earlier_edit_has_is_a_collision(engine: Engine) -> None:
    drain(engine.apply(REQUEST))
    other = EditRequest("The mother tongue of {} was once", "Naguib Mahfouz", "Greek")
    said = found(engine, other)["collision"]
    assert said.edit == engine.stack.line[0].id
    assert said.value is not None
    assert abs(said.value) > 0.6
    alone = found(engine, other, second_moment=False)
    assert "collision" in alone
    assert "collision" not in found(engine, replace(other, subject="Q"), layer=3, second_moment=False)


def test_a_collision_has_the_cosine_of_the_keys_under_c(engine: Engine) -> None:
    import torch

    from workbench.editing.keys import read_keys
    from workbench.editing.lookup import lookup_rows

    drain(engine.apply(REQUEST, {"method": "p-rome"}))  # u is made of the bare key
    core = engine.core
    other = EditRequest("The mother tongue of {} was once", "Naguib Mahfouz", "Greek")
    said = found(engine, other)["collision"]
    site = core.site(1)
    with core.live.at_base():
        rows = [
            *lookup_rows(core.loaded.tokenizer, REQUEST, ("{}",)),
            *lookup_rows(core.loaded.tokenizer, other, ("{}",)),
        ]
        keys = read_keys(core.loaded.model, site, rows).inputs.double()
    inverse = torch.linalg.inv(core.second_moment(site).C.double())
    dots = keys @ inverse @ keys.T
    assert said.value == pytest.approx(float(dots[0, 1] / (dots[0, 0] * dots[1, 1]).sqrt()), abs=1e-3)


def test_a_long_target_is_counted_in_tokens(engine: Engine) -> None:
    said = found(engine, replace(OTHER, target_new="an old silver trumpet, and a very young violin"))["long-target"]
    assert said.severity == "warning"
    assert said.value is not None
    assert said.value >= 9
    assert "long-target" not in found(engine, replace(OTHER, target_new="a"))


def test_a_subject_that_stands_twice_and_a_probe_that_names_the_answer_are_noted(engine: Engine) -> None:
    twice = EditRequest("Clara said that {} plays the", "Clara", "violin", None, ("The violin of Clara is a",))
    said = found(engine, twice)
    assert (said["repeated"].severity, said["repeated"].value) == ("note", 2.0)
    assert said["leak"].severity == "note"
    assert "leak" not in found(engine, replace(twice, paraphrases=("The violinist Clara plays the",)))


def test_a_key_far_from_ordinary_ones_is_told_with_its_distance(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.editing.preflight import KeyRange
    from workbench.engine import preflight_keys

    def ordinary(low: float, high: float, largest: float, keys: int = 50) -> None:
        monkeypatch.setattr(preflight_keys, "ordinary_range", lambda *_: KeyRange(low, high, largest, keys))

    ordinary(0.0, 0.1, 0.2)
    far = found(engine, OTHER)["far-key"]
    assert (far.severity, far.limit) == ("warning", 0.1)
    assert "beyond every one of 50" in far.message
    ordinary(0.0, 0.1, 1e9)
    assert found(engine, OTHER)["far-key"].severity == "note"
    ordinary(1e8, 1e9, 1e9)
    assert found(engine, OTHER)["common-key"].severity == "note"
    ordinary(0.0, 0.1, 0.1, 0)
    assert "root of their mean square" in found(engine, OTHER)["far-key"].message
    ordinary(0.0, 1e9, 1e9)
    assert not {"far-key", "common-key"} & found(engine, OTHER).keys()


def test_without_c_nothing_is_said_of_distances(tmp_path: Path) -> None:
    engine = open_on(make_model(tmp_path / "bare", moment=False), tmp_path / "stack")
    assert not {"far-key", "common-key", "collision"} & found(engine, OTHER).keys()
    engine.close()


def test_while_one_types_a_large_c_is_not_factorised(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.engine import preflight_keys

    monkeypatch.setattr(preflight_keys, "QUICK", 1)
    site = engine.core.site(1)
    drain(engine.preflight(OTHER, quick=True))
    assert not engine.core.is_factorised(site)
    drain(engine.preflight(OTHER))
    assert engine.core.is_factorised(site)


def test_an_edit_that_cannot_be_made_is_one_more_thing_to_say(engine: Engine) -> None:
    said = found(engine, replace(OTHER, prompt="a " * 900 + "{}"))
    assert (said["impossible"].severity, len(said)) == ("danger", 1)


def test_every_edit_says_first_what_speaks_against_it(engine: Engine) -> None:
    events, made = drain(engine.apply(FIRST))
    assert made
    told = [event for event in events if isinstance(event, ev.Preflight)]
    assert "first-token" in {event.topic for event in told}
    assert events.index(told[-1]) < next(i for i, event in enumerate(events) if isinstance(event, ev.StageStarted))


def test_an_edit_that_cannot_be_made_fails_in_its_own_words(engine: Engine) -> None:
    events, made = drain(engine.apply(replace(OTHER, prompt="a " * 900 + "{}")))
    assert not made
    assert not [event for event in events if isinstance(event, ev.Preflight)]
    assert isinstance(events[-1], ev.EditFailed)


def test_it_is_asked_over_the_wire(engine: Engine) -> None:
    request = FIRST.to_json()
    events = [*dispatch(engine, Command("preflight", "a", {"request": request, "quick": True}), lambda: False)]
    assert "first-token" in {event.topic for event in events if isinstance(event, ev.Preflight)}
    with pytest.raises(UsageError):
        list(dispatch(engine, Command("preflight", "a", {"request": {}}), lambda: False))


def test_ordinary_keys_are_measured_once_and_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    core = engine.core
    site = core.site(1)
    moment = core.second_moment(site)
    first = ordinary_range(core, site, moment)
    ids = core.loaded.tokenizer([*core.held_out])["input_ids"]
    assert first.keys == sum(len(row) for row in ids)
    assert 0 < first.low < first.high <= first.largest
    monkeypatch.setattr(ordinary_keys, "capture", lambda *_: pytest.fail("the text was read again"))
    assert ordinary_range(core, site, moment) == first


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"{}",
        edited(lambda kept: kept["key_range"].update(low=1e9)),
        edited(lambda kept: kept["key_range"].update(low=-1.0)),
        edited(lambda kept: kept["key_range"].update(keys=0)),
        edited(lambda kept: kept["key_range"].update(keys=True)),
        edited(lambda kept: kept["key_range"].update(high="far")),
        edited(lambda kept: kept["key_range"].update(more=1)),
        edited(lambda kept: kept.update(key_range=[1, 2])),
        edited(lambda kept: kept["about"].update(module="another")),
    ],
)
def test_a_kept_range_that_is_odd_is_measured_anew(engine: Engine, damage: Callable[[bytes], bytes]) -> None:
    core = engine.core
    site = core.site(1)
    moment = core.second_moment(site)
    folder = kept_for(core.loaded.fingerprint) / "key_range"
    for other in folder.glob("*.json"):  # of a test before this one
        other.unlink()
    good = ordinary_range(core, site, moment)
    (file,) = folder.glob("*.json")
    intact = file.read_bytes()
    file.write_bytes(damage(intact))
    assert ordinary_range(core, site, moment) == good
    assert file.read_bytes() == intact


def test_a_model_without_held_out_text_is_held_against_c_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    core = engine.core
    monkeypatch.setattr(core, "held_out", ())
    site = core.site(1)
    assert ordinary_range(core, site, core.second_moment(site)).keys == 0


def test_edits_made_together_are_looked_at_before_the_first_is_made(engine: Engine) -> None:
    events, count = drain(engine.apply_together([OTHER, FIRST]))
    assert count == 2
    told = [event for event in events if isinstance(event, ev.Preflight) and event.topic == "first-token"]
    assert [event.prompt for event in told] == [FIRST.text]
    assert events.index(told[0]) < next(i for i, event in enumerate(events) if isinstance(event, ev.EditStarted))


def test_a_batch_is_looked_at_request_by_request_and_a_large_one_only_at_its_beginning(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.engine import preflight

    asked = [replace(FIRST, target_new=word) for word in ("Irish", "Greek", "Arabic")]
    monkeypatch.setattr(preflight, "TOLD", 2)
    told = [*preflight.told(engine.core, asked, engine.core.recipe({"method": "emmet"}))]
    assert [one.topic for one in told].count("first-token") == 2
