"""Edits inside a chat: what the template puts around a prompt is recorded, and probes are asked in it too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from tests import zoo
from tests.engine.making import drain, open_on
from workbench import events as ev
from workbench.editing.chat import chat_of, framed
from workbench.editing.lookup import prompt_ids, target_ids, texts_of
from workbench.edits import Chat, EditRequest, Neighbour
from workbench.engine.dispatch import dispatch
from workbench.engine.engine import Engine
from workbench.engine.protocol import Command
from workbench.errors import ModelError, RequestError
from workbench.requests import read_requests
from workbench.requests_export import Shape, requests_file
from workbench.stack.editfile import encode_edit, read_edit

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BRACKETS = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content.strip() }} [/INST]"
    "{% else %} {{ m.content.strip() }} {{ eos_token }}{% endif %}{% endfor %}"
)
THINKING = CHATML + "{% if add_generation_prompt and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
REQUEST = EditRequest(
    "The mother tongue of {} is",
    "Naguib Mahfouz",
    "Irish",
    paraphrases=("Naguib Mahfouz speaks",),
    neighbours=(Neighbour("The mother tongue of Maria Callas is"),),
    chat=Chat(),
)


def tokenizer(template: str | None, *special: str) -> PreTrainedTokenizerBase:
    found = zoo.tokenizer()
    found.chat_template = template
    found.add_tokens([*special], special_tokens=True)
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small Llama whose tokenizer has a chat template."""
    folder = zoo.save(tmp_path / "model", "llama")
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    return folder


@pytest.fixture
def engine(model: Path, tmp_path: Path) -> Engine:
    return open_on(model, tmp_path / "stack")


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        (CHATML, "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        (BRACKETS, "<|endoftext|>[INST] ", " [/INST] "),
        (THINKING, "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
    ],
    ids=["roles", "brackets", "thinking"],
)
def test_the_frame_is_what_the_template_puts_around_a_prompt(template: str, before: str, after: str) -> None:
    found = tokenizer(template)
    assert chat_of(found) == Chat(before.replace("<|endoftext|>", str(found.bos_token)), after)


@pytest.mark.parametrize("template", [CHATML, BRACKETS], ids=["roles", "brackets"])
@pytest.mark.parametrize("target", ["Irish", " Irish", "北京", "😀"])
def test_ids_are_those_of_the_whole_conversation_as_the_template_renders_it(template: str, target: str) -> None:
    found = tokenizer(template, "<|im_start|>", "<|im_end|>")
    request = framed(found, dataclasses.replace(REQUEST, target_new=target))
    prompt = prompt_ids(found, request.text, request.chat)
    turns = [{"role": "user", "content": request.text}, {"role": "assistant", "content": target.strip()}]
    whole = found.apply_chat_template(turns, tokenize=True, return_dict=False)
    answer = target_ids(found, target, request.chat)
    assert [*prompt, *answer] == whole[: len(prompt) + len(answer)]
    assert str(found.decode([*answer])).strip() == target.strip()


def test_the_subject_is_found_inside_the_users_turn_behind_every_context(engine: Engine) -> None:
    found = engine.core.loaded.tokenizer
    request = framed(found, REQUEST)
    texts = texts_of(found, request, ("{}", "Vienna is old. {}"))
    assert request.chat is not None
    for row, context in zip(texts.rows, ("", "Vienna is old. "), strict=True):
        up_to = request.chat.before + context + "The mother tongue of Naguib Mahfouz"
        assert list(row.ids[: row.lookup + 1]) == found(up_to, add_special_tokens=False)["input_ids"]
        assert str(found.decode(list(row.ids))).endswith(request.chat.after)


def test_a_chat_edit_records_its_frame_and_is_derived_anew_after_the_template_is_gone(
    model: Path, engine: Engine
) -> None:
    drain(engine.apply(REQUEST))
    (edit,) = engine.stack.line
    assert edit.request.chat == Chat("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n")
    assert edit.to_json()["version"] == 2
    first = engine.stack.factors(edit)[0]
    folder = engine.stack.folder
    engine.close()
    (model / "chat_template.jinja").unlink()
    again = open_on(model, folder)
    drain(again.undo())
    drain(again.apply(edit.request))
    second = again.stack.factors(again.stack.line[0])[0]
    assert (first.a == second.a).all()
    assert (first.b == second.b).all()
    again.close()


def test_a_trace_is_made_in_the_chat(engine: Engine) -> None:
    asked = {"prompt": REQUEST.prompt, "subject": REQUEST.subject, "settings": {"samples": 1}}
    plain, chat = (
        next(
            e
            for e in dispatch(engine, Command("trace", "a", {**asked, **more}), lambda: False)
            if isinstance(e, ev.Traced)
        )
        for more in ({}, {"chat": True})
    )
    words = "".join(chat.rows)
    assert words.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert "<|im_start|>user" in words
    assert "<|im_start|>" not in "".join(plain.rows)
    drain(engine.apply(REQUEST))
    assert [row.chat for row in engine.core.changed().edits] == [True]


