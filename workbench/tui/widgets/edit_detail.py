"""All that is known of one edit: what the stack's list says, what its own file says, and what verifying found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench import events as ev
from workbench.edits import EditRequest
from workbench.stack.editfile import Edit
from workbench.tui.widgets.stack_table import SIGNS
from workbench.tui.widgets.text import compact, number, pair, safe, size, tick, wrapped


class EditDetail(VerticalScroll):
    """Lines about the selected edit; scrolls when it has the focus."""

    ALLOW_MAXIMIZE = True
    HELP = "What the list, the edit's own file and the last verification say about the selected edit."

    DEFAULT_CSS = """
    EditDetail { scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
    EditDetail { border: round $primary-muted; padding: 0 1; height: 1fr; border-subtitle-color: $text-muted; }
    EditDetail:focus { border: round $accent; border-title-style: bold; }
    EditDetail > Static { width: 1fr; height: auto; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  textual's word
        super().__init__(id=id)
        self._lines: tuple[str, list[tuple[str, str]]] = ("Edit", [])

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(markup=False)

    def describe(self, title: str, facts: list[tuple[str, str]]) -> None:
        """Shows `facts`, each a name and what is to be said; of another edit from the top."""
        if (title, facts) == self._lines:
            return
        if title != self._lines[0]:
            self.scroll_home(animate=False)
        self._lines = (title, facts)
        self.border_title = Content.from_rich_text(safe(title))
        self._draw()

    def on_resize(self) -> None:
        """Wraps again, and says how to go back from the whole screen."""
        self.border_subtitle = "enter goes back" if self.is_maximized else ""
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            return  # `on_resize` comes before it is shown
        lines = [line for name, text in self._lines[1] for line in fact_lines(name, text, width)]
        self.query_one(Static).update(Text("\n").join(Text(line) for line in lines))


def fact_lines(name: str, text: str, width: int) -> list[str]:
    """A name in its column and the text beside it, wrapped; without a name, the text alone."""
    if not name:
        return wrapped(text, width)
    first, *more = wrapped(text, max(width - 9, 10))
    return [f"{name:<9}{first}", *(" " * 9 + line for line in more)]


@dataclass(frozen=True)
class EditFile:
    """An edit's own file."""

    edit: Edit
    bytes: int
    """Of the file."""


def edit_facts(
    row: ev.EditRow, file: EditFile | None, unread: str, verified: ev.Verified | None, stack: ev.StackChanged | None
) -> list[tuple[str, str]]:
    """Names and texts about an edit, the most important first.

    Args:
        row: what the list says.
        file: what its file says; None: not read.
        unread: why the file was not read, in words.
        verified: the newest comparison of this edit.
        stack: the stack it is in.
    """
    edit = file.edit if file else None
    facts = [
        *_asked_for(row, edit),
        ("state", f"{SIGNS[row.state]} {row.state}{_STATES.get(row.state, '')}{_verdict(verified)}"),
        ("method", f"{row.method}  layer {row.layer}{_how(edit)}"),
        ("|ΔW|/|W|", f"{compact(row.ratio)}   drift {compact(row.drift)}{_norms(edit)}"),
        ("probes", _probes(row, stack)),
    ]
    facts += [("note", row.note)] if row.note else []
    facts += [("names", ", ".join(row.names))] if row.names else []
    facts += _answers(edit)
    facts += [("file", row.file + (f"   {size(file.bytes)}" if file else ""))]
    facts += [("sha256", f"{row.id[:16]}   the edit's id; y copies all of it")]
    return facts + (_provenance(edit, stack) if edit else [("", unread)] if unread else [])


_STATES = {
    "undone": ", redo brings it back",
    "broken": ": its file is missing or damaged; o leaves it out",
    "off": ", left out; o takes it in again",
}
REQUESTS_LISTED = 12
"""Requests of one edit that are listed."""


def _asked_for(row: ev.EditRow, edit: Edit | None) -> list[tuple[str, str]]:
    """What was asked for: the one request, or how many and the first of them."""
    if row.requests == 1:
        true = f"{row.target_true.strip()} -> " if row.target_true else "-> "
        return [("", f"{row.subject}:  {row.prompt}  {true}{row.target_new.strip()}")]
    held = f", {row.efficacies[0]} of {row.efficacies[1]} hold" if row.efficacies else ""
    lines = [("", f"{row.requests} requests made one edit{held}")]
    requests = edit.requests[:REQUESTS_LISTED] if edit else ()
    lines += [("", f"{number:>5}  {_in_short(request)}") for number, request in enumerate(requests, start=1)]
    more = row.requests - len(requests)
    return [*lines, ("", f"       and {more} more")] if requests and more else lines


def _in_short(request: EditRequest) -> str:
    return f"{request.subject}:  {request.prompt} -> {request.target_new.strip()}"


def base_facts(stack: ev.StackChanged | None, fingerprint: str) -> list[tuple[str, str]]:
    """Names and texts about the base."""
    if stack is None:
        return [("", "The stack is not read yet.")]
    return [
        ("", "The pristine weights. Undoing every edit gives back each of their bytes."),
        ("model", stack.base),
        ("base", fingerprint or "-"),
        ("ppl", f"{number(stack.perplexity_base, 2)} on held-out text"),
        (
            "stack",
            f"{stack.folder}   {len(stack.edits)} edit{'' if len(stack.edits) == 1 else 's'}   {size(stack.bytes)}",
        ),
    ]


def _verdict(verified: ev.Verified | None) -> str:
    if verified is None:
        return "   (v verifies)"
    sign = "✓" if verified.outcome == "bit-identical" else "✗" if verified.outcome == "different" else "!"
    return f"   {sign} {verified.outcome}" + (f": {verified.detail}" if verified.detail else "")


def _how(edit: Edit | None) -> str:
    if edit is None or edit.imported:
        return ""
    trace = edit.metrics.get("trace")
    losses = [_real(s.get("loss")) for s in trace if isinstance(s, dict)] if isinstance(trace, list) else []
    known = [loss for loss in losses if loss is not None]
    moved = (
        f"  {len(known)} step{'' if len(known) == 1 else 's'}  loss {known[0]:.2f} -> {known[-1]:.3f}" if known else ""
    )
    return f"  seed {edit.recipe.seed}  lr {edit.recipe.lr:g}{moved}"


def _norms(edit: Edit | None) -> str:
    norms = edit.metrics.get("norms") if edit else None
    if not isinstance(norms, dict):
        return ""
    pairs = (("|ΔW|", "delta_norm"), ("k·u", "division_factor"), ("|v|", "v_norm"))
    return "".join(f"   {word} {compact(_real(norms.get(key)))}" for word, key in pairs if key in norms)


def _probes(row: ev.EditRow, stack: ev.StackChanged | None) -> str:
    counts = f"efficacy {tick(row.efficacy)}  paraphrase {pair(row.paraphrases)}  neighbour {pair(row.neighbours)}"
    if row.perplexity is None:
        return counts
    return f"{counts}  ppl {number(stack.perplexity_base if stack else None, 2)} -> {row.perplexity:.2f}"


def _answers(edit: Edit | None) -> list[tuple[str, str]]:
    """What the model said to the edit's own prompt before and after, as the file recorded it."""
    probes = edit.metrics.get("probes") if edit else None
    rows = [p for p in probes if isinstance(p, dict)] if isinstance(probes, list) else []
    own = next((p for p in rows if p.get("kind") == "efficacy"), None)
    if own is None or edit is None:
        return []
    new = str(own.get("expected") or edit.request.target_new).strip()
    facts = [("before", f"{new} {compact(_real(own.get('before')))}")] if _real(own.get("before")) is not None else []
    rival = f"  {str(own['rival']).strip()} {compact(_real(own.get('p_rival')))}" if own.get("rival") else ""
    return [*facts, ("after", f"{new} {compact(_real(own.get('p_expected')))}{rival}")]


def _provenance(edit: Edit, stack: ev.StackChanged | None) -> list[tuple[str, str]]:
    tensors = (f"{module} rank {rank} {edit.base.modules[module]['shape']}" for module, rank in edit.ranks.items())
    facts = [
        ("parent", _parent(edit, stack)),
        ("base", f"{edit.base.name} {edit.base.fingerprint[:16]} {edit.base.dtype}"),
        ("update", ", ".join(tensors)),
    ]
    facts += [("weights", f"{h['before'][:12]} -> {h['after'][:12]}") for h in edit.weights.values()]
    by = ", ".join(f"{key} {value}" for key, value in edit.made_by.items() if isinstance(value, (str, int, float)))
    facts += [
        ("C", edit.second_moment[:16] + (f"  ridge {edit.ridge:g}" if edit.ridge else "")),
        ("contexts", f"{len(edit.templates)} templates"),
        ("created", edit.created.replace("T", " ")[:19] + " UTC"),
        ("by", by or "-"),
    ]
    return facts


def _parent(edit: Edit, stack: ev.StackChanged | None) -> str:
    if edit.parent is None:
        return "the base"
    rows = stack.edits if stack else ()
    number = next((row.number for row in rows[edit.number - 2 : edit.number - 1] if row.id == edit.parent), None)
    return edit.parent[:16] + (f"   edit {number}" if number else "   not on this line")


def _real(value: Any) -> float | None:
    """`value` if it is a finite number: metrics in a file may be anything."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
