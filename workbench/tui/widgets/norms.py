"""The last update in norms, how far the weights have drifted from the base, and the guard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from rich.text import Text

from workbench import events as ev
from workbench.guards import OFF, Guard
from workbench.tui.bench import bench
from workbench.tui.state import State
from workbench.tui.widgets.guard_lines import guard_lines, readings
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import compact, fit, number, sparkline, wrapped

NAMES = ("|W|", "|ΔW|", "ratio")


class NormsPanel(Panel):
    """|W|, |ΔW|, their ratio, the factors u and v, the drift along the stack, and the guard's present values."""

    _key: ev.KeyReady | None = None
    _norms: ev.NormReport | None = None
    _stack: ev.StackChanged | None = None
    _guard: Guard = OFF
    _values: Mapping[str, float] = MappingProxyType({})

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Norms")

    def show(self, state: State) -> None:
        """Draws what is known of the last update."""
        key = state.run.key if state.run else None
        norms = state.run.norms if state.run else None
        guard, values, stack = bench(self).guard, readings(state), state.stack
        if state.run and state.run.running and norms and stack:
            stack = replace(stack, drift=norms.drift)  # it has not heard of the edit yet
        now = (key, norms, stack, guard, values)
        if now != (self._key, self._norms, self._stack, self._guard, self._values):
            self._key, self._norms, self._stack, self._guard, self._values = now
            self.refresh()

    def lines(self, width: int, height: int) -> list[Text]:
        """The most important first; the guard last, in what room is left."""
        found = norm_lines(self._key, self._norms, self._stack, width)[: max(height - 1, 1)]
        empty = "|W|, |ΔW| and the drift show here after an edit is inserted."
        shown = [Text(line) for line in found] or [Text(line, "dim") for line in wrapped(empty, width)[: height - 1]]
        beyond = self._guard.trips(self._values)
        guard = guard_lines(self._guard, self._values, width, max(height - len(shown), 1))
        return [*shown, *(Text(line, "bold" if beyond else "") for line in guard)]


def norm_lines(
    key: ev.KeyReady | None, norms: ev.NormReport | None, stack: ev.StackChanged | None, width: int
) -> list[str]:
    """Lines of at most `width` cells; none while nothing is known."""
    lines = _sizes(norms, width) if norms else []
    drift = _drift(norms, stack, width)
    factors = _factors(key, norms)
    if drift and len(drift) + 2 + len(factors[0] if factors else "") <= width:
        return [*lines, "  ".join([drift, *factors[:1]]), *factors[1:]]
    return [*lines, *([drift] if drift else []), *factors]


def _sizes(norms: ev.NormReport, width: int) -> list[str]:
    """|W|, |ΔW| and their ratio: on one line where they fit, else under a heading."""
    values = (compact(norms.weight_norm), compact(norms.delta_norm), compact(norms.ratio))
    words = "  ".join(f"{name} {value}" for name, value in zip(NAMES, values, strict=True))
    if len(norms.module) + 2 + len(words) <= width:
        return [f"{fit(norms.module, width - len(words) - 2)}  {words}"]
    heading = "".join(f"{name:>9}" for name in NAMES)
    room = max(width - len(heading), 6)
    numbers = "".join(f"{value:>9}" for value in values)
    return [fit("module", room) + heading, fit(short_module(norms.module, room), room) + numbers]


def _drift(norms: ev.NormReport | None, stack: ev.StackChanged | None, width: int) -> str:
    value = stack.drift if stack else norms.drift if norms else None
    if value is None:
        return ""
    history = [row.drift for row in stack.edits[: stack.position] if row.drift is not None] if stack else []
    return " ".join(part for part in ("drift", sparkline(history, min(12, width - 16)), compact(value)) if part)


def _factors(key: ev.KeyReady | None, norms: ev.NormReport | None) -> list[str]:
    if norms and norms.division_factor is None:
        return [f"realised {norms.realised:.1%}"]
    if norms:
        return [
            f"k·u {compact(norms.division_factor)}  cos(k₀,k̄) {number(norms.cos_keys)}  realised {norms.realised:.1%}",
            f"|v| {compact(norms.v_norm)}  |C⁻¹k| {compact(norms.u_norm)}",
        ]
    return [f"|k̄| {compact(key.key_norm)}  cos(k₀,k̄) {number(key.cos_keys)}"] if key else []


def short_module(path: str, width: int) -> str:
    """A module's path, its beginning left out if it does not fit."""
    return path if len(path) <= width else "…" + path[len(path) - width + 1 :]
