"""Tracing as a job: the answer is the model's own, the base is put back, facts that are not known are left out."""

from __future__ import annotations

import pytest

from tests.engine.making import OTHER, REQUEST, drain, weight_bytes
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine.dispatch import dispatch
from workbench.engine.engine import Engine
from workbench.engine.protocol import Command
from workbench.engine.tracing import trace_facts
from workbench.errors import EditError, RequestError, UsageError, WorkbenchError
from workbench.probing.answers import Question, read_answers
from workbench.traces import TraceSettings

QUICK = TraceSettings(samples=2)


def traced(engine: Engine, request: EditRequest = REQUEST, answer: str = "", **more: object) -> ev.Traced:
    _, found = drain(engine.trace(request.prompt, request.subject, answer, settings=QUICK, **more))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_answer_is_what_the_model_says_and_its_probability_is_the_clean_one(engine: Engine) -> None:
    loaded = engine.core.loaded
    said, p = read_answers(loaded.model, loaded.tokenizer, [Question(REQUEST.text)], top=1)[0].top[0]
    events, found = drain(engine.trace(REQUEST.prompt, REQUEST.subject, settings=QUICK))
    assert isinstance(events[-1], ev.Traced)
    assert events[-1] == found
    assert found.answer == said
    assert found.clean == pytest.approx(p, rel=1e-5)
    assert (found.side, found.layers, found.prompt) == ("base", 4, REQUEST.prompt)
    assert "".join(found.rows[row] for row in found.subject_rows).replace(" ", "") == "NaguibMahfouz"
    assert found.peak_row in found.subject_rows
    assert found.effects[found.peak_row][found.peak_layer] == max(max(found.effects[r]) for r in found.subject_rows)
    steps = [event for event in events if isinstance(event, ev.TraceStep)]
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].of == 4 * (len(found.rows) - found.subject_rows[0])


def test_an_answer_that_the_model_does_not_give_is_traced_with_a_warning(engine: Engine) -> None:
    events, found = drain(engine.trace(REQUEST.prompt, REQUEST.subject, "silver trumpet", settings=QUICK))
    assert any(isinstance(event, ev.Warning) and "does not say 'silver trumpet'" in event.message for event in events)
    assert found is not None
    assert found.answer == "silver trumpet"


def test_both_sides_are_traced_and_the_model_is_as_it_was(engine: Engine) -> None:
    before = traced(engine, OTHER)
    drain(engine.apply(OTHER))
    weights = weight_bytes(engine)
    base = traced(engine, OTHER)
    stack = traced(engine, OTHER, side="stack")
    assert weight_bytes(engine) == weights
    assert base == before
    assert (base.side, stack.side) == ("base", "1")
    assert stack.effects != base.effects


def test_a_subject_is_put_into_a_prompt_that_names_it(engine: Engine) -> None:
    assert traced(engine, REQUEST).effects == traced_text(engine, REQUEST.text).effects


def traced_text(engine: Engine, prompt: str) -> ev.Traced:
    _, found = drain(engine.trace(prompt, REQUEST.subject, settings=QUICK))
    assert found is not None
    return found


def test_a_trace_goes_over_the_wire_with_its_side_and_settings(engine: Engine) -> None:
    def do(**args: object) -> ev.Traced:
        command = Command("trace", "a", {"prompt": OTHER.prompt, "subject": OTHER.subject, **args})
        (found,) = (e for e in dispatch(engine, command, lambda: False) if isinstance(e, ev.Traced))
        line = ev.from_line(ev.to_line(found))
        assert line == found
        return found

    drain(engine.apply(OTHER))
    settings = {"samples": 2, "kind": "mlp", "window": 2, "seed": 4, "noise": 2}
    found = do(side="stack", settings=settings)
    assert (found.side, found.kind, found.window, found.samples, found.seed) == ("1", "mlp", 2, 2, 4)
    assert do(settings={"samples": 1}).side == "base"
    assert do(settings=settings | {"noise": 4}).sigma == pytest.approx(2 * found.sigma)


def test_a_cancelled_trace_ends_without_a_picture(engine: Engine) -> None:
    asked = iter([False, True])
    events, found = drain(
        engine.trace(
            REQUEST.prompt, REQUEST.subject, settings=TraceSettings(samples=300), cancelled=lambda: next(asked)
        )
    )
    assert found is None
    assert [type(event) for event in events] == [ev.TraceStep]


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        ({"prompt": "{} is", "subject": ""}, RequestError),
        ({"prompt": "x is", "subject": "y"}, RequestError),
        ({"prompt": "{} is", "subject": "y", "side": "left"}, UsageError),
        ({"prompt": "{} is", "subject": "y", "settings": {"kind": "soul"}}, UsageError),
        ({"prompt": "{} is", "subject": "y", "settings": {"samples": 10**9}}, UsageError),
        ({"prompt": "{} is", "subject": "\u3000y" * 900}, EditError),
        ({"prompt": 3, "subject": "y"}, UsageError),
    ],
)
def test_a_trace_that_makes_no_sense_is_refused(
    engine: Engine, args: dict[str, object], kind: type[WorkbenchError]
) -> None:
    with pytest.raises(kind):
        list(dispatch(engine, Command("trace", "a", args), lambda: False))


def test_the_mean_is_over_the_facts_that_the_model_knows(engine: Engine) -> None:
    loaded = engine.core.loaded
    prompts = [
        ("{} plays the", "Knut Hamsun"),
        ("The mother tongue of {} is", "Naguib Mahfouz"),
        ("{} was born in", "Ibsen"),
    ]
    said = [
        read_answers(loaded.model, loaded.tokenizer, [Question(prompt.replace("{}", subject))], top=1)[0].top[0][0]
        for prompt, subject in prompts
    ]
    known = [EditRequest(p, s, "wrong", target_true=answer) for (p, s), answer in zip(prompts, said, strict=True)]
    requests = [known[0], EditRequest("{} sings", "Clara", "never that"), known[1], known[2]]
    events, mean = drain(trace_facts(loaded, requests, QUICK, most=2, cancelled=lambda: False))
    assert mean is not None
    assert mean.averaged
    assert (mean.facts, mean.asked) == (2, 3)
    one, two = (traced(engine, request, request.target_true or "") for request in (known[0], known[1]))
    last = mean.rows.index("last subject token")
    expected = [
        (a + b) / 2 for a, b in zip(one.effects[one.subject_rows[-1]], two.effects[two.subject_rows[-1]], strict=True)
    ]
    assert mean.effects[last] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert (mean.peak_row, mean.peak_layer) == (last, expected.index(max(expected)))
    assert {(step.index, step.facts) for step in events if isinstance(step, ev.TraceStep)} == {(1, 2), (2, 2)}


def test_facts_that_are_all_unknown_are_an_error(engine: Engine) -> None:
    with pytest.raises(EditError, match="knows none of the 1 facts"):
        drain(trace_facts(engine.core.loaded, [OTHER], QUICK, cancelled=lambda: False))
