"""Whether the last edit and those before it hold: probes counted by kind, and a sample of what the model says now."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from workbench import events as ev
from workbench.text import visible
from workbench.tui.keynames import named
from workbench.tui.state import Run, State
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import number, pair, safe, tick, wrapped

EMPTY = "What the model answers after an edit shows here."


class ProbesPanel(Panel):
    """The probes of the last run; if there was none since the start, those that the newest applied edit recorded."""

    _run: Run | None = None
    _stack: ev.StackChanged | None = None

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Probes")

    def show(self, state: State) -> None:
        """Draws the newest probes of `state`."""
        before, after = (_drawn(run, stack) for run, stack in ((self._run, self._stack), (state.run, state.stack)))
        self._run, self._stack = state.run, state.stack
        if before != after:
            self.name_it(self._title(), named("F5 compares"))
            self.refresh()

    def lines(self, width: int, height: int) -> list[Text]:
        """Counts first, then the sample."""
        if self._run and self._run.probes:
            return [safe(line) for line in run_lines(self._run, width, height)]
        row = self._recorded()
        if row is not None:
            return [safe(line) for line in recorded_lines(row, self._base(), width)]
        return [Text(line, "dim") for line in wrapped(EMPTY, width)]

    def _recorded(self) -> ev.EditRow | None:
        stack = self._stack
        return stack.edits[stack.position - 1] if stack and 0 < stack.position <= len(stack.edits) else None

    def _base(self) -> float | None:
        return self._stack.perplexity_base if self._stack else None

    def _title(self) -> str:
        if self._run and self._run.probes:
            done = self._run.committed
            subject = str(self._run.started.request.get("subject", ""))
            return f"Probes after edit {done.position}" if done else f"Probes of {subject}"
        row = self._recorded()
        return f"Probes after edit {row.number}" if row else "Probes"


def _drawn(run: Run | None, stack: ev.StackChanged | None) -> tuple[object, ...]:
    """All that the panel draws."""
    return (stack, run and (run.probes, run.batch, run.earlier, run.committed))


def run_lines(run: Run, width: int, height: int) -> list[str]:
    """The probes of a run, how all requests of an edit of many came out, and how the earlier edits hold."""
    probes = run.probes
    if run.batch:  # its counts are of all requests, and the probes told one by one of a sample
        probes = tuple(probe for probe in probes if probe.kind in ("perplexity", "generation"))
    return probe_lines(probes, width, height, [*_all_of(run.batch), earlier_words(run.earlier)])


def earlier_words(earlier: ev.EarlierProbed | None) -> str:
    """How the earlier edits hold, and of how many they are a sample."""
    if earlier is None or not earlier.earlier_asked:
        return ""
    sample = f" (of {earlier.earlier})" if earlier.earlier > earlier.earlier_asked else ""
    words = f"earlier edits {earlier.earlier_held}/{earlier.earlier_asked}{sample}"
    if earlier.neighbours_asked:
        words += f", their neighbours {earlier.neighbours_held}/{earlier.neighbours_asked}"
    lost = (
        f" ✗ #{' #'.join(map(str, earlier.lost[:3]))}{'…' if len(earlier.lost) > 3 else ''}" if earlier.lost else " ✓"
    )
    return words + lost


def _all_of(batch: ev.BatchProbed | None) -> list[str]:
    if batch is None:
        return []
    parts = [f"{batch.requests} requests: efficacy {pair(batch.efficacy)}"]
    parts += [f"{word} {pair(counts)}" for word, counts in _kinds(batch) if counts]
    return [*parts, f"S {number(batch.s, 3)}", f"{batch.left_out} left out" if batch.left_out else ""]


def _kinds(batch: ev.BatchProbed) -> tuple[tuple[str, tuple[int, int] | None], ...]:
    return (("paraphrase", batch.paraphrases), ("neighbour", batch.neighbours))


def probe_lines(
    probes: tuple[ev.ProbeResult, ...], width: int, height: int, more: list[str] | None = None
) -> list[str]:
    """The probes of one edit, and what `more` there is, on at most `height` lines of at most `width` cells."""
    lines = _packed([_efficacy(probes), *_counted(probes), _perplexity(probes), *(more or [])], width)
    texts = [p for p in probes if p.kind == "generation" and p.answer]
    if texts and height > len(lines):
        lines += wrapped("sample  " + " ".join(texts[-1].answer.split()), width)
    if len(lines) > height > 0:
        lines = [*lines[: height - 1], lines[height - 1][: max(width - 1, 0)] + "…"]
    return lines


def recorded_lines(row: ev.EditRow, perplexity_base: float | None, width: int) -> list[str]:
    """What an edit's own file says of its probes."""
    parts = [f"efficacy {row.target_new.strip()} {tick(row.efficacy)}"]
    parts += [f"paraphrase {pair(row.paraphrases)}", f"neighbour {pair(row.neighbours)}"]
    if row.perplexity is not None:
        parts.append(f"ppl {number(perplexity_base, 2)} -> {number(row.perplexity, 2)}")
    return _packed(parts, width)


def _packed(parts: list[str], width: int) -> list[str]:
    """The parts that are not empty, as many on a line as fit."""
    lines: list[str] = []
    for part in filter(None, map(visible, parts)):
        joined = f"{lines[-1]}   {part}" if lines else part
        if lines and cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines += wrapped(part, width)[:1]
    return lines


def failing(probes: tuple[ev.ProbeResult, ...]) -> list[int]:
    """Which probes did not hold."""
    return [i for i, probe in enumerate(probes) if probe.passed is False]


def _efficacy(probes: tuple[ev.ProbeResult, ...]) -> str:
    found = [p for p in probes if p.kind == "efficacy"]
    if not found:
        return ""
    last = found[-1]
    return f"efficacy {last.expected.strip()} {number(last.p_expected, 2)} {tick(last.passed)}"


def _counted(probes: tuple[ev.ProbeResult, ...]) -> list[str]:
    parts = []
    for kind, word in (("paraphrase", "paraphrase"), ("neighbourhood", "neighbour")):
        asked = [p for p in probes if p.kind == kind and p.passed is not None]
        if asked:
            parts.append(f"{word} {sum(p.passed is True for p in asked)}/{len(asked)}")
    return parts


def _perplexity(probes: tuple[ev.ProbeResult, ...]) -> str:
    found = [p for p in probes if p.kind == "perplexity"]
    if not found:
        return ""
    last = found[-1]
    verdict = "" if last.passed is None else f" {tick(last.passed)}"
    return f"ppl {number(last.before, 2)} -> {number(last.value, 2)}{verdict}"
