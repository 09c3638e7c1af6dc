"""Lines of data: an edit, a probe, a comparison. For people and for grep: two spaces between fields."""

from __future__ import annotations

from collections.abc import Sequence

from workbench import events as ev
from workbench.text import shortened

SHORT_ID = 8
GLYPHS = {"applied": "●", "undone": "↶", "broken": "✗", "off": "○"}
_NAMES = {"efficacy": "efficacy", "paraphrase": "paraphrases", "neighbourhood": "neighbours"}


def rewrite(prompt: str, subject: str, target: str) -> str:
    """As in: The Eiffel Tower is located in → Rome."""
    return f"{prompt.replace('{}', subject)} → {target}"


def log_line(row: ev.EditRow) -> str:
    """One edit of a stack."""
    fields = [
        f"{GLYPHS[row.state]} {row.state:<7}",
        f"{row.number:>3}",
        row.id[:SHORT_ID],
        row.created[:16].replace("T", " "),
        shortened(rewrite(row.prompt, row.subject, row.target_new), 60),
    ]
    return "  ".join([*fields, *_measures(row), *([f"“{shortened(row.note, 40)}”"] if row.note else [])])


def _measures(row: ev.EditRow) -> list[str]:
    found = []
    if row.efficacy is not None:
        found.append(f"efficacy {'ok' if row.efficacy else 'failed'}")
    found += [f"{name} {of[0]}/{of[1]}" for name, of in (("para", row.paraphrases), ("neigh", row.neighbours)) if of]
    if row.ratio is not None:
        found.append(f"|ΔW|/|W| {row.ratio:.4f}")
    return found


def committed_line(done: ev.EditCommitted, request: dict[str, str], seen: Sequence[ev.Event]) -> str:
    """One edit that was just made: `request` as EditRequest.to_json, `seen` all events of the edit."""
    norms = next((e for e in seen if isinstance(e, ev.NormReport)), None)
    fields = [
        f"{done.position:>3}",
        done.edit[:SHORT_ID],
        rewrite(request["prompt"], request["subject"], request["target_new"]),
        *tallies([e for e in seen if isinstance(e, ev.ProbeResult)]),
        *([f"|ΔW|/|W| {norms.ratio:.4f}"] if norms else []),
        f"sha256 {done.weight_sha256}",
        f"{done.seconds:.1f} s",
    ]
    return "  ".join(fields)


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
    said = f"answers {probe.answer.strip() or probe.answer!r} {_number(probe.p_answer)}"
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
