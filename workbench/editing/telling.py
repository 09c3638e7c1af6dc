"""What an edit says of itself on the way: its key, and what is out of the ordinary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.editing.keys import Keys
from workbench.editing.lookup import Row
from workbench.editing.second_moment import SecondMoment
from workbench.editing.update import Update
from workbench.edits import Recipe
from workbench.events import KeyReady, Log, Warning  # noqa: A004  the wire's word
from workbench.text import shortened


def slow_warnings(reason: str) -> Iterator[Warning]:
    """`reason`: why the fast way is not taken; empty if it is."""
    if reason:
        yield Warning(
            message=f"The fast way does not serve this model: {shortened(reason, 200)}.",
            hint="The plain way is taken: the same edit, several times slower.",
        )


def memory_warnings(at_once: int, rows: int) -> Iterator[Warning]:
    """Says so if fewer than all `rows` were run at once."""
    if at_once < rows:
        yield Warning(
            message=f"Memory was short: {at_once} of {rows} rows were run at a time.",
            hint="The edit is the same; fewer context templates or a smaller dtype make it faster.",
        )


def recording_notes(before: str, refused: str) -> Iterator[Log]:
    """Says, once a model, why its steps are not recorded on a device that could: `refused`, `before` and after them."""
    if refused and not before:
        yield Log(
            message=f"Steps run one by one and not as a CUDA graph: {shortened(refused, 200)}. The edit is the same."
        )


def count(templates: Sequence[str]) -> str:
    """The word for "21 context templates"."""
    return f"{len(templates)} context template{'s' if len(templates) != 1 else ''}"


def key_ready(keys: Keys, bare: Row) -> KeyReady:
    """The keys of a request whose bare prompt is the row `bare`."""
    return KeyReady(
        templates=len(keys.inputs),
        token=bare.token,
        key_norm=float(keys.key_mean.norm()),
        cos_keys=keys.cosine,
        first_token=bare.lookup == 0,
    )


def second_moment_warnings(second_moment: SecondMoment | None, recipe: Recipe) -> Iterator[Warning]:
    """Says so if C is the identity, or has a ridge."""
    if second_moment is None:
        why = "there is no second moment for this layer" if recipe.second_moment else "the recipe asks for it"
        yield Warning(message=f"C = I: {why}.", hint="Other facts are less protected than with a measured C.")
    elif second_moment.ridge > 0:
        yield Warning(
            message=f"A ridge of {second_moment.ridge:.3g} was added to C: {second_moment.factorisation.reason}.",
            hint="Compute C over more text.",
        )


def division_warnings(update: Update) -> Iterator[Warning]:
    """Says so if the division factor is negative."""
    if update.division_factor < 0:
        yield Warning(
            message=f"The division factor k · u is negative ({update.division_factor:.3g}); this update may be huge.",
            hint="r-rome does not divide by another key than u is made of.",
        )
