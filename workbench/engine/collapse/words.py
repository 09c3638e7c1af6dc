"""What the experiment came to, in words that follow from its numbers alone. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.engine.collapse.jumps import FEWEST, TIMES, WINDOW
from workbench.events import Reproduced

NAMES = {
    "rome": "ROME",
    "r-rome": "r-ROME",
    "p-rome": "p-ROME",
    "c-rome": "C-ROME",
    "memit": "MEMIT",
    "emmet": "EMMET",
}


def conclusion(found: Sequence[Reproduced]) -> Iterator[str]:
    """A sentence a method, and what ROME and r-ROME say about each other where both were tried."""
    for one in found:
        yield f"{NAMES.get(one.method, one.method)}: {_jumps(one)}; {_phase(one)}"
    by_method = {one.method: one for one in found}
    if "rome" in by_method and "r-rome" in by_method:
        yield _claim(by_method["rome"], by_method["r-rome"])


def _jumps(one: Reproduced) -> str:
    edits = -(-one.requests // one.batch)
    if edits <= FEWEST:
        each = f" of {one.batch} requests" if one.batch > 1 else ""
        return f"{edits} edits{each} are too few to say which stands out"
    if not one.jumps:
        return f"no edit moves the weight more than {TIMES:g} times the median of the {WINDOW} before it"
    first = f", {one.first_jumps} of them about a first and only token" if one.first else ""
    return f"{one.jumps} of {edits} edits move the weight more than {TIMES:g} times the median before them{first}"


def _phase(one: Reproduced) -> str:
    reasons = one.message[:1].lower() + one.message[1:] if one.message else ""
    return f"{one.phase}: {reasons}" if reasons else one.phase


def _claim(rome: Reproduced, r_rome: Reproduced) -> str:
    """The claim of *Rebuilding ROME*, held against these numbers."""
    if rome.jumps and not r_rome.jumps:
        return "As Rebuilding ROME has it: ROME makes disabling edits here, and with one key everywhere there is none."
    if rome.jumps > r_rome.jumps:
        return f"One key everywhere leaves {r_rome.jumps} jumps of ROME's {rome.jumps}."
    if rome.jumps:
        return "One key everywhere did not remove the jumps here: r-ROME has as many as ROME or more."
    why = ""
    if rome.division_smallest is not None and r_rome.division_smallest is not None:
        why = (
            f" ROME's smallest |k · u| is {rome.division_smallest:.3g}, r-ROME's {r_rome.division_smallest:.3g}: "
            "its two keys are never nearly orthogonal on this model."
            if rome.division_smallest > r_rome.division_smallest / 4
            else f" ROME's smallest |k · u| is {rome.division_smallest:.3g}, r-ROME's {r_rome.division_smallest:.3g}."
        )
    return f"The disabling edits of Rebuilding ROME did not appear here: ROME has no jump either.{why}"
