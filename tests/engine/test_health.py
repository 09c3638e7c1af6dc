"""Health in numbers: each is held against one computed by hand, and nothing is changed by measuring."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.by_hand import HASHES, LAYER, Planned, plant
from tests.engine.making import OTHER, REQUEST, drain, weight_bytes
from workbench import events as ev
from workbench.editing.cancel import Cancelled
from workbench.edits import EditRequest, Recipe, imported_request
from workbench.engine.engine import Engine
from workbench.engine.health.along import along
from workbench.engine.health.cloze import Cloze, Item, items_for, read_items
from workbench.engine.health.colliding import collisions
from workbench.engine.health.drifting import moved, recorded
from workbench.engine.health.measure import measure
from workbench.engine.health.retaining import Fact, facts_of, forgetting, least_squares, retained, sampled
from workbench.engine.health.spectral import spectral_norm
from workbench.engine.states import state_of
from workbench.errors import UsageError, WorkbenchError
from workbench.stack.record import Base, Edit, Factors

PLAIN = Recipe()


def never() -> bool:
    return False


def factors(ranks: list[int], d_in: int, d_out: int, seed: int = 0) -> list[Factors]:
    draw = np.random.default_rng(seed)
    return [
        Factors("m", draw.standard_normal((r, d_in)).astype("float32"), draw.standard_normal((d_out, r)).astype("f4"))
        for r in ranks
    ]


@settings(max_examples=40, deadline=None)
@given(
    ranks=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    d_in=st.integers(2, 40),
    d_out=st.integers(2, 30),
    seed=st.integers(0, 99),
)
def test_the_spectral_norm_of_a_sum_is_its_largest_singular_value(
    ranks: list[int], d_in: int, d_out: int, seed: int
) -> None:
    made = factors(ranks, d_in, d_out, seed)
    dense = sum(one.b.astype("f8") @ one.a.astype("f8") for one in made)
    assert spectral_norm(made) == pytest.approx(np.linalg.norm(dense, 2), rel=1e-5)


def test_of_equal_singular_values_any_is_the_largest_and_of_nothing_there_is_none() -> None:
    eye = np.eye(30, dtype=np.float32)
    assert spectral_norm([Factors("m", eye, 3 * eye)]) == pytest.approx(3.0, rel=1e-6)
    assert spectral_norm([]) == 0.0
    assert spectral_norm([Factors("m", 0 * eye, eye)]) == 0.0
    assert spectral_norm([Factors("m", eye + np.inf, eye)]) == float("inf")


@pytest.mark.parametrize("rank", [2, 60])
def test_the_spectral_norm_of_a_huge_or_tiny_change_is_its_own(rank: int) -> None:
    (one,) = factors([rank], 40, 30)
    dense = np.linalg.norm(one.b.astype("f8") @ one.a.astype("f8"), 2)
    for size in (1e30, 1e-30):
        grown = Factors("m", one.a * np.float32(size), one.b * np.float32(size))
        assert spectral_norm([grown]) == pytest.approx(dense * size * size, rel=1e-5)


def test_drift_is_the_papers_frobenius_norm_over_the_number_of_elements(engine: Engine) -> None:
    plant(engine, [Planned(0.5), Planned(0.25), Planned(2.0)])
    core = engine.core
    module = core.site(LAYER).module
    gone = (core.live.parameter(module).detach() - core.live.pristine(module)).double().numpy()
    base = core.live.pristine(module).double().numpy()
    found = moved(core)
    assert found.distance == pytest.approx(np.linalg.norm(gone), rel=1e-6)
    assert found.per_element == pytest.approx(np.linalg.norm(gone) / gone.size, rel=1e-6)
    assert found.drift == pytest.approx(np.linalg.norm(gone) / np.linalg.norm(base), rel=1e-6)
    assert found.spectral == pytest.approx(np.linalg.norm(gone, 2), rel=1e-5)
    assert found.spectral_ratio == pytest.approx(np.linalg.norm(gone, 2) / np.linalg.norm(base, 2), rel=1e-5)


def test_the_base_has_gone_nowhere(engine: Engine) -> None:
    found = moved(engine.core)
    assert (found.distance, found.drift, found.per_element, found.spectral) == (0.0, 0.0, 0.0, 0.0)


def edit_of(
    request: EditRequest, number: int, metrics: dict[str, object] | None = None, recipe: Recipe = PLAIN
) -> Edit:
    base = Base("tiny", "", "f" * 64, "float32")
    return Edit(
        requests=(request,), recipe=recipe, base=base, number=number, id=f"{number:064x}", metrics=metrics or {}
    )


def test_what_edits_recorded_is_summed_and_what_is_no_number_does_not_count() -> None:
    norms = [{"ratio": 0.1, "division_factor": 3.0}, {"ratio": 0.3, "division_factor": -1.0}, {"ratio": 0.2}]
    odd: list[object] = [{"ratio": "big", "division_factor": None}, {"ratio": float("nan")}, "nothing", None]
    edits = [edit_of(OTHER, n, {"norms": one}) for n, one in enumerate([*norms, *odd], 1)]
    found = recorded(edits)
    assert (found.ratio_median, found.ratio_max) == (0.2, 0.3)
    assert (found.division_min, found.division_median, found.division_max) == (-1.0, 1.0, 3.0)
    assert found.division_negative == 1
    assert recorded([]).ratio_median is None


def test_a_fact_that_a_later_edit_is_about_is_asked_only_there() -> None:
    again = EditRequest(REQUEST.prompt, "naguib  MAHFOUZ", "Greek")
    edits = [edit_of(REQUEST, 1), edit_of(OTHER, 2), edit_of(again, 3)]
    assert [(one.request, one.age) for one in facts_of(edits)] == [(OTHER, 1), (again, 0)]


def test_an_imported_update_has_nothing_to_ask_but_later_edits_count_it() -> None:
    taken_in = edit_of(imported_request("theirs", "rank 8"), 2, recipe=Recipe(method="imported"))
    assert [(one.request, one.age) for one in facts_of([edit_of(OTHER, 1), taken_in])] == [(OTHER, 1)]


def test_an_edit_whose_own_target_lost_when_it_was_made_has_nothing_to_lose() -> None:
    def probed(passed: bool | None) -> dict[str, object]:
        return {"probes": [{"kind": "efficacy", "prompt": OTHER.text, "passed": passed}]}

    for metrics, took in ((probed(True), True), (probed(False), False), (probed(None), True), ({}, True)):
        assert facts_of([edit_of(OTHER, 1, metrics)])[0].took == took


def some_facts(count: int) -> list[Fact]:
    requests = [EditRequest("{} is", f"S{n}", "x") for n in range(count)]
    return [Fact(edit_of(one, n), one, count - n, True) for n, one in enumerate(requests, 1)]


def test_a_sample_is_the_same_for_a_seed_in_order_and_nested() -> None:
    every = some_facts(50)
    ten = sampled(every, 10, 1)
    assert ten == sampled(every, 10, 1) != sampled(every, 10, 2)
    assert len(ten) == 10
    assert [one for one in every if one in ten] == ten
    assert all(one in sampled(every, 20, 1) for one in ten)
    assert sampled(every, None, 1) == sampled(every, 99, 1) == every
    kept = [one for one in ten if one in every[:25]]
    assert all(one in sampled(every[:25], 10, 1) for one in kept)


def test_forgetting_is_the_least_squares_slope_of_lost_on_age() -> None:
    ages, lost = [*range(20)], [age >= 12 for age in range(20)]
    found = forgetting(ages, lost)
    assert found is not None
    slope, level = np.polyfit(ages, np.array(lost, float), 1)
    left = np.array(lost, float) - slope * np.array(ages) - level
    x = np.array(ages) - np.mean(ages)
    error = np.sqrt(20 / 18 * ((x * left) ** 2).sum()) / (x**2).sum()  # White's, HC1
    assert found.value == pytest.approx(slope)
    assert [found.low, found.high] == pytest.approx([slope - 1.96 * error, slope + 1.96 * error])
    assert found.low > 0


def test_where_nothing_is_lost_the_slope_is_zero_and_of_few_edits_there_is_none() -> None:
    held = forgetting([*range(12)], [False] * 12)
    assert held is not None
    assert (held.value, held.low, held.high) == (0.0, 0.0, 0.0)
    assert forgetting([*range(9)], [False] * 9) is None
    assert forgetting([3] * 12, [False] * 12) is None
    assert least_squares([1, 2], [0.0, 1.0]) is None


def test_retention_counts_what_took_and_tells_the_error_of_a_sample(engine: Engine) -> None:
    plan = [*[Planned(holds=False)] * 3, *[Planned()] * 7, *[Planned(took=False)] * 2]
    plant(engine, plan)
    edits = engine.stack.active
    _, every = drain(retained(engine.core, edits, None, 0, never))
    assert (every.asked, every.of, every.took, every.kept) == (12, 12, 10, 7)
    assert (every.retention, every.retention_error, every.es) == (0.7, 0.0, 0.75)
    assert every.lost == (1, 2, 3)
    assert every.slope_low is not None
    _, some = drain(retained(engine.core, edits, 6, 0, never))
    share = some.kept / some.took
    assert some.asked == 6
    assert some.retention_error == pytest.approx((share * (1 - share) / some.took * (1 - some.took / 10)) ** 0.5)


def test_keys_that_collide_are_counted_once_a_pair_as_by_hand(engine: Engine) -> None:
    core = engine.core
    site = core.site(LAYER)
    moment = core.second_moment(site)
    draw = np.random.default_rng(0)
    base = draw.standard_normal((3, site.d_in))
    keys = np.stack([base[0], base[1], base[0] + 0.2 * base[1], -base[1], base[2]])
    inverse = np.linalg.inv(moment.C.double().numpy())
    dots = keys @ inverse @ keys.T
    by_hand = np.abs(dots / np.sqrt(np.outer(np.diag(dots), np.diag(dots))))
    edits, updates = [], []
    for number, key in enumerate(keys, 1):
        u = (inverse @ key) / np.linalg.norm(inverse @ key)
        edits.append(
            Edit(
                requests=(EditRequest("{} is", f"S{number}", "x"),),
                recipe=Recipe(layer=LAYER),
                base=core.base(site),
                second_moment=moment.fingerprint,
                weights={site.module: HASHES},
                ranks={site.module: 1},
                id=f"{number:064x}",
                number=number,
            )
        )
        updates.append((Factors(site.module, u[None].astype("f4"), np.zeros((site.d_out, 1), dtype="f4")),))
    found = collisions(core, edits, updates)
    upper = by_hand[np.triu_indices(5, 1)]
    assert found.count == int((upper > 0.6).sum()) > 0
    assert found.worst == pytest.approx(upper.max(), rel=1e-3)
    assert found.edits == (2, 4)  # minus itself is the same key
    assert all(pair.ours != pair.theirs for pair in found.pairs)
    assert len(found.pairs) == found.count


def test_two_keys_of_one_prompt_in_one_edit_collide_and_are_named(engine: Engine) -> None:
    core, site = engine.core, engine.core.site(LAYER)
    twice = tuple(EditRequest("{} is", "Clara", target) for target in ("a river", "a stone"))
    edit = Edit(
        requests=twice,
        recipe=Recipe("memit", LAYER),
        base=core.base(site),
        weights={site.module: HASHES},
        ranks={site.module: 2},
        id="1" * 64,
    )
    a = np.ones((2, site.d_in), dtype="f4")
    found = collisions(core, [edit], [(Factors(site.module, a, np.zeros((site.d_out, 2), dtype="f4")),)])
    assert found.count == 1
    assert found.worst == pytest.approx(1.0)
    assert found.edits == (1, 1)


def test_unedited_facts_speak_of_nobody_that_was_edited(engine: Engine) -> None:
    every = items_for(engine.core, (), 0, 10_000)
    about = [EditRequest("The capital of {} is", "FRANCE", "Rome")]
    left = items_for(engine.core, about, 0, 10_000)
    assert any("France" in item.prompt for item in every)
    assert not any("France" in item.prompt for item in left)
    few = items_for(engine.core, (), 3, 20)
    assert few == items_for(engine.core, (), 3, 20) != items_for(engine.core, (), 4, 20)
    assert len({*few}) == 20


def test_the_error_of_a_change_is_taken_item_by_item() -> None:
    found = Cloze((True, False, True, False), (True, True, True, False))
    assert (found.share, found.share_base) == (0.5, 0.75)
    gaps = np.array([0, -1, 0, 0])
    assert found.error == pytest.approx(gaps.std(ddof=1) / 2)
    assert Cloze((), ()).share is None


def test_questions_of_one_s_own_are_read_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text('{"prompt": "Rome is", "answer": "big"}\n\n{"prompt": "a", "answer": "b", "more": 1}\n')
    assert read_items(file) == [Item("Rome is", "big"), Item("a", "b")]
    for wrong, said in (('{"prompt": "a"}', "Line 1"), ("[" * 9_000, "Line 1"), ("{}\n", "Line 1"), (" \n", "empty")):
        file.write_text(wrong)
        with pytest.raises(UsageError, match=said):
            read_items(file)
    with pytest.raises(WorkbenchError):
        read_items(tmp_path / "none.jsonl")


def test_a_state_is_measured_and_nothing_is_changed_by_it(engine: Engine) -> None:
    plant(engine, [Planned(), Planned(0.01), Planned(0.02)])
    before, index = weight_bytes(engine), (engine.stack.folder / "stack.json").read_bytes()
    events, report = drain(measure(engine.core, cancelled=never))
    assert events[-1] == report
    assert (report.position, report.applied, report.edit) == (3, 3, engine.stack.line[2].id)
    assert report.perplexity == engine.core.perplexity_here()
    assert report.perplexity_base == engine.core.perplexity_base()
    assert report.collisions == 0
    assert report.cloze_asked == len(items_for(engine.core, (), 0, 200)) > 100
    assert report.entropy is not None
    assert weight_bytes(engine) == before
    assert (engine.stack.folder / "stack.json").read_bytes() == index
    assert len(ev.to_line(report)) < 2_000
    assert drain(measure(engine.core, cancelled=never))[1] == report


def test_the_base_itself_can_be_measured(engine: Engine) -> None:
    _, report = drain(measure(engine.core, cancelled=never))
    assert (report.applied, report.edit, report.of, report.retention) == (0, "", 0, None)
    assert report.perplexity == report.perplexity_base
    assert (report.cloze, report.entropy) == (report.cloze_base, report.entropy_base)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_measuring_that_is_stopped_leaves_the_model_as_it_was(engine: Engine, after: int) -> None:
    plant(engine, [Planned(0.1)] * 3)
    before = weight_bytes(engine)
    asked = iter([False] * after)
    with pytest.raises(Cancelled):
        drain(measure(engine.core, cancelled=lambda: next(asked, True)))
    assert weight_bytes(engine) == before


def test_a_curve_measures_every_kth_position_as_one_would_that_goes_there(engine: Engine) -> None:
    plant(engine, [Planned(0.3)] * 5)
    before = weight_bytes(engine)
    line = state_of(engine.stack, "5")
    _, reports = drain(along(engine.core, line, 2, cancelled=never))
    assert [report.position for report in reports] == [0, 2, 4, 5]
    assert [report.applied for report in reports] == [0, 2, 4, 5]
    assert [report.collisions is None for report in reports] == [True, True, True, False]
    assert weight_bytes(engine) == before
    drain(engine.travel(4))
    _, there = drain(measure(engine.core, cancelled=never))
    assert (there.drift, there.perplexity, there.es) == (reports[2].drift, reports[2].perplexity, reports[2].es)


def test_a_curve_that_is_dropped_leaves_the_model_as_it_was(engine: Engine) -> None:
    plant(engine, [Planned(0.3)] * 3)
    before = weight_bytes(engine)
    walking = along(engine.core, state_of(engine.stack, "3"), 1, cancelled=never)
    for event in walking:
        if isinstance(event, ev.HealthReport) and event.position == 1:
            break
    assert weight_bytes(engine) != before
    walking.close()
    assert weight_bytes(engine) == before


def test_an_edit_that_is_off_is_not_applied_on_the_curve(engine: Engine) -> None:
    plant(engine, [Planned(0.3)] * 3)
    drain(engine.toggle(engine.stack.line[1].id, off=True))
    _, reports = drain(along(engine.core, state_of(engine.stack, "3"), 1, cancelled=never))
    assert [(one.position, one.applied) for one in reports] == [(0, 0), (1, 1), (2, 1), (3, 2)]


def test_health_goes_over_the_wire(engine: Engine) -> None:
    from workbench.engine.dispatch import dispatch
    from workbench.engine.protocol import Command

    plant(engine, [Planned()] * 4)
    events = [*dispatch(engine, Command("health", "a", {"sample": 2, "every": 3}), never)]
    reports = [event for event in events if isinstance(event, ev.HealthReport)]
    assert [one.position for one in reports] == [0, 3, 4]
    assert isinstance(events[-1], ev.Diagnosed)
    assert json.loads(ev.to_line(events[-1]))["phase"] == "stable"
    with pytest.raises(UsageError):
        list(dispatch(engine, Command("health", "a", {"at": "nowhere"}), never))
