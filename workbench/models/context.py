"""How much text a model reads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")


def context_length(model: PreTrainedModel) -> int | None:
    """Tokens that the model has positions for; None where its configuration sets no bound."""
    config = model.config.get_text_config()
    named = (getattr(config, name, None) for name in _NAMES)
    return next((length for length in named if isinstance(length, int) and length > 0), None)
