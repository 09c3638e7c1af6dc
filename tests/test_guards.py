"""A guard: limits with a meaning, read from options and settings, and what is beyond them."""

from __future__ import annotations

import math

import pytest

from workbench.errors import UsageError
from workbench.events import EarlierProbed, from_line, to_line
from workbench.guards import MEASURES, OFF, Guard, alone, measured, of_settings, parse, told, usual


def test_an_edit_within_every_limit_trips_nothing() -> None:
    values = measured(
        ratio=0.1,
        usual_ratio=0.1,
        division_factor=6.7,
        key_norm=14.0,
        perplexity=2.41,
        perplexity_base=2.40,
        neighbours=[True, True, False],
        earlier=EarlierProbed(earlier=3, earlier_asked=3, earlier_held=3, neighbours_asked=2, neighbours_held=1),
    )
    assert values.keys() == MEASURES.keys()
    assert Guard().trips(values) == ()


@pytest.mark.parametrize(
    ("measure", "within", "beyond"),
    [
        ("ratio", 0.5, 0.51),
        ("jump", 5.0, 5.1),
        ("division", 0.05, 0.049),
        ("perplexity", 0.2, 0.201),
        ("neighbours", 0.5, 0.6),
        ("earlier", 0.5, 0.51),
    ],
)
def test_every_limit_is_passed_just_beyond_it(measure: str, within: float, beyond: float) -> None:
    assert Guard().trips({measure: within}) == ()
    (tripped,) = Guard().trips({measure: beyond})
    assert (tripped.measure, tripped.value, tripped.limit) == (measure, beyond, MEASURES[measure].default)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("nothing", [math.nan, math.inf])
def test_what_is_no_number_is_beyond_any_limit_and_says_so_over_the_wire(measure: str, nothing: float) -> None:
    if MEASURES[measure].least:
        nothing = -nothing
    (tripped,) = Guard().trips({measure: nothing})
    assert tripped.value is None
    assert from_line(to_line(tripped)) == tripped
    assert "not a finite number" in told(tripped)


def test_a_part_that_is_just_its_limit_is_within_it() -> None:
    for asked in range(2, 60):
        for lost in range(asked):
            held = asked - lost
            earlier = EarlierProbed(
                earlier=asked, earlier_asked=asked, earlier_held=held, neighbours_asked=0, neighbours_held=0
            )
            values = measured(neighbours=[True] * held + [False] * lost, earlier=earlier)
            assert Guard(neighbours=lost / asked, earlier=lost / asked).trips(values) == ()


def test_a_negative_division_factor_trips() -> None:
    (tripped,) = Guard().trips(measured(division_factor=-3.0, key_norm=14.0))
    assert tripped.measure == "division"


def test_no_limit_no_trip() -> None:
    values = dict.fromkeys(MEASURES, math.nan)
    assert OFF.trips(values) == ()
    assert [one.measure for one in Guard().without(["ratio", "earlier"]).trips(values)] == [
        "jump",
        "division",
        "perplexity",
        "neighbours",
    ]


def test_what_is_usual_is_told_from_three_edits_on() -> None:
    assert usual([0.1, 0.2]) is None
    assert usual([0.1, None, 0.2, math.nan, 0.4]) == 0.2
    assert "jump" not in measured(ratio=0.3, usual_ratio=None)
    assert measured(ratio=0.3, usual_ratio=0.1)["jump"] == pytest.approx(3.0)


def test_many_requests_in_one_edit_are_held_to_what_one_of_them_does() -> None:
    assert alone(1.0, 100) == 0.1
    assert alone(0.3, 1) == 0.3
    assert alone(None, 5) is None


def test_a_part_of_one_prompt_says_nothing() -> None:
    single = EarlierProbed(earlier=1, earlier_asked=1, earlier_held=0, neighbours_asked=0, neighbours_held=0)
    assert measured(neighbours=[False], earlier=single) == {}
    assert measured(neighbours=[False, True, None]) == {"neighbours": 0.5}


def test_perplexity_is_measured_against_the_base() -> None:
    assert measured(perplexity=3.0, perplexity_base=2.0)["perplexity"] == pytest.approx(0.5)
    assert measured(perplexity=math.inf, perplexity_base=2.0)["perplexity"] == math.inf
    assert "perplexity" not in measured(perplexity=3.0)


def test_limits_are_read_as_people_write_them() -> None:
    guard = Guard().changed(parse("ratio=0.25, perplexity=30%,jump=off"))
    assert (guard.ratio, guard.perplexity, guard.jump, guard.earlier) == (0.25, 0.3, None, 0.5)
    assert parse("") == {}


@pytest.mark.parametrize("text", ["ratio", "ratio=", "ratio=much", "size=3", "ratio=-1", "ratio=nan", "jump=1e9"])
def test_what_is_no_limit_is_said(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert error.value.hint


def test_the_wire_keeps_every_limit() -> None:
    guard = Guard(ratio=0.25, jump=None)
    assert Guard.from_json(guard.to_json()) == guard


def test_settings_that_cannot_be_used_are_left_out_and_said() -> None:
    guard, problems = of_settings({"ratio": 0.25, "jump": False, "earlier": True, "size": 3.0, "division": 7.0})
    assert guard == Guard(ratio=0.25, jump=None)
    assert [problem for problem in problems if "size" in problem or "division" in problem] == list(problems)
    assert len(problems) == 2


def test_every_default_lies_in_its_range() -> None:
    assert all(one.low <= one.default <= one.high for one in MEASURES.values())
