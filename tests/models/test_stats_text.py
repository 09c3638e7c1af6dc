"""Text for a second moment: documents out of files, rows without padding, text that the model writes itself."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import zoo
from tests.models.stats_by_hand import TEXT, drain, rows_by_hand
from workbench.engine.stats import documents
from workbench.engine.stats.documents import TextFiles
from workbench.engine.stats.packing import head_of, packed
from workbench.engine.stats.plan import Plan, window_of
from workbench.engine.stats.sampling import sampling
from workbench.errors import UsageError
from workbench.models.load import LoadedModel, load_model

PARITY = Path(__file__).parent.parent / "parity"


def sampled(loaded: LoadedModel, rows: int, length: int, seed: int, number: int) -> torch.Tensor:
    """A whole batch that the model has written."""
    batch: torch.Tensor = drain(sampling(loaded, rows, length, seed, number))[1]
    return batch


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return drain(load_model(str(zoo.save(tmp_path_factory.mktemp("zoo") / "gpt2", "gpt2"))))[1]


@pytest.fixture(scope="module")
def with_bos() -> LoadedModel:
    return drain(load_model(str(PARITY / "llama" / "model")))[1]


@given(
    st.lists(st.text(min_size=1, max_size=40), max_size=12), st.integers(4, 30), st.integers(1, 5), st.integers(4, 300)
)
def test_rows_are_the_text_and_nothing_else(texts: list[str], window: int, rows: int, tokens: int) -> None:
    tokenizer = zoo.tokenizer()
    batches = list(packed(tokenizer, texts, Plan(tokens, window, rows)))
    found = [row for batch in batches for row in batch.tolist()]
    assert found == rows_by_hand(tokenizer, texts, window, tokens)
    assert sum(batch.numel() for batch in batches) <= tokens
    assert all(len(batch) <= rows for batch in batches)


def test_every_row_begins_as_the_tokenizer_begins_a_text(with_bos: LoadedModel) -> None:
    head = head_of(with_bos.tokenizer)
    assert head == (with_bos.tokenizer.bos_token_id,)
    (batch,) = packed(with_bos.tokenizer, TEXT, Plan(48, 16, 8))
    assert batch.tolist() == rows_by_hand(with_bos.tokenizer, TEXT, 16, 48, head)
    assert head_of(zoo.tokenizer()) == ()


def test_a_window_fits_the_context(loaded: LoadedModel) -> None:
    assert window_of(loaded, None) == 96
    assert window_of(loaded, 40) == 40
    with pytest.raises(UsageError, match="97 tokens does not fit"):
        window_of(loaded, 97)


def test_files_patterns_and_both_kinds_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("\ufefföne\r\n\n  two  \n".encode())
    (tmp_path / "a.txt").write_text("zero")
    (tmp_path / "c.jsonl").write_text('{"text": "three\\nlines"}\n\n{"text": " ", "x": 1}\n{"text": "four"}')
    found = TextFiles([str(tmp_path / "*.txt"), str(tmp_path / "c.jsonl")])
    assert list(found.read()) == ["zero", "öne", "two", "three\nlines", "four"]
    assert list(found.read()) == ["zero", "öne", "two", "three\nlines", "four"]
    assert found.about()["words"] == "a.txt, b.txt, c.jsonl"
    assert str(tmp_path) not in json.dumps(found.about())


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", b"fine\n\xff\xfe\n", "Line 2 of a.txt is not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{"text"', "Line 2 of a.jsonl is not JSON"),
        ("a.jsonl", b'{"words": "a"}\n', "has no text in its row 1"),
        ("a.jsonl", b"[" * 100_000, "Line 1 of a.jsonl is not JSON"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\\ud800 b"}', "not valid Unicode in its row 2"),
        ("a.csv", b"a", "neither .txt nor .jsonl"),
    ],
)
def test_what_is_no_text_is_refused_in_words(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=words):
        list(TextFiles([str(tmp_path / name)]).read())


def test_a_name_without_a_file_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    for name in ("none.txt", "*.txt", "."):
        with pytest.raises(UsageError, match=r"There is no text file|is a folder"):
            TextFiles([str(tmp_path / name)])


def test_a_line_without_an_end_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LONGEST", 10)
    (tmp_path / "long.txt").write_bytes("ä".encode() * 17 + b"\nend")
    assert list(TextFiles([str(tmp_path / "long.txt")]).read()) == ["äääää", "äääää", "äääää", "ää", "end"]
    (tmp_path / "wide.txt").write_text("x北" * 5 + "😀😀😀")
    assert "".join(TextFiles([str(tmp_path / "wide.txt")]).read()) == "x北" * 5 + "😀😀😀"
    (tmp_path / "odd.txt").write_bytes(b"123456789\xe5")
    with pytest.raises(UsageError, match="not UTF-8"):
        list(TextFiles([str(tmp_path / "odd.txt")]).read())
    (tmp_path / "long.jsonl").write_text('{"text": "longer than ten bytes"}')
    with pytest.raises(UsageError, match="longer than 10 bytes"):
        list(TextFiles([str(tmp_path / "long.jsonl")]).read())


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"one\ntwo\n")))
    found = TextFiles(["-"])
    assert not found.again
    assert list(found.read()) == ["one", "two"]


def test_sampled_text_depends_on_its_seed_and_number_only(loaded: LoadedModel) -> None:
    before = torch.random.get_rng_state()
    first = sampled(loaded, 3, 20, seed=1, number=4)
    sampled(loaded, 2, 9, seed=1, number=0)
    assert torch.equal(first, sampled(loaded, 3, 20, seed=1, number=4))
    assert not torch.equal(first, sampled(loaded, 3, 20, seed=2, number=4))
    assert not torch.equal(first, sampled(loaded, 3, 20, seed=1, number=5))
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.shape == (3, 20)
    assert set(first[:, 0].tolist()) == {loaded.tokenizer.eos_token_id}
    assert int(first.max()) < len(loaded.tokenizer)


def test_sampling_tells_how_many_tokens_there_are(loaded: LoadedModel) -> None:
    told, batch = drain(sampling(loaded, 3, 6, seed=0, number=0))
    assert told == [6, 9, 12, 15, 18]
    assert batch.numel() == 18


def test_sampled_text_follows_the_models_own_odds(loaded: LoadedModel) -> None:
    start = torch.tensor([[loaded.tokenizer.eos_token_id]])
    with torch.no_grad():
        odds = loaded.model(input_ids=start).logits[0, -1, : len(loaded.tokenizer)].double().softmax(-1)
    drawn = torch.cat([sampled(loaded, 500, 2, seed=0, number=n)[:, 1] for n in range(8)])
    counts = torch.bincount(drawn, minlength=len(odds)).double()
    likely = odds > 0.005
    assert bool(likely.any())
    off = (counts[likely] - 4000 * odds[likely]).abs() / (4000 * odds[likely]).sqrt()
    assert float(off.max()) < 5.0


@pytest.mark.parametrize("family", sorted({"gpt2", "llama", "gemma2", "bloom", "mpt", "phi"} & {*zoo.FAMILIES}))
def test_sampling_with_a_cache_draws_what_sampling_without_one_draws(loaded: LoadedModel, family: str) -> None:
    model = zoo.tiny(family)
    ids = sampled(replace(loaded, model=model), 3, 12, seed=0, number=7)
    generator, slow = torch.Generator().manual_seed(7), ids[:, :1]
    banned = [i for i in loaded.tokenizer.all_special_ids if i != loaded.tokenizer.eos_token_id]
    with torch.no_grad():
        for _ in range(11):
            logits = model(input_ids=slow, use_cache=False).logits[:, -1, : len(loaded.tokenizer)]
            logits[:, banned] = float("-inf")
            slow = torch.cat([slow, torch.multinomial(logits.softmax(-1), 1, generator=generator)], dim=1)
    assert torch.equal(slow, ids)
