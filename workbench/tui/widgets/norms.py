"""The last update in norms, and how far the weights have drifted from the base."""

from __future__ import annotations

from rich.text import Text

from workbench.events import KeyReady, NormReport, StackChanged
from workbench.tui.state import State
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import compact, fit, number, sparkline, wrapped


class NormsPanel(Panel):
    """|W|, |ΔW|, their ratio, the factors u and v, and the drift along the stack."""

    _key: KeyReady | None = None
    _norms: NormReport | None = None
    _stack: StackChanged | None = None

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Norms")

    def show(self, state: State) -> None:
        """Draws what is known of the last update."""
        key = state.run.key if state.run else None
        norms = state.run.norms if state.run else None
        if (key, norms, state.stack) != (self._key, self._norms, self._stack):
            self._key, self._norms, self._stack = key, norms, state.stack
            self.refresh()

    def lines(self, width: int, height: int) -> list[Text]:
        """The most important first."""
        del height
        found = norm_lines(self._key, self._norms, self._stack, width)
        empty = "|W|, |ΔW| and the drift show here after an edit is inserted."
        return [Text(line) for line in found] or [Text(line, "dim") for line in wrapped(empty, width)]


def norm_lines(key: KeyReady | None, norms: NormReport | None, stack: StackChanged | None, width: int) -> list[str]:
    """Lines of at most `width` cells; none while nothing is known."""
    lines: list[str] = []
    if norms:
        numbers = f"{'|W|':>9}{'|ΔW|':>9}{'ratio':>9}"
        room = max(width - len(numbers), 6)
        values = f"{compact(norms.weight_norm):>9}{compact(norms.delta_norm):>9}{compact(norms.ratio):>9}"
        lines += [fit("module", room) + numbers, fit(short_module(norms.module, room), room) + values]
    drift = _drift(norms, stack, width)
    factors = _factors(key, norms)
    if drift and len(drift) + 2 + len(factors[0] if factors else "") <= width:
        return [*lines, "  ".join([drift, *factors[:1]]), *factors[1:]]
    return [*lines, *([drift] if drift else []), *factors]


def _drift(norms: NormReport | None, stack: StackChanged | None, width: int) -> str:
    value = stack.drift if stack else norms.drift if norms else None
    if value is None:
        return ""
    history = [row.drift for row in stack.edits[: stack.position] if row.drift is not None] if stack else []
    return " ".join(part for part in ("drift", sparkline(history, min(12, width - 16)), compact(value)) if part)


def _factors(key: KeyReady | None, norms: NormReport | None) -> list[str]:
    if norms:
        return [
            f"k·u {compact(norms.division_factor)}  |v| {compact(norms.v_norm)}  cos(k₀,k̄) {number(norms.cos_keys)}",
            f"|C⁻¹k| {compact(norms.u_norm)}  realised {norms.realised:.1%}",
        ]
    return [f"|k̄| {compact(key.key_norm)}  cos(k₀,k̄) {number(key.cos_keys)}"] if key else []


def short_module(path: str, width: int) -> str:
    """A module's path, its beginning left out if it does not fit."""
    return path if len(path) <= width else "…" + path[len(path) - width + 1 :]
