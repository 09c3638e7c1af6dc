"""The tokenizer beside a model: one that knows where its tokens lie in the text, and that is of this model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from workbench.errors import EditError, ModelError

_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")


def read_tokenizer(folder: Path, name: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`.

    Raises:
        ModelError: there is none, it cannot be read, or it cannot tell where a token lies.
    """
    if not any((folder / file).is_file() for file in _FILES) and not trust_remote_code:
        raise ModelError(f"'{name}' has no tokenizer: tokenizer.json is missing.", "Put the model's own beside it.")
    logging: Any = transformers_logging  # partly untyped
    logging.set_verbosity_error()  # it warns of texts that are too long, which are refused here in words of their own
    try:
        auto: Any = AutoTokenizer  # which transformers leaves untyped
        tokenizer: PreTrainedTokenizerBase = auto.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # transformers lets through whatever a strange file makes happen
        raise ModelError(f"The tokenizer of '{name}' cannot be loaded.", "Is tokenizer.json in the folder?") from error
    if not tokenizer.is_fast:
        raise ModelError(f"The tokenizer of '{name}' has no offsets.", "A fast tokenizer (tokenizer.json) is needed.")
    return tokenizer


def guarded(tokenizer: PreTrainedTokenizerBase, rows: int) -> PreTrainedTokenizerBase:
    """`tokenizer` itself, which from now on refuses texts with a token beyond the `rows` that the model embeds.

    Its calls raise EditError for such a text: the model would fail on it, and on a GPU take the process with it.
    """
    own: Any = type(tokenizer)

    def call(self: Any, *texts: Any, **options: Any) -> Any:
        encoded = own.__call__(self, *texts, **options)
        beyond = next((token for token in _flat(encoded["input_ids"]) if token >= rows), None)
        if beyond is not None:
            raise EditError(
                f"The model has no embedding for the token {self.convert_ids_to_tokens(beyond)!r}.",
                "Write the text without it.",
            )
        return encoded

    tokenizer.__class__ = type(own.__name__, (own,), {"__call__": call})
    return tokenizer


def _flat(ids: Any) -> Iterator[int]:
    for one in ids:
        yield from _flat(one) if isinstance(one, list) else (int(one),)


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str) -> str:
    """What should be known though the tokenizer can be used: that tokens were added which the model does not have.

    Raises:
        ModelError: it has tokens of its own vocabulary that the model has no embedding for: it is another model's.
    """
    rows = embedded(model)
    added = set(tokenizer.added_tokens_decoder)
    beyond = {ident for ident in tokenizer.get_vocab().values() if ident >= rows}
    if beyond - added:
        raise ModelError(
            f"The tokenizer of '{name}' is another model's: it has {len(tokenizer):,} tokens, the model {rows:,}.",
            "Put the model's own tokenizer files into the folder.",
        )
    if beyond:
        token = tokenizer.convert_ids_to_tokens(min(beyond))
        return f"The model has no embedding for {len(beyond)} of the tokenizer's added tokens, such as {token!r}."
    return ""


def named_few(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str) -> str:
    """What should be said where the tokenizer names less than half of the model's tokens, as another model's may.

    Embeddings are filled up to a round number, never doubled.
    """
    rows = embedded(model)
    if 2 * len(tokenizer) >= rows:
        return ""
    return f"The tokenizer of '{name}' names only {len(tokenizer):,} of the model's {rows:,} tokens."


def embedded(model: PreTrainedModel) -> int:
    """How many token ids the model has embeddings for."""
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.num_embeddings)
