"""Tokenizers with the habits that trip editing code: a space put in front of every text, an EOS put behind it."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXT = ("the capital of Norway is Oslo and the city of Rome is old", "Rome Oslo Cairo", "café in Rome 北京 Dvořák")
SPECIAL = ["<s>", "</s>", "<unk>"]
NAMES = dict(zip(("bos_token", "eos_token", "unk_token"), SPECIAL, strict=True))


def byte_level(eos: bool = False, merges: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level BPE without BOS; with `eos` it puts one behind every text; without `merges` a byte is a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300 if merges else 259, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    if eos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=_pairs(tokenizer))
    return _wrapped(tokenizer)


def spacing() -> PreTrainedTokenizerFast:
    """Puts a space of its own in front of every text and falls back to bytes, as Llama 2's does; with BOS."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=SPECIAL[2]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL + fallback, show_progress=False)
    words = [word for line in TEXT[:2] for word in line.split()]
    tokenizer.train_from_iterator(words, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=_pairs(tokenizer))
    return _wrapped(tokenizer)


def _pairs(tokenizer: Tokenizer) -> list[tuple[str, int]]:
    ids = tokenizer.get_vocab()
    return [(token, ids[token]) for token in SPECIAL]


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **NAMES)  # type: ignore[no-untyped-call]
