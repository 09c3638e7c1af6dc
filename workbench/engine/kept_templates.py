"""Context templates kept between runs: sampled once for a base, a seed and what else decides how they come out.

Anything odd about a kept file means that the templates are sampled again; nothing in it is trusted further than that
it is text that may stand in front of a prompt.
"""

from __future__ import annotations

from workbench.editing.templates import plain, sample_templates
from workbench.edits import SLOT, Recipe
from workbench.engine.kept_documents import Kept
from workbench.models.load import LoadedModel

LARGEST = 2**20
"""Bytes of a kept file, at most: 200 templates of 100 tokens are a tenth of that."""


def templates_for(loaded: LoadedModel, recipe: Recipe) -> tuple[str, ...]:
    """The context templates of `recipe`: those kept for the base, else sampled now and kept.

    To be called while the model is the base.

    Raises:
        EditError: the model's predictions are not numbers, as in too narrow a dtype.
    """
    decides = {"lengths": [list(pair) for pair in recipe.template_lengths], "seed": recipe.seed}
    kept = Kept.of(loaded, "templates", decides, LARGEST)
    found = _templates(kept.read(), 1 + sum(count for _, count in recipe.template_lengths))
    if found is None:
        found = sample_templates(loaded.model, loaded.tokenizer, recipe.template_lengths, recipe.seed)
        kept.write(found)
    return found


def _templates(texts: object, count: int) -> tuple[str, ...] | None:
    """`texts` if they are `count` templates, the bare one first."""
    if not isinstance(texts, list) or len(texts) != count or texts[0] != SLOT or not all(map(_fits, texts[1:])):
        return None
    return tuple(texts)


def _fits(text: object) -> bool:
    """Whether it is a template as they are sampled: harmless text, then the slot."""
    end = f". {SLOT}"
    return isinstance(text, str) and text.endswith(end) and plain(text.removesuffix(end)) == text.removesuffix(end)
