"""What the base says: asked once, never of another state, and never more of it kept than is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.engine.making import OTHER, REQUEST, drain
from workbench import events as ev
from workbench.edits import EditRequest, Neighbour
from workbench.engine.base_answers import settled_here
from workbench.engine.engine import Engine
from workbench.probing.answers import Question, Reading
from workbench.probing.probes import keep_unstated, probes_of, settle

ASKED = [Question("The mother tongue of Clara is", ("Irish", "Arabic")), Question("Clara plays the")]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions each call has asked of a model."""
    from workbench.engine import base_answers as module
    from workbench.probing.answers import read_answers

    counts: list[int] = []

    def counted(model: Any, tokenizer: Any, questions: Sequence[Question], top: int) -> list[Reading]:
        counts.append(len(questions))
        return read_answers(model, tokenizer, questions, top)

    monkeypatch.setattr(module, "read_answers", counted)
    return counts


def test_a_question_is_asked_once(engine: Engine, passes: list[int]) -> None:
    answers = engine.core.base_answers
    first = answers.read(ASKED)
    assert answers.read([*ASKED[::-1], ASKED[0]]) == [first[1], first[0], first[0]]
    assert passes == [2]
    answers.read([*ASKED, Question("Clara")])
    assert passes == [2, 1]


def test_the_answers_are_the_bases_whatever_the_model_shows(engine: Engine) -> None:
    known = engine.core.base_answers.read(ASKED[:1])
    drain(engine.apply(REQUEST))
    drain(engine.apply(OTHER))
    fresh = type(engine.core.base_answers)(engine.core.loaded, engine.core.live.at_base)
    assert fresh.read(ASKED[:1]) == known
    assert fresh.read(ASKED) == engine.core.base_answers.read(ASKED)


def test_the_one_asked_longest_ago_gives_way(
    engine: Engine, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.engine.base_answers.MOST", 2)
    answers = engine.core.base_answers
    answers.read(ASKED)
    answers.read(ASKED[:1])
    assert len(answers.read([*ASKED, Question("Clara")])) == 3
    assert passes == [2, 1]
    answers.read([Question("Clara")])
    answers.read(ASKED[:1])
    assert passes == [2, 1, 1]


def test_an_edit_to_come_has_its_neighbours_from_the_base_and_the_rest_from_here(engine: Engine) -> None:
    request = EditRequest("{} plays the", "Clara", "Irish", neighbours=(Neighbour("The mother tongue of Clara is"),))
    loaded = engine.core.loaded
    at_base = settle(loaded.model, loaded.tokenizer, probes_of(request))
    for mine, plain in zip(settled_here(engine.core, request), at_base, strict=True):
        assert (mine.expected, mine.rival) == (plain.expected, plain.rival)
        assert mine.before == pytest.approx(plain.before, rel=1e-5)
    drain(engine.apply(OTHER))
    with engine.core.live.at_base():
        kept = keep_unstated(loaded.model, loaded.tokenizer, probes_of(request))
    expected = settle(loaded.model, loaded.tokenizer, kept)
    for mine, plain in zip(settled_here(engine.core, request), expected, strict=True):
        assert (mine.expected, mine.rival) == (plain.expected, plain.rival)
        assert mine.before == pytest.approx(plain.before, rel=1e-5)


def test_a_stacks_probes_are_said_edit_by_edit_in_order(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    drain(engine.apply(REQUEST))
    drain(engine.apply(OTHER))

    def asked() -> list[tuple[str, str, str]]:
        results = [e for e in drain(engine.probe())[0] if isinstance(e, ev.ProbeResult) and e.kind != "perplexity"]
        return [(one.edit, one.kind, one.prompt) for one in results]

    together = asked()
    assert list(dict.fromkeys(edit for edit, _, _ in together)) == [edit.id for edit in engine.stack.line]
    monkeypatch.setattr("workbench.engine.asking.PROBES_AT_ONCE", 1)
    assert asked() == together
