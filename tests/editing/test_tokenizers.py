"""Positions and targets with every kind of tokenizer that models come with, and that none of its habits shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests import zoo
from tests.editing.tokenizers_for_tests import NAMES, SPECIAL, TEXT, byte_level, spacing
from tests.engine.making import drain, open_on
from workbench.editing.lookup import kl_row, lookup_rows, prompt_ids, target_ids, tokenise
from workbench.edits import EditRequest
from workbench.errors import RequestError
from workbench.stack.record import Factors


def metaspace(scheme: str, *, split: bool = True) -> PreTrainedTokenizerFast:
    """As SentencePiece models become fast tokenizers: ▁ for a space, bytes for what has no piece."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=SPECIAL[2]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(
        [line for line in TEXT if line.isascii()],
        trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL + fallback, show_progress=False),
    )
    return _wrapped(tokenizer)


def prefixing() -> PreTrainedTokenizerFast:
    """Byte-level with add_prefix_space: every text begins with a space of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return _wrapped(tokenizer)


def composing() -> PreTrainedTokenizerFast:
    """Byte-level behind a normaliser that joins letters and accents: a token stands for other characters."""
    tokenizer = byte_level().backend_tokenizer
    tokenizer.normalizer = normalizers.NFC()
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **NAMES)  # type: ignore[no-untyped-call]


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level": byte_level,
    "byte-level, BOS and EOS": lambda: byte_level(eos=True),
    "byte-level, a byte a token": lambda: byte_level(merges=False),
    "byte-level, prefix space": prefixing,
    "byte-level, NFC": composing,
    "prepended space, BOS": spacing,
    "metaspace always": lambda: metaspace("always"),
    "metaspace first": lambda: metaspace("first"),
    "metaspace never": lambda: metaspace("never"),
    "metaspace, not split": lambda: metaspace("first", split=False),
}
MADE = {name: make() for name, make in KINDS.items()}
every = pytest.mark.parametrize("tokenizer", MADE.values(), ids=MADE)
SUBJECTS = ["Rome", "New Rome", "北京", "Zoë", "Zoe\u0308", "Dvořák", "😀", "👩‍🚀", "O'Neil", "x"]


def words(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> str:
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    kept = [ident for ident in ids if ident not in ends]
    return str(tokenizer.decode(kept, clean_up_tokenization_spaces=False)).strip()


@every
@pytest.mark.parametrize("prompt", ["{} is old", "the city of {} is", "in {}", "({}) is"])
def test_the_looked_up_token_is_the_first_to_complete_the_subject(
    tokenizer: PreTrainedTokenizerBase, prompt: str
) -> None:
    for subject in SUBJECTS:
        request = EditRequest(prompt, subject, "Oslo")
        (row,) = lookup_rows(tokenizer, request, ("{}",))
        whole = words(tokenizer, prompt_ids(tokenizer, request.text[: request.subject_span[1]]))
        assert words(tokenizer, row.ids[: row.lookup + 1]).startswith(whole), subject
        assert not words(tokenizer, row.ids[: row.lookup]).startswith(whole), subject


@every
@settings(max_examples=40, deadline=None)
@given(context=st.text("ab Rome.北é\n", max_size=12), subject=st.sampled_from(SUBJECTS))
def test_a_context_in_front_moves_the_place_and_changes_nothing_else(
    tokenizer: PreTrainedTokenizerBase, context: str, subject: str
) -> None:
    request = EditRequest("the city of {} is", subject, "Oslo")
    bare, behind = lookup_rows(tokenizer, request, ("{}", context.replace("{", "") + ". {}"))
    assert behind.token.strip() == bare.token.strip()
    assert len(behind.ids) - behind.lookup == len(bare.ids) - bare.lookup


@every
@pytest.mark.parametrize("spaces", ["", " ", "  "])
def test_prompt_and_target_joined_are_the_text_with_one_space_between(
    tokenizer: PreTrainedTokenizerBase, spaces: str
) -> None:
    for target in ("Oslo", "New Oslo", "北京", "café", "😀", "Oslo."):
        joined = prompt_ids(tokenizer, "the city is") + target_ids(tokenizer, spaces + target)
        assert words(tokenizer, joined) == f"the city is {target}"


@every
def test_a_target_of_several_tokens_is_the_same_ids_as_in_running_text(tokenizer: PreTrainedTokenizerBase) -> None:
    text, target = "the city is", "New Oslo"
    running = prompt_ids(tokenizer, f"{text} {target}")
    joined = prompt_ids(tokenizer, text) + target_ids(tokenizer, target)
    assert joined == running


@every
def test_the_row_of_the_divergence_looks_up_the_subject(tokenizer: PreTrainedTokenizerBase) -> None:
    for subject in SUBJECTS:
        row = kl_row(tokenizer, subject)
        assert row == tokenise(tokenizer, f"{subject} is a", (0, len(subject)))
        assert words(tokenizer, row.ids).endswith("is a")


@every
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side_and_pad_token_have_no_say(tokenizer: PreTrainedTokenizerBase, side: str) -> None:
    request = EditRequest("the city of {} is", "Rome", "Oslo")
    before = lookup_rows(tokenizer, request, ("{}",)), target_ids(tokenizer, "Oslo")
    padded = _wrapped(tokenizer.backend_tokenizer)
    padded.padding_side, padded.pad_token = side, padded.eos_token
    assert (lookup_rows(padded, request, ("{}",)), target_ids(padded, "Oslo")) == before


def test_of_several_places_the_slot_says_which_is_meant_and_without_one_it_must_be_said() -> None:
    for prompt, count in (("Rome and {} is", 2), ("{} and Rome is", 1)):
        request = EditRequest.from_text(prompt, "Rome", "Oslo")
        (row,) = lookup_rows(MADE["byte-level"], request, ("{}",))
        assert words(MADE["byte-level"], row.ids[: row.lookup + 1]).count("Rome") == count
    with pytest.raises(RequestError, match="stands 2 times"):
        EditRequest.from_text("Rome and Rome is", "Rome", "Oslo")


def test_a_tokenizer_that_pads_on_the_left_and_has_no_pad_token_makes_the_same_edit(tmp_path: Path) -> None:
    folder = zoo.save(tmp_path / "model", "gpt2")
    request = EditRequest(
        "The mother tongue of {} is", "Naguib Mahfouz", "Irish", "Arabic", ("Naguib Mahfouz speaks the language",)
    )
    made: list[tuple[Factors, object]] = []
    for side, pad in (("right", "<|endoftext|>"), ("left", None)):
        engine = open_on(folder, tmp_path / side)
        engine.core.loaded.tokenizer.padding_side, engine.core.loaded.tokenizer.pad_token = side, pad
        drain(engine.apply(request))
        made.append((engine.stack.factors(engine.stack.line[0])[0], engine.stack.line[0].metrics["probes"]))
        engine.close()
    (one, probes), (other, others) = made
    assert (one.a == other.a).all()
    assert (one.b == other.b).all()
    assert probes == others
