"""The model in any state of its stack: what each word means, what is said there, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from workbench import events as ev
from workbench.contrasts import AddedProbe, added_probes
from workbench.engine.asking import Sampling
from workbench.engine.at_state import at_state, find_state
from workbench.engine.dispatch import dispatch
from workbench.engine.engine import Engine
from workbench.engine.protocol import Command
from workbench.errors import EditError, UsageError, VerificationError, WorkbenchError

PROMPT = REQUEST.text


@pytest.fixture(scope="module")
def three(small: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Branch main has REQUEST and OTHER, tagged "reviewed" at 1; branch other has OTHER alone and is the line."""
    from pathlib import Path

    assert isinstance(small, Path)
    engine = open_on(small, tmp_path_factory.mktemp("stacks") / "three")
    drain(engine.apply(REQUEST))
    drain(engine.apply(OTHER))
    engine.stack.tag("reviewed", engine.stack.line[0].id)
    drain(engine.start_branch("other", "base"))
    drain(engine.apply(OTHER))
    yield engine
    engine.close()


def answers(engine: Engine, *states: str) -> list[tuple[tuple[str, float], ...]]:
    events, _ = drain(engine.answer(PROMPT, states=states))
    return [event.top for event in events if isinstance(event, ev.Answered)]


def test_every_word_shows_the_state_that_it_names(three: Engine) -> None:
    first = three.stack.find("reviewed").id
    before = weight_bytes(three)
    shown = {}
    for word in ("base", "stack", "0", "1", first, first[:8], "reviewed", "main", "other"):
        with at_state(three.core, word):
            shown[word] = weight_bytes(three)
    assert weight_bytes(three) == before == shown["stack"] == shown["1"] == shown["other"]
    assert shown["base"] == shown["0"] != before
    assert shown[first] == shown[first[:8]] == shown["reviewed"]
    drain(three.switch("main"))
    assert weight_bytes(three) == shown["main"]
    drain(three.undo())
    assert weight_bytes(three) == shown["reviewed"]
    drain(three.switch("other"))


@pytest.mark.parametrize("word", ["base", "1", "main", "reviewed"])
def test_the_model_is_put_back_when_the_block_ends_badly(three: Engine, word: str) -> None:
    before, shown = weight_bytes(three), three.core.live.shown
    with pytest.raises(EditError), at_state(three.core, word):
        raise EditError("in the middle")
    assert weight_bytes(three) == before
    assert three.core.live.shown == shown


def test_a_generation_that_is_left_in_the_middle_puts_the_model_back(three: Engine) -> None:
    before = weight_bytes(three)
    job = three.generate(PROMPT, states=["main", "base"], sampling=Sampling(max_new=30))
    for event in job:
        if isinstance(event, ev.GenerationChunk):
            assert weight_bytes(three) != before
            break
    job.close()
    assert weight_bytes(three) == before


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("9", "There is no position 9."),
        ("nowhere", "There is no edit, branch or tag 'nowhere'."),
        ("v1", "'v1' is too short for an id."),
        (" ", "No state is named."),
    ],
)
def test_a_word_that_names_nothing_says_what_would(three: Engine, word: str, message: str) -> None:
    with pytest.raises(UsageError) as failed:
        find_state(three.core, word)
    assert failed.value.message == message
    assert failed.value.hint == ("Name base, stack, a position from 0 to 1, an edit's id, a branch or a tag.")


def test_nothing_is_asked_where_one_of_the_states_is_unknown(three: Engine) -> None:
    for job in (three.answer(PROMPT, states=["base", "no"]), three.watch(["base", "no"])):
        with pytest.raises(UsageError):
            next(iter(job))


def test_an_edit_toggled_off_is_left_out_of_every_state(three: Engine) -> None:
    with at_state(three.core, "base"):
        base = weight_bytes(three)
    edit = three.stack.find("reviewed").id
    three.stack.toggle(edit, off=True)
    with at_state(three.core, "reviewed"):
        assert weight_bytes(three) == base
    three.stack.toggle(edit, off=False)


def test_a_damaged_edit_of_another_branch_is_an_error_and_the_model_stays(small: object, three: Engine) -> None:
    path = three.stack.path_of(three.stack.find("main"))
    whole, before = path.read_bytes(), weight_bytes(three)
    three.core._visited.clear()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(VerificationError):
            drain(three.answer("Clara plays the", states=["main"]))
        assert weight_bytes(three) == before
    finally:
        path.write_bytes(whole)


def test_two_states_are_compared_by_kl_and_shared_tokens(three: Engine) -> None:
    events, _ = drain(three.generate(PROMPT, states=["base", "main"], sampling=Sampling(max_new=3, top=10)))
    (found,) = [event for event in events if isinstance(event, ev.Compared)]
    assert (found.a, found.b, found.of) == ("base", "main", 10)
    assert found.kl is not None
    assert found.kl > 0
    (back,) = [e for e in drain(three.generate(PROMPT, states=["main", "base"]))[0] if isinstance(e, ev.Compared)]
    assert (back.kl, back.kl_back) == (found.kl_back, found.kl)
    base, edited = answers(three, "base", "main")
    events, _ = drain(three.generate(PROMPT, states=["main", "main"], sampling=Sampling(max_new=1)))
    (same,) = [event for event in events if isinstance(event, ev.Compared)]
    assert (same.kl, same.shared, same.of) == (0.0, 8, 8)
    assert base != edited


