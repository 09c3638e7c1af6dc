"""The search for a profile on a small model: no byte is left changed, and a search that was stopped goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.making import drain, make_model
from tests.engine.tuning_making import known_requests, load
from tests.zoo import save
from workbench.edits import EditRequest, Neighbour, Recipe
from workbench.engine.tuned_profile import check_free, tuned_path, write_profile
from workbench.engine.tuning import FINALISTS, Wanted, tune
from workbench.engine.tuning_bench import Bench
from workbench.engine.tuning_facts import common_requests, gather
from workbench.engine.tuning_plan import most_trials
from workbench.engine.tuning_record import Measured, Record, trial_key
from workbench.errors import EditError, ModelError, RequestError, StackError, UsageError
from workbench.events import Event, TrialResult, Tuned, TuningStarted, Warning  # noqa: A004  the wire's word
from workbench.models.load import LoadedModel, load_model
from workbench.models.options import LoadOptions
from workbench.models.profile_file import Profile, read_profile_file
from workbench.models.profiles import profile_of

FAST = {"steps": 3, "template_lengths": [[3, 1]]}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(make_model(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture(scope="module")
def facts(loaded: LoadedModel) -> list[EditRequest]:
    return known_requests(loaded)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "config"))


def never() -> bool:
    return False


def weights(loaded: LoadedModel) -> dict[str, bytes]:
    state = loaded.model.state_dict()
    return {name: tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for name, tensor in state.items()}


def search(loaded: LoadedModel, facts: list[EditRequest], **wanted: Any) -> Generator[Event, None, Tuned | None]:
    asked = Wanted(**{"facts": facts, "count": 2, "changes": FAST, "layers": (1, 2), **wanted})
    return tune(loaded, profile_of(loaded, 4), asked, never)


def trials(events: list[Event]) -> list[TrialResult]:
    return [event for event in events if isinstance(event, TrialResult)]


def bare(found: list[TrialResult]) -> list[TrialResult]:
    """What was measured, without whether it was measured now."""
    return [dataclasses.replace(trial, kept=False, seconds=0.0) for trial in found]


def test_after_every_trial_each_weight_byte_is_as_before(loaded: LoadedModel, facts: list[EditRequest]) -> None:
    before = weights(loaded)
    asked = [parameter.requires_grad for parameter in loaded.model.parameters()]
    seen = 0
    for event in search(loaded, facts, trials=4):
        assert weights(loaded) == before
        seen += isinstance(event, TrialResult) and event.ratio > 0
    assert seen >= 4
    assert [parameter.requires_grad for parameter in loaded.model.parameters()] == asked


def test_the_edits_of_a_trial_do_change_what_the_model_says(loaded: LoadedModel, facts: list[EditRequest]) -> None:
    events, _ = drain(search(loaded, facts, trials=1, count=2, changes={**FAST, "steps": 12}))
    first = trials(events)[0]
    assert first.es == 1
    assert first.failed == 0
    assert first.facts == 2
    assert first.second_moment


def test_the_best_on_all_facts_comes_out_and_what_was_in_force_is_among_the_last_few(
    loaded: LoadedModel, facts: list[EditRequest]
) -> None:
    events, found = drain(search(loaded, facts))
    assert found is not None
    assert found == events[-1]
    searched = [trial for trial in trials(events) if trial.stage != "check"]
    checks = [trial for trial in trials(events) if trial.stage == "check"]
    assert checks[0].recipe == searched[0].recipe
    assert searched[0].recipe["layer"] == 1
    assert 2 <= len(checks) <= 1 + FINALISTS
    on_all = {check.number: (check.s + searched[check.number - 1].s) / 2 for check in checks}
    winner = searched[max(on_all, key=lambda number: (on_all[number], searched[number - 1].s)) - 1]
    assert (found.s, found.layer, found.s_start) == (winner.s, winner.recipe["layer"], searched[0].s)
    assert found.profile["recipe"] == {**winner.recipe, "second_moment": winner.second_moment}
    assert on_all[winner.number] >= on_all[1]
    assert found.changed is (winner.number != 1)
    assert found.complete
    assert len(searched) <= most_trials((1, 2))


def test_without_other_facts_the_best_of_the_search_comes_out(loaded: LoadedModel, facts: list[EditRequest]) -> None:
    events, found = drain(search(loaded, facts[:2], trials=4))
    assert found is not None
    best = max(trials(events), key=lambda trial: (trial.s, -trial.ratio))
    assert (found.s, found.layer, found.s_check) == (best.s, best.recipe["layer"], None)
    assert any(isinstance(event, Warning) and "no other facts" in event.message for event in events)


def test_a_search_that_was_stopped_goes_on_to_the_same_end(
    loaded: LoadedModel, facts: list[EditRequest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events, whole = drain(search(loaded, facts, trials=6))
    record = next(event for event in events if isinstance(event, TuningStarted)).record
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "another"))
    before = weights(loaded)
    steps = search(loaded, facts, trials=6)
    stopped: list[Event] = []
    while len(trials(stopped)) < 3:
        stopped.append(next(steps))
    next(steps)
    steps.close()
    assert weights(loaded) == before
    kept = Path(str(record).replace(str(tmp_path / "cache"), str(tmp_path / "another")))
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 3
    with kept.open("a", encoding="utf-8") as file:
        file.write('{"key": "torn')
    again, found = drain(search(loaded, facts, trials=6))
    assert found is not None
    assert whole is not None
    assert found.profile == whole.profile
    assert bare(trials(again)) == bare(trials(events))
    assert [trial.kept for trial in trials(again)][:4] == [True, True, True, False]
    once_more, _ = drain(search(loaded, facts, trials=6))
    assert all(trial.kept for trial in trials(once_more))


def test_a_trial_is_kept_for_all_that_it_depends_on(loaded: LoadedModel, facts: list[EditRequest]) -> None:
    recipe = Recipe(layer=1)
    keys = {
        trial_key(recipe, facts[:2], "identity", "here"),
        trial_key(recipe, facts[:3], "identity", "here"),
        trial_key(recipe, facts[:2], "f" * 64, "here"),
        trial_key(recipe, facts[:2], "identity", "there"),
        trial_key(dataclasses.replace(recipe, lr=0.1), facts[:2], "identity", "here"),
    }
    assert len(keys) == 5


def test_a_cancelled_search_leaves_no_byte_and_no_trial_behind(loaded: LoadedModel, facts: list[EditRequest]) -> None:
    before, asked = weights(loaded), 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 8

    wanted = Wanted(facts, 2, (1,), None, FAST)
    events, found = drain(tune(loaded, profile_of(loaded, 4), wanted, cancelled))
    assert found is None
    assert not any(isinstance(event, Tuned) for event in events)
    assert weights(loaded) == before
    assert len(Record(loaded.fingerprint)._known) == len(trials(events))


def test_an_edit_that_cannot_be_made_counts_as_failed_and_the_search_goes_on(
    loaded: LoadedModel, facts: list[EditRequest]
) -> None:
    too_long = dataclasses.replace(facts[0], target_new="piano " * 200)
    bench = Bench(loaded, never)
    _, outcome = drain(bench.trial(Recipe(layer=1, steps=2, template_lengths=((3, 1),)), [too_long, facts[1]], "t"))
    assert outcome.measured.failed == 1
    assert outcome.measured.es is not None
    assert outcome.measured.es <= 0.5


def test_a_trial_says_whether_clamp_and_steps_were_used_up(loaded: LoadedModel, facts: list[EditRequest]) -> None:
    bench = Bench(loaded, never)

    def measured(**recipe: Any) -> Measured:
        return drain(bench.trial(Recipe(layer=1, template_lengths=((3, 1),), **recipe), facts[:2], "t"))[1].measured

    tight, free = (
        measured(clamp_factor=0.1, steps=4),
        measured(clamp_factor=1e4, steps=40, weight_decay=0.0, loss_stop=2.0),
    )
    assert (tight.clamped, tight.ran_out) == (2, 2)
    assert (free.clamped, free.ran_out) == (0, 0)
    more = measured(clamp_factor=5e3, steps=80, weight_decay=0.0, loss_stop=2.0)
    assert dataclasses.replace(more, seconds=free.seconds) == free


def test_where_there_is_no_second_moment_it_is_said_and_the_profile_says_so(
    loaded: LoadedModel, facts: list[EditRequest]
) -> None:
    events, found = drain(search(loaded, facts, trials=1))
    (warning,) = [event for event in events if isinstance(event, Warning) and "C = I" in event.message]
    assert "layer 2" in warning.message
    assert "workbench stats" in warning.hint
    assert found is not None
    assert found.profile["recipe"]["second_moment"] is True
    _, identity = drain(search(loaded, facts, trials=1, changes={**FAST, "second_moment": False}))
    assert identity is not None
    assert identity.profile["recipe"]["second_moment"] is False
    _, elsewhere = drain(search(loaded, facts, trials=1, layers=(2,), changes={**FAST, "layer": 2}))
    assert elsewhere is not None
    assert elsewhere.profile["recipe"]["second_moment"] is False


def test_the_budget_is_kept_and_said_to_have_been_too_small(loaded: LoadedModel, facts: list[EditRequest]) -> None:
    events, found = drain(search(loaded, facts, trials=3))
    assert len([trial for trial in trials(events) if trial.stage != "check"]) == 3
    assert found is not None
    assert not found.complete


@pytest.mark.parametrize(("wanted", "said"), [({"layers": (9,)}, "no layer 9"), ({"changes": {"layer": 4}}, "layer 4")])
def test_a_layer_that_is_not_there_is_said(
    loaded: LoadedModel, facts: list[EditRequest], wanted: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        drain(search(loaded, facts, **wanted))


def test_only_facts_that_the_model_knows_are_edited(loaded: LoadedModel, facts: list[EditRequest]) -> None:
    wrong = [dataclasses.replace(one, target_true="Portugal") for one in facts[:3]]
    found = gather(loaded, [*wrong, *facts[3:6]], 10, 0, never)
    assert [one.subject for one in found.search] == [one.subject for one in facts[3:6]]
    assert (found.asked, found.known, found.check) == (6, 3, ())
    events, _ = drain(search(loaded, [*wrong, *facts[3:6]], count=10, trials=1))
    assert "knows 3 of 6 of the facts given; 10 were wanted" in next(
        event.message for event in events if isinstance(event, Warning)
    )
    with pytest.raises(EditError, match="0 of 3 facts right"):
        gather(loaded, wrong, 10, 0, never)
    with pytest.raises(RequestError, match="says what is true"):
        gather(loaded, [dataclasses.replace(facts[0], target_true=None)], 10, 0, never)


def test_probes_that_a_fact_lacks_are_made_of_what_the_model_knows(
    loaded: LoadedModel, facts: list[EditRequest]
) -> None:
    own = dataclasses.replace(facts[0], paraphrases=("mine",), neighbours=(Neighbour("yours", "theirs"),))
    found = gather(loaded, [own, *facts[1:]], 4, 0, never)
    assert found.search[0] == own
    assert len(found.check) == 4
    known = {(one.text, one.target_true) for one in facts}
    for request in (*found.search[1:], *found.check):
        assert len(request.paraphrases) == 2
        assert all(text.endswith(request.text) and text != request.text for text in request.paraphrases)
        assert request.neighbours
        for neighbour in request.neighbours:
            assert (neighbour.prompt, neighbour.expected) in known
            assert neighbour.prompt != request.text
            assert neighbour.expected != request.target_new


def test_the_common_facts_can_all_be_edited() -> None:
    requests = common_requests()
    assert len(requests) > 100
    assert len({(one.prompt, one.subject) for one in requests}) == len(requests)
    for one in requests:
        assert one.target_new != one.target_true
        assert len(one.paraphrases) == 2
        assert all(one.subject in text and text != one.text for text in one.paraphrases)


def test_a_model_that_knows_nothing_is_told_so(loaded: LoadedModel) -> None:
    with pytest.raises(EditError, match="facts right") as caught:
        gather(loaded, None, 4, 0, never)
    assert "--facts" in caught.value.hint


def test_a_folder_in_the_records_place_is_said(loaded: LoadedModel) -> None:
    path = Record(loaded.fingerprint).path
    path.mkdir(parents=True)
    with pytest.raises(StackError, match="cannot be read"):
        Record(loaded.fingerprint)


@pytest.mark.parametrize("line", ['{"key": "k", "measured": {"s": "no"}}', "[]", '{"key": 1}', "[" * 9999])
def test_lines_of_the_record_that_are_no_trials_are_left_alone(loaded: LoadedModel, line: str) -> None:
    numbers = dict.fromkeys(("es", "ps", "ns", "s", "ratio", "clamped", "ran_out", "seconds"), 1.0)
    endless = json.dumps({"key": "k", "measured": {**numbers, "failed": 10**400}})
    path = Record(loaded.fingerprint).path
    path.parent.mkdir(parents=True)
    path.write_text(f"{line}\n{endless}\n")
    assert Record(loaded.fingerprint).get("k") is None


@pytest.fixture
def found(loaded: LoadedModel, facts: list[EditRequest]) -> dict[str, Any]:
    tuned = drain(search(loaded, facts, trials=1))[1]
    assert tuned is not None
    return tuned.profile


def test_the_profile_found_is_in_force_for_these_weights_alone(
    loaded: LoadedModel, found: dict[str, Any], tmp_path: Path
) -> None:
    write_profile(found, tuned_path(loaded.name, loaded.fingerprint), force=False)
    without_its_own = tmp_path / "bare"
    shutil.copytree(loaded.folder, without_its_own, ignore=shutil.ignore_patterns("editing_profile.json"))
    same = dataclasses.replace(loaded, folder=without_its_own)
    profile = profile_of(same, 4)
    assert profile.origin == "user"
    assert profile.recipe.to_json() == found["recipe"]
    assert profile.source.startswith("workbench tune: S ")
    assert not profile_of(dataclasses.replace(same, fingerprint="0" * 64), 4).known


def test_a_profile_that_a_person_made_or_changed_is_not_written_over(
    loaded: LoadedModel, found: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "profile.json"
    write_profile(found, path, force=False)
    first = path.read_bytes()
    write_profile(found, path, force=False)
    assert path.read_bytes() == first
    document = json.loads(first)
    document["recipe"]["lr"] = 0.125
    for text in (json.dumps(document), "not a profile", json.dumps({**found, "match": {"model_type": "gpt2"}})):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match="by hand"):
            write_profile(found, path, force=False)
        assert path.read_text(encoding="utf-8") == text
    with pytest.raises(UsageError, match="another model"):
        check_free(path, "0" * 64)
    write_profile(found, path, force=True)
    assert path.read_bytes() == first
    with pytest.raises(UsageError, match="is a folder"):
        check_free(tmp_path, loaded.fingerprint)


def test_names_of_models_become_names_of_files() -> None:
    assert tuned_path("openai-community/GPT2 XL", "a" * 64).name == "gpt2-xl-aaaaaaaa.json"
    assert tuned_path("../..", "b" * 64).name == "model-bbbbbbbb.json"


def test_a_tuned_profile_reads_back(found: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    write_profile(found, path, force=False)
    profile: Profile = read_profile_file(path, "user")
    assert profile.untouched
    assert profile.to_json() == found


@pytest.mark.parametrize(("family", "dtype"), [("llama", "float32"), ("gpt_neox", "float32"), ("opt", "bfloat16")])
def test_other_families_and_half_precision_are_searched_and_left_as_they_were(
    family: str, dtype: str, tmp_path: Path
) -> None:
    other = drain(load_model(str(save(tmp_path / family, family)), "cpu", dtype))[1]
    before = weights(other)
    events, found = drain(search(other, known_requests(other), layers=(0, 2), trials=3))
    assert found is not None
    assert all(trial.failed == 0 and trial.ratio > 0 for trial in trials(events))
    assert weights(other) == before


def test_a_module_held_in_float32_is_given_back_as_it_was(tmp_path: Path) -> None:
    options = LoadOptions(keep_fp32=True)
    held = drain(load_model(str(save(tmp_path / "llama", "llama")), "cpu", "bfloat16", options))[1]
    before, said = weights(held), known_requests(held)
    forwards = [module.forward for module in held.model.modules()]
    events, found = drain(search(held, said, layers=(0, 1), trials=3))
    assert found is not None
    assert max(trial.ratio for trial in trials(events)) > 0
    assert weights(held) == before
    assert {tensor.dtype for tensor in held.model.state_dict().values()} == {torch.bfloat16}
    assert [module.forward for module in held.model.modules()] == forwards
    assert known_requests(held) == said
