"""What the file of an edit of many requests says was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from workbench.editing.batch import Part
from workbench.engine.batch_probing import Probed
from workbench.engine.measuring import as_table
from workbench.events import Event, NormReport, ProbeResult, StepTogether, Warning  # noqa: A004  the wire's word

MOST_STEPS = 1_000
"""Steps of the optimisation in an edit file, the last ones."""
MOST_RESULTS = 2_000
"""Results of single probes in an edit file."""
MOST_MISSED = 0.5
"""Part of what the requests ask for that an update may fail to give without a warning."""


def steps_record(steps: Sequence[StepTogether]) -> list[dict[str, Any]]:
    """The steps of the optimisation."""
    return [as_table(step, "seconds", "of") for step in steps[-MOST_STEPS:]]


def norms_record(norms: Sequence[NormReport], parts: Sequence[Part], drift: float) -> dict[str, Any]:
    """The norms of all modules as of one, and of each; `drift` is that of all of them."""
    modules = [_known(one) | {"missed": part.missed_in_all} for one, part in zip(norms, parts, strict=True)]
    return {"norms": _known(norms[0], "module") if len(norms) == 1 else _overall(norms, drift), "modules": modules}


def _overall(norms: Sequence[NormReport], drift: float) -> dict[str, Any]:
    weight = math.hypot(*(one.weight_norm for one in norms))
    delta = math.hypot(*(one.delta_norm for one in norms))
    moved = math.hypot(*(one.realised * one.delta_norm for one in norms))
    return {
        "weight_norm": weight,
        "delta_norm": delta,
        "ratio": delta / weight,
        "drift": drift,
        "realised": moved / delta if 0 < delta < math.inf else 1.0,
    }


def probes_record(probed: Probed, sample: ProbeResult) -> dict[str, Any]:
    """Scores over all that was asked, with what was asked of whom; and the results of the sample one by one."""
    counted = probed.counted
    counts = {"efficacy": counted.efficacy, "paraphrase": counted.paraphrases, "neighbourhood": counted.neighbours}
    results = [{"request": place, **as_table(result, "edit", "side", "value")} for place, result in probed.told]
    return {
        "scores": {
            **{name: getattr(counted, name) for name in ("requests", "sampled", "seed", "es", "ps", "ns", "s")},
            "counts": {kind: list(pair) for kind, pair in counts.items() if pair},
        },
        "probes": [*results[:MOST_RESULTS], as_table(sample, "edit", "side", "value")],
    }


def missed(parts: Sequence[Part]) -> Iterator[Warning]:
    """Says so where the update gives little of what its requests ask for, by the last of its modules."""
    share = parts[-1].missed_in_all
    if share > MOST_MISSED:
        yield Warning(
            message=f"The update gives {1 - share:.0%} of what its requests ask for; the rest is given up, so that "
            "other keys are left alone.",
            hint="Lower moment_weight, or mu, to have more of it; or make fewer requests one edit.",
        )


def _known(event: Event, *without: str) -> dict[str, Any]:
    """An event as a table, without what it does not know."""
    return {key: value for key, value in as_table(event, *without).items() if value is not None}