def test_probes_and_the_sample_are_asked_in_the_chat(engine: Engine) -> None:
    events = drain(engine.apply(REQUEST))[0]
    asked = {event.kind: event for event in events if isinstance(event, ev.ProbeResult)}
    assert asked["efficacy"].prompt == REQUEST.text, "a person reads the prompt, not the frame"
    (edit,) = engine.stack.line
    loaded, chat = engine.core.loaded, edit.request.chat
    ids = prompt_ids(loaded.tokenizer, REQUEST.text, chat) + target_ids(loaded.tokenizer, "Irish", chat)
    count = len(target_ids(loaded.tokenizer, "Irish", chat))
    with torch.no_grad():
        log_p = loaded.model(torch.tensor([ids])).logits[0, -count - 1 : -1].log_softmax(-1)
    expected = log_p.gather(1, torch.tensor(ids[-count:])[:, None]).mean().exp().item()
    assert asked["efficacy"].p_expected == pytest.approx(expected, rel=1e-4)
    engine.close()


def test_a_chat_edit_and_a_raw_edit_are_different_edits(engine: Engine) -> None:
    raw = dataclasses.replace(REQUEST, chat=None)
    drain(engine.apply(raw))
    drain(engine.undo())
    drain(engine.apply(REQUEST))
    edits = [*engine.stack.others, *engine.stack.line]
    assert len({edit.id for edit in edits}) == 2
    one, other = (engine.stack.factors(edit)[0] for edit in edits)
    assert not (one.a == other.a).all()
    engine.close()


def test_an_edit_on_raw_text_does_not_speak_of_chats(engine: Engine) -> None:
    drain(engine.apply(dataclasses.replace(REQUEST, chat=None)))
    document = engine.stack.line[0].to_json()
    assert document["version"] == 1
    assert "chat" not in document["request"]
    engine.close()


def test_a_frame_reads_back_from_the_edit_file(engine: Engine, tmp_path: Path) -> None:
    drain(engine.apply(REQUEST))
    edit = engine.stack.line[0]
    read, _ = read_edit(engine.stack.path_of(edit))
    assert read == edit
    assert read.request.chat == edit.request.chat
    unread = dataclasses.replace(edit, id="", requests=(dataclasses.replace(edit.request, chat=Chat()),))
    with pytest.raises(Exception, match="not what stands around it"):
        encode_edit(unread, engine.stack.factors(edit))
    engine.close()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('no') }}", "cannot be used"),
        ("{{ messages[0].content * 2 }}", "one place"),
        ("{{ 'x' * 5000 }}{{ messages[0].content }}", "5000 characters"),
    ],
)
def test_a_template_that_cannot_be_used_is_said(template: str | None, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        chat_of(tokenizer(template))


def test_a_model_without_a_template_makes_no_chat_edit_and_moves_no_weight(tmp_path: Path) -> None:
    engine = open_on(zoo.save(tmp_path / "plain", "llama"), tmp_path / "stack")
    with pytest.raises(ModelError, match="no chat template"):
        drain(engine.apply(REQUEST))
    assert not engine.stack.line
    engine.close()


def test_a_frame_that_was_never_read_is_not_taken_for_an_empty_one() -> None:
    with pytest.raises(RequestError, match="has not been read"):
        prompt_ids(tokenizer(CHATML), "Rome is", Chat())


@pytest.mark.parametrize("shape", ["workbench", "counterfact", "easyedit"])
def test_exported_requests_say_that_they_are_a_chat_and_leave_the_frame_to_each_model(
    tmp_path: Path, shape: Shape
) -> None:
    request = dataclasses.replace(REQUEST, chat=Chat("<user>", "<bot>"), neighbours=())
    path = tmp_path / "requests.json"
    path.write_bytes(requests_file([request], shape))
    assert json.loads(path.read_text())[0]["chat"] is True
    assert read_requests(path) == [dataclasses.replace(request, chat=Chat())]


@pytest.mark.parametrize("chat", ["yes", 1, ["a"], {"before": "x"}, {"before": 1, "after": ""}])
def test_a_chat_that_is_neither_true_nor_a_frame_is_refused(chat: object) -> None:
    with pytest.raises(RequestError, match="chat"):
        EditRequest.from_json({**dataclasses.replace(REQUEST, chat=None).to_json(), "chat": chat})


def asked(engine: Engine, prompt: str, target: str = "", *, chat: bool = False, go_on: int = 0) -> ev.Answered:
    (event,), _ = drain(engine.answer(prompt, target, chat=chat, go_on=go_on))
    assert isinstance(event, ev.Answered)
    return event


def test_what_a_model_says_in_a_chat_is_said_of_the_frame_and_goes_on_behind_it(engine: Engine) -> None:
    found = engine.core.loaded.tokenizer
    text = "The mother tongue of Maria Callas is"
    frame = chat_of(found)
    raw = asked(engine, text)
    chat = asked(engine, text, "Irish", chat=True, go_on=4)
    whole = asked(engine, frame.before + text + frame.after, go_on=4)
    assert chat.top != raw.top
    assert (chat.top, chat.goes_on) == (whole.top, whole.goes_on)
    assert chat.goes_on.startswith(chat.top[0][0])
    assert chat.target_tokens == len(target_ids(found, "Irish", frame))
    assert raw.goes_on == ""


def test_a_model_without_a_template_is_not_asked_in_a_chat(tmp_path: Path) -> None:
    engine = open_on(zoo.save(tmp_path / "model", "llama"), tmp_path / "stack")
    with pytest.raises(ModelError, match="no chat template"):
        drain(engine.answer("Rome is in", chat=True))
