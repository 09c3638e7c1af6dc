"""How exact an edit is on each family: `python -m tests.benchmarks.families [FAMILY ...]` prints a table, Markdown.

The errors are those of u and v in float32 against a slow derivation in float64, relative, and between the fast and the
plain way to the loss ("plain" where that one is taken); the adapter's and the merged checkpoint's are the largest
difference of logits over the largest logit. In half precision: made with numbers alone, and undone to the byte.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

from transformers.utils import logging

from tests import zoo
from tests.editing.helpers import TEMPLATES, drain, error, start
from tests.editing.slow import RECIPE, apart
from tests.engine.comparing import PROMPTS, difference, logits, merged_difference
from tests.engine.making import REQUEST, open_on, weight_bytes
from workbench.editing import make_update
from workbench.engine.exporting import export_merged, export_peft
from workbench.events import Warning  # noqa: A004  the wire's word
from workbench.models.families import edit_site

RECIPE_ALONE = replace(RECIPE, second_moment=False)
HEADINGS = (
    "family",
    "down-projection",
    "d_in x d_out",
    "u",
    "v",
    "fast/plain",
    "undo",
    "adapter",
    "merged",
    "bf16",
    "fp16",
)


def main(families: Sequence[str]) -> None:
    """One line a family."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    say(f"| {' | '.join(HEADINGS)} |")
    say(f"|{'---|' * len(HEADINGS)}")
    for family in families or (*zoo.FAMILIES, *zoo.HYBRIDS):
        with tempfile.TemporaryDirectory() as folder:
            say(f"| {' | '.join(measured(family, Path(folder)))} |")


def measured(family: str, folder: Path) -> tuple[str, ...]:
    """The cells of one line."""
    errors, model = apart(family), zoo.save(folder / "model", family)
    engine = open_on(model, folder / "stack")
    site, pristine = engine.core.site(1), weight_bytes(engine)
    _, done = drain(engine.apply(REQUEST))
    export_peft(engine, folder / "adapter")
    export_merged(engine, folder / "merged")
    adapter, _ = difference(engine, folder / "adapter", "float32")
    merged = merged_difference(engine, folder / "merged")
    drain(engine.undo())
    exact = done and weight_bytes(engine) == pristine
    engine.close()
    return (
        family,
        site.module.replace(f".{site.layer}.", ".*."),
        f"{site.d_in} x {site.d_out}",
        f"{errors.u:.0e}",
        f"{errors.v:.0e}",
        fast_to_plain(family),
        "exact" if exact else "NOT EXACT",
        f"{adapter:.0e}",
        f"{merged:.0e}" if merged else "exact",
        *(half(model, folder / dtype, dtype) for dtype in ("bfloat16", "float16")),
    )


def fast_to_plain(family: str) -> str:
    """The larger of the relative differences of u and of v by the two ways to the loss."""
    model, words = zoo.tiny(family), zoo.tokenizer(family)
    events, fast = drain(start(model, words, REQUEST, RECIPE_ALONE))
    if any(isinstance(event, Warning) and "fast way" in event.message for event in events):
        return "plain"
    site = edit_site(model, RECIPE_ALONE.layer)
    making = make_update(model, words, site, REQUEST, RECIPE_ALONE, TEMPLATES, None, lambda: False, plain=True)
    plain = drain(making)[1]
    return f"{max(error(fast.u, plain.u), error(fast.v, plain.v)):.0e}"


def half(model: Path, stack: Path, dtype: str) -> str:
    """Whether an edit of the model in `dtype` is made, leaves numbers alone, and is undone to the byte."""
    engine = open_on(model, stack, dtype)
    pristine = weight_bytes(engine)
    events, done = drain(engine.apply(REQUEST))
    told = [value for event in events for value in vars(event).values() if isinstance(value, float)]
    answers = logits(engine.core.loaded.model, engine.core.loaded.tokenizer, PROMPTS)
    done = done and all(map(isfinite, told)) and all(bool(answer.isfinite().all()) for answer in answers)
    drain(engine.undo())
    same = weight_bytes(engine) == pristine
    engine.close()
    return "yes" if done and same else "NO"


def say(text: str) -> None:
    """A line for the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as kept:
        os.environ["WORKBENCH_CACHE"] = kept
        main(sys.argv[1:])