def test_each_state_says_how_many_tokens_it_drew_and_in_what_time(three: Engine) -> None:
    events, _ = drain(three.generate(PROMPT, states=["base", "1"], sampling=Sampling(max_new=5)))
    for word in ("base", "1"):
        chunks = [event for event in events if isinstance(event, ev.GenerationChunk) and event.side == word]
        assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert [chunk.tokens for chunk in chunks] == sorted(chunk.tokens for chunk in chunks)
        assert 0 < chunks[-1].tokens <= 5
        assert chunks[-1].seconds > 0


def test_what_was_said_in_a_state_is_not_asked_again(three: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.engine import next_tokens
    from workbench.probing.answers import next_token_log_p

    asked: list[str] = []

    def counted(model: Any, tokenizer: Any, prompts: list[str], chat: Any) -> Any:
        asked.extend(prompts)
        return next_token_log_p(model, tokenizer, prompts, chat)

    monkeypatch.setattr(next_tokens, "next_token_log_p", counted)
    three.core.next_tokens.clear()
    first = answers(three, "base", "main", "stack")
    assert answers(three, "stack", "main", "base") == first[::-1]
    assert len(asked) == 3
    drain(three.switch("main"))
    assert answers(three, "stack") == [first[1]]
    assert len(asked) == 3, "main is the same state, however it is called"
    drain(three.switch("other"))
    monkeypatch.setattr(next_tokens, "MOST", 2)
    answers(three, "base", "main", "other")
    assert len(three.core.next_tokens) == 2


def test_probes_of_all_states_are_asked_in_each_of_them(three: Engine) -> None:
    events, _ = drain(three.watch(["base", "main"]))
    found = [event for event in events if isinstance(event, ev.ProbeResult)]
    by_side = {side: [e for e in found if e.side == side] for side in ("base", "main")}
    keys = [[(e.edit, e.kind, e.prompt, e.expected) for e in by_side[side]] for side in ("base", "main")]
    assert keys[0] == keys[1]
    assert [e.kind for e in by_side["main"]] == [
        "efficacy", "paraphrase", "neighbourhood", "efficacy", "perplexity",
    ]  # fmt: skip
    own = by_side["main"][0], by_side["base"][0]
    assert [one.p_expected for one in own] == sorted((one.p_expected or 0.0 for one in own), reverse=True)
    assert own[0].before == pytest.approx(own[1].p_expected)
    values = [by_side[side][-1].value for side in ("base", "main")]
    assert values[0] == three.core.perplexity_base() != values[1]


def test_probes_that_a_person_added_are_asked_as_well(three: Engine) -> None:
    added = [
        AddedProbe(PROMPT, "Irish", "paraphrase"),
        AddedProbe("Clara plays the", "", "neighbourhood"),
        AddedProbe("Clara plays the", "Irish", "neighbourhood"),
    ]
    events, held = drain(three.watch(["base", "main"], added))
    found = [e for e in events if isinstance(e, ev.ProbeResult) and not e.edit and e.kind != "perplexity"]
    assert [(e.side, e.kind, e.passed) for e in found if e.side == "base"] == [
        ("base", "paraphrase", False),
        ("base", "neighbourhood", True),
        ("base", "neighbourhood", False),
    ]
    at_base, edited = found[0].p_expected, found[3].p_expected
    assert at_base is not None
    assert edited is not None
    assert edited > at_base
    assert not held


def test_of_too_many_probes_the_newest_are_asked_and_that_is_said(three: Engine) -> None:
    events, _ = drain(three.watch(["main"], [AddedProbe("Clara plays the", "Irish")], most=2))
    assert [e.message for e in events if isinstance(e, ev.Warning)] == ["3 probes of the oldest edits are not asked."]
    asked = [e for e in events if isinstance(e, ev.ProbeResult) and e.kind != "perplexity"]
    assert [e.prompt for e in asked] == [OTHER.text, "Clara plays the"]


def said(engine: Engine, do: str, **args: object) -> list[ev.Event]:
    return [*dispatch(engine, Command(do, "j", dict(args)), lambda: False)]  # type: ignore[arg-type]


def test_verbs_take_states_as_words_and_numbers(three: Engine) -> None:
    events = said(three, "generate", prompt=PROMPT, states=["base", 1], max_new=2, k=3)
    assert [event.side for event in events if isinstance(event, ev.Answered)] == ["base", "1"]
    assert all(len(event.top) == 3 for event in events if isinstance(event, ev.Answered))
    added = [AddedProbe("Clara plays the", "x").to_json()]
    found = said(three, "probe", states=["stack"], added=added, most=5)
    assert [event.prompt for event in found if isinstance(event, ev.ProbeResult)][-2] == "Clara plays the"


@pytest.mark.parametrize("states", [[], "base", [None], [-1], [True], ["x" * 300], ["\ud800"], ["base"] * 9, {}])
def test_states_that_are_no_words_are_refused(three: Engine, states: object) -> None:
    with pytest.raises(UsageError):
        said(three, "generate", prompt=PROMPT, states=states)


@pytest.mark.parametrize(
    "added",
    [
        "x",
        [1],
        [{"prompt": "x"}],
        [{"prompt": "", "expected": "y", "kind": "efficacy"}],
        [{"prompt": "x", "expected": "", "kind": "efficacy"}],
        [{"prompt": "x", "expected": "y", "kind": "other"}],
        [{"prompt": "\ud800", "expected": "y", "kind": "efficacy"}],
        [{"prompt": "x" * 4_001, "expected": "y", "kind": "efficacy"}],
    ],
)
def test_added_probes_from_the_wire_are_checked(added: object) -> None:
    with pytest.raises(WorkbenchError):
        added_probes(added)
