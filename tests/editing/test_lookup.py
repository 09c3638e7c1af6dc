"""Where the subject is and which ids the target has, with the tokenizers that trip editing code."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from tests.editing.tokenizers_for_tests import byte_level, spacing
from tests.parity.load import Parity
from workbench.editing.lookup import Row, fill, kl_row, lookup_rows, target_ids, tokenise
from workbench.editing.rows import with_target
from workbench.edits import EditRequest
from workbench.errors import EditError, ModelError, RequestError

PLAIN, WITH_EOS, SPACING, BYTES = byte_level(), byte_level(eos=True), spacing(), byte_level(merges=False)
LETTERS = "ab Rome.'éöł北京😀\u0301\n"


def bare(prompt: str, subject: str, tokenizer: object = PLAIN) -> Row:
    (row,) = lookup_rows(tokenizer, EditRequest(prompt, subject, "Oslo"), ("{}",))  # type: ignore[arg-type]
    return row


@pytest.mark.parametrize(
    ("prompt", "up_to"),
    [
        ("{} is old", "Rome"),
        ("the city of {} is old", "the city of Rome"),
        ("the city of {}", "the city of Rome"),
    ],
)
def test_the_subject_is_found_at_start_middle_and_end(prompt: str, up_to: str) -> None:
    row = bare(prompt, "Rome")
    assert row.lookup == len(PLAIN(up_to)["input_ids"]) - 1
    assert row.token.strip() == "Rome"


@pytest.mark.parametrize(
    ("prompt", "up_to"),
    [("Rome and {} is", "Rome and Rome"), ("{} and Rome is", "Rome"), ("Rome {} Rome", "Rome Rome")],
)
def test_a_subject_that_stands_twice_is_taken_where_the_slot_is(prompt: str, up_to: str) -> None:
    assert bare(prompt, "Rome").lookup == len(PLAIN(up_to)["input_ids"]) - 1


def test_a_template_that_holds_the_subject_does_not_confuse() -> None:
    request = EditRequest("{} is old", "Rome", "x")
    text, (start, end) = fill("the city of Rome. {}", request)
    assert text == "the city of Rome. Rome is old"
    assert (start, text[start:end]) == (18, "Rome")


def test_a_bos_token_shifts_nothing(parity_llama: Parity) -> None:
    row = lookup_rows(parity_llama.tokenizer, EditRequest("{} plays the", "Egypt", "x"), ("{}",))[0]
    assert parity_llama.tokenizer.convert_ids_to_tokens(list(row.ids[:2])) == ["<s>", "Egypt"]
    assert row.lookup == 1


def test_an_eos_behind_the_text_is_left_out_so_that_the_target_follows_the_text() -> None:
    row = bare("the city of {} is", "Rome", WITH_EOS)
    assert WITH_EOS.convert_ids_to_tokens(list(row.ids))[-1] == "Ġis"
    assert row.ids[0] == WITH_EOS.bos_token_id


@pytest.mark.parametrize("tokenizer", [PLAIN, SPACING], ids=["byte-level", "byte fallback"])
@pytest.mark.parametrize("subject", ["北京", "Dvořák", "Zoë", "😀"])
def test_the_last_of_a_characters_bytes_is_looked_up(tokenizer: object, subject: str) -> None:
    row = bare("in {} is", subject, tokenizer)
    whole = bare("in {}", subject, tokenizer)
    assert row.ids[: row.lookup + 1] == whole.ids, "the row up to the token is the text up to the subject's end"
    assert row.token.endswith(subject[-1])


def test_white_space_around_the_subject_is_not_the_subject() -> None:
    assert bare("in {}is old", "Rome ").token.strip() == "Rome"
    assert bare("in{} is old", " Rome").token.strip() == "Rome"


def test_braces_in_a_subject_are_text() -> None:
    request = EditRequest("in {} is", "{} {x}", "Oslo")
    text, (start, end) = fill("Rome. {}", request)
    assert text == "Rome. in {} {x} is"
    assert text[start:end] == "{} {x}"


@settings(max_examples=150, deadline=None)
@given(before=st.text(LETTERS, max_size=12), subject=st.text(LETTERS, min_size=1), after=st.text(LETTERS, max_size=12))
def test_the_looked_up_token_holds_the_subjects_last_byte(before: str, subject: str, after: str) -> None:
    assume(subject.strip())
    row = tokenise(PLAIN, before + subject + after, (len(before), len(before) + len(subject)))
    lengths = [len(token) for token in PLAIN.convert_ids_to_tokens(list(row.ids))]  # one letter a byte
    last_byte = len((before + subject.rstrip()).encode()) - 1
    assert sum(lengths[: row.lookup]) <= last_byte < sum(lengths[: row.lookup + 1])


def test_the_divergence_row_looks_up_the_subject_and_not_its_own_end() -> None:
    row = kl_row(PLAIN, "Rome")
    assert PLAIN.decode(list(row.ids)) == "Rome is a"
    assert row.token == "Rome"


@pytest.mark.parametrize("target", ["Oslo", " Oslo", "   Oslo"])
@pytest.mark.parametrize("tokenizer", [PLAIN, WITH_EOS, SPACING], ids=["plain", "eos", "spacing"])
def test_a_target_has_one_leading_space_and_no_special_token(tokenizer: object, target: str) -> None:
    ids = target_ids(tokenizer, target)  # type: ignore[arg-type]
    words = tokenizer("Rome Oslo", add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    rome = tokenizer("Rome", add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    assert list(ids) == words[len(rome) :]


@pytest.mark.parametrize("target", ["北京", "café"])
def test_targets_are_joined_as_ids_and_never_decoded(target: str) -> None:
    ids = target_ids(BYTES, target)
    assert ids == target_ids(BYTES, " " + target)
    assert BYTES.decode(list(ids)) == " " + target
    row = with_target(bare("in {} is", "Rome", BYTES), ids)
    assert row.ids[-(len(ids) - 1) :] == ids[:-1]
    assert "\ufffd" in BYTES.decode(list(ids[:-1])), "decoding a part of this target would have lost it"


def test_a_tokenizer_without_offsets_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match="no offsets"):
        bare("in {} is", "Rome", ByT5Tokenizer())


@pytest.mark.parametrize("template", ["no slot", "{} and {}"])
def test_a_template_needs_one_slot(template: str) -> None:
    with pytest.raises(RequestError, match=r"one \{\}"):
        fill(template, EditRequest("in {} is", "Rome", "Oslo"))


def test_a_subject_that_the_tokenizer_drops_is_said() -> None:
    with pytest.raises(EditError, match="leaves nothing of the subject"):
        tokenise(PLAIN, "in Rome", (7, 7))
