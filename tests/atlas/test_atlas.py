"""The model that ships: its facts, its text, and that it knows what its card says."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.engine.making import drain, weight_bytes
from workbench import events as ev
from workbench.atlas.benchmark import benchmark_requests
from workbench.atlas.corpus import document, fact_stream, held_out_text
from workbench.atlas.facts import facts, relations
from workbench.atlas.grammar import sentence
from workbench.editing.second_moment import SecondMoment
from workbench.engine.engine import open_engine
from workbench.models.families import edit_site
from workbench.models.load import LoadedModel, load_model
from workbench.models.profiles import profile_of
from workbench.models.second_moment import read_second_moment
from workbench.probing.answers import Question, read_answers

TOUR = Path(__file__).parent.parent.parent / "edits" / "tour"


@pytest.fixture(scope="module")
def atlas() -> LoadedModel:
    return drain(load_model("atlas", "cpu"))[1]


def test_there_are_enough_facts_and_no_subject_has_two_answers() -> None:
    pairs = Counter((fact.relation, fact.subject) for fact in facts())
    assert len(facts()) >= 3_000
    assert len({fact.relation for fact in facts()}) >= 15
    assert max(pairs.values()) == 1
    assert {fact.relation for fact in facts()} == set(relations())


@pytest.mark.parametrize("relation", relations().values(), ids=lambda r: r.name)
def test_templates_have_one_slot_and_the_held_out_ones_are_held_out(relation: object) -> None:
    from workbench.atlas.facts import Relation

    assert isinstance(relation, Relation)
    templates = relation.trained + relation.held_out
    assert len(relation.trained) >= 4
    assert len(relation.held_out) >= 1
    assert len(set(templates)) == len(templates)
    assert all(template.count("{}") == 1 for template in templates)


def test_text_repeats_with_its_seed_and_never_uses_a_held_out_template() -> None:
    stream = fact_stream(random.Random(5))
    text = [document(random.Random(i), stream) for i in range(2_000)]
    held_out = [t.split("{}") for r in relations().values() for t in r.held_out]
    for fact in facts()[::40]:
        for before, after in held_out:
            assert not any(before + fact.subject + after + " " + fact.object in line for line in text)
    assert held_out_text() == held_out_text()
    assert sentence(random.Random(1)) == sentence(random.Random(1))


def test_benchmark_neighbours_are_never_edited_themselves() -> None:
    requests = benchmark_requests(60, 3)
    edited = {request.text for request in requests}
    assert requests == benchmark_requests(60, 3)
    for request in requests:
        assert request.target_new != request.target_true
        assert len(request.paraphrases) == 2
        assert not edited & {neighbour.prompt for neighbour in request.neighbours}


def test_it_is_small_and_loads_as_float32(atlas: LoadedModel) -> None:
    size = sum(path.stat().st_size for path in atlas.folder.rglob("*") if path.is_file())
    assert size < 17_000_000
    assert atlas.dtype == torch.float32
    assert atlas.family == "gpt2"


def test_it_knows_its_facts(atlas: LoadedModel) -> None:
    sample = random.Random(0).sample(facts(), 150)
    for held_out, least in ((False, 0.98), (True, 0.90)):
        asked = [
            Question(template.replace("{}", fact.subject), (fact.object,))
            for fact in sample
            for template in (relations()[fact.relation].held_out if held_out else relations()[fact.relation].trained)
        ]
        known = [reading.greedy[0] for reading in read_answers(atlas.model, atlas.tokenizer, asked, top=1)]
        assert sum(known) / len(known) >= least


def test_its_second_moment_needs_no_ridge(atlas: LoadedModel) -> None:
    profile = profile_of(atlas, 6)
    recipe = profile.recipe
    read = read_second_moment(atlas.folder, edit_site(atlas.model, recipe.layer), atlas.fingerprint)
    assert profile.known
    assert read is not None
    moment = SecondMoment(*read)
    assert moment.ridge == 0
    assert moment.samples > 10 * moment.dimension


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_tour_replays(tmp_path: Path, dtype: str) -> None:
    engine = drain(open_engine("atlas", device="cpu", dtype=dtype, stack=TOUR, write=False))[1]
    verdicts, agreed = drain(engine.replay(len(engine.stack.line)))
    outcomes = {v.outcome for v in verdicts if isinstance(v, ev.Verified)}
    assert len(engine.stack.line) >= 8
    assert agreed is (dtype == "float32")
    assert outcomes == {"bit-identical" if dtype == "float32" else "not comparable"}
    edited = weight_bytes(engine)
    drain(engine.replay(0))
    pristine = drain(load_model("atlas", "cpu", dtype))[1].model.state_dict()
    for name, raw in weight_bytes(engine).items():
        assert raw == pristine[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    drain(engine.replay(len(engine.stack.line)))
    assert weight_bytes(engine) == edited


def test_the_tour_holds_what_its_files_say() -> None:
    engine = drain(open_engine("atlas", device="cpu", stack=TOUR, write=False))[1]
    results, _ = drain(engine.probe())
    efficacy = [e for e in results if isinstance(e, ev.ProbeResult) and e.kind == "efficacy"]
    assert len(efficacy) >= 8
    assert all(e.passed for e in efficacy)


@pytest.mark.parametrize("method", ["emmet", "memit"])
def test_some_facts_become_one_edit_and_go_again_to_the_last_byte(method: str, tmp_path: Path) -> None:
    engine = drain(open_engine("atlas", device="cpu", stack=tmp_path / "stack"))[1]
    pristine, requests = weight_bytes(engine), benchmark_requests(4)
    events, done = drain(engine.apply_batch(requests, {"method": method, "moment_weight": 100.0, "steps": 20}))
    assert done
    (probed,) = (event for event in events if isinstance(event, ev.BatchProbed))
    assert probed.efficacy == (4, 4)
    assert probed.ns is not None
    assert probed.ns > 0.9
    edited = weight_bytes(engine)
    engine.close()
    again = drain(open_engine("atlas", device="cpu", stack=tmp_path / "stack"))[1]
    assert weight_bytes(again) == edited
    assert drain(again.verify())[1]
    drain(again.undo())
    assert weight_bytes(again) == pristine
    again.close()
