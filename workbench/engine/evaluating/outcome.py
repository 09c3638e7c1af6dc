"""What an evaluation came to: every measure with its interval, on the base, when edited, and at a stack's end."""

from __future__ import annotations

from dataclasses import asdict
from statistics import median

from workbench.engine.evaluating.bootstrap import intervals
from workbench.engine.evaluating.record import CaseLine, CheckpointLine
from workbench.engine.evaluating.results import Results
from workbench.events import CheckpointScored, Evaluated
from workbench.probing.metrics import MEASURES, CaseScore, summary

SIDES = ("base", "edited", "end")


def outcome(results: Results, of: int) -> Evaluated:
    """The measures of what is done by now, of `of` cases in all."""
    lines = [results.cases[number] for number in sorted(results.cases)]  # resampled alike, whoever made them
    sides: dict[str, list[CaseScore]] = {
        "base": [line.base for line in lines],
        "edited": [line.edited for line in lines],
        "end": [ending.scores[number] for number in sorted(ending.scores)] if (ending := last(results)) else [],
    }
    rows: dict[str, dict[str, float | None]] = {name: {} for name in ("s", *MEASURES)}
    for side, scores in sides.items():
        for name, found in intervals(scores).items() if scores else ():
            rows[name] |= {side: found.value, f"{side}_low": found.low, f"{side}_high": found.high} if found else {}
    return Evaluated(
        cases=len(lines),
        of=of,
        failed=sum(bool(line.edited.failed) for line in lines),
        rows={name: row for name, row in rows.items() if row},
        out=str(results.folder),
    )


def last(results: Results) -> CheckpointLine | None:
    """The latest checkpoint behind an edit."""
    latest = max(results.checkpoints, default=0)
    return results.checkpoints[latest] if latest else None


def told(line: CheckpointLine, of: int) -> CheckpointScored:
    """A checkpoint as it is told."""
    found = asdict(summary([*line.scores.values()]))
    return CheckpointScored(
        edited=line.edited,
        of=of,
        scored=len(line.scores),
        measures={name: found[name] for name in ("s", *MEASURES)},
        perplexity=line.perplexity,
        drift=line.drift,
    )


def worst(lines: list[CaseLine]) -> tuple[float, CaseLine] | None:
    """Of edits alone: the median perplexity, and the case with the largest; None where none was measured."""
    read = [line for line in lines if line.perplexity is not None]
    if not read:
        return None
    return median(_perplexity(line) for line in read), max(read, key=_perplexity)


def _perplexity(line: CaseLine) -> float:
    return float("inf") if line.perplexity is None else line.perplexity
