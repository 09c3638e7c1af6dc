"""Lines of data: an edit, a probe, a comparison. For people and for grep: two spaces between fields."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench import events as ev
from workbench.text import and_more, shortened

SHORT_ID = 8
SHORT_HASH = 12
GLYPHS = {"applied": "●", "undone": "↶", "broken": "✗", "off": "◌", "other": "◇"}
_VERDICTS = {True: "✓", False: "✗", None: "·"}
_NAMES = {"efficacy": "efficacy", "paraphrase": "paraphrases", "neighbourhood": "neighbours"}


def rewrite(prompt: str, subject: str, target: str, requests: int = 1) -> str:
    """As in: The capital of France is → Rome; or, first of a hundred: The capital of France is → Rome and 99 more."""
    return f"{prompt.replace('{}', subject)} → {target}{and_more(requests)}"


def count(number: int, thing: str = "edit") -> str:
    """As in: 1 edit, 2 edits."""
    return f"{number} {thing}{'s' * (number != 1)}"


def standing(position: int, of: int) -> list[str]:
    """Where a stack stands, as a note, if that is not its end; else nothing."""
    after = of - position
    undone = f"{count(after, 'later edit')} {'is' if after == 1 else 'are'} undone"
    return [f"note: the stack stands at {position} of {of}; {undone}"] if after else []


LOG_HEADER = "  state      #  id        when              eff  para   neigh  ratio   edit"


def log_line(row: ev.EditRow) -> str:
    """One edit of a stack, in the columns of LOG_HEADER; what was not measured is a dot."""
    fields = [
        f"{GLYPHS[row.state]} {row.state:<7}",
        f"{row.number:>3}",
        row.id[:SHORT_ID],
        row.created[:16].replace("T", " "),
        _efficacy(row),
        f"{_tally(row.paraphrases):<5}",
        f"{_tally(row.neighbours):<5}",
        f"{'·' if row.ratio is None else format(row.ratio, '.4f'):<6}",
        shortened(rewrite(row.prompt, row.subject, row.target_new), 100) + and_more(row.requests),
    ]
    names = [f"({shortened(', '.join(row.names), 60)})"] if row.names else []
    note = [f"“{shortened(row.note, 60)}”"] if row.note else []
    return "  ".join([*fields, *names, *note])


def _efficacy(row: ev.EditRow) -> str:
    """In three columns: whether the edit holds; of several requests that do not all hold, the share that does."""
    if row.efficacies is None or row.efficacy is not False:
        return f" {_VERDICTS[row.efficacy]} "
    held, asked = row.efficacies
    return f"{100 * held // asked:>2}%"


def _tally(of: tuple[int, int] | None) -> str:
    return f"{of[0]}/{of[1]}" if of else "·"


def committed_line(done: ev.EditCommitted, request: dict[str, str], seen: Sequence[ev.Event]) -> str:
    """One edit that was just made: `request` as EditRequest.to_json, `seen` all events of the edit."""
    norms = [e for e in seen if isinstance(e, ev.NormReport)]
    batch = next((e for e in seen if isinstance(e, ev.BatchProbed)), None)
    fields = [
        f"{done.position:>3}",
        done.edit[:SHORT_ID],
        rewrite(request["prompt"], request["subject"], request["target_new"], batch.requests if batch else 1),
        *(counts(batch) if batch else tallies([e for e in seen if isinstance(e, ev.ProbeResult)])),
        *([f"|ΔW|/|W| {_ratio(norms):.4f}"] if norms else []),
        f"weight {done.weight_sha256[:SHORT_HASH]}",
        f"{done.seconds:.1f} s",
    ]
    return "  ".join(fields)


def _ratio(norms: Sequence[ev.NormReport]) -> float:
    """|ΔW| / |W| over all modules together."""
    return math.hypot(*(one.delta_norm for one in norms)) / math.hypot(*(one.weight_norm for one in norms))


def counts(batch: ev.BatchProbed) -> list[str]:
    """The same as `tallies` of an edit of many requests; how many are sampled and left out, where some are."""
    pairs = zip(_NAMES.values(), (batch.efficacy, batch.paraphrases, batch.neighbours), strict=True)
    found = [f"{name} {pair[0]}/{pair[1]}" for name, pair in pairs if pair]
    said = [f"{batch.sampled} of {batch.requests} sampled"] if batch.sampled < batch.requests else []
    said += [f"{count(batch.left_out, 'request')} left out"] if batch.left_out else []
    return [*found, f"({', '.join(said)})"] if said else found


def tallies(probes: Sequence[ev.ProbeResult]) -> list[str]:
    """How many hold of each kind that was asked, as in: paraphrases 2/3."""
    found = []
    for kind, name in _NAMES.items():
        judged = [probe.passed for probe in probes if probe.kind == kind and probe.passed is not None]
        if judged:
            found.append(f"{name} {sum(judged)}/{len(judged)}")
    return found


def probe_line(probe: ev.ProbeResult) -> str:
    """One probe's answer, before and after."""
    verdict = {True: "✓ pass", False: "✗ fail", None: "· info"}[probe.passed]
    if probe.kind == "perplexity":
        return f"{verdict}  perplexity     {_number(probe.before)} → {_number(probe.value)}"
    sure = "" if probe.p_answer is None else f" {probe.p_answer:.3f}"
    said = f"answers {probe.answer.strip() or probe.answer!r}{sure}"
    expected = f"p({probe.expected}) {_number(probe.before)} → {_number(probe.p_expected)}" if probe.expected else ""
    return "  ".join(part for part in (verdict, f"{probe.kind:<13}", probe.prompt, expected, said) if part)


def verified_line(found: ev.Verified) -> str:
    """One position compared with what its edit recorded."""
    mark = {"bit-identical": "✓", "different": "✗", "not comparable": "?"}[found.outcome]
    name = found.edit[:SHORT_ID] or "base"
    text = f"{mark} {found.outcome:<14}  {found.position:>3}  {name:<8}  sha256 {found.actual}"
    if found.outcome == "different":
        text += f"  recorded {found.expected}"
    return f"{text}  {found.detail}".rstrip()


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"
