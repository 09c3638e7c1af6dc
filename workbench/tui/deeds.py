"""Everything that can be done, for the palette: what works where one is, and what works in the other places.

What does not work now is there too, with the reason why it does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from textual.actions import parse
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from workbench.tui import screens
from workbench.tui.bench import bench
from workbench.tui.keymap import Node, bound, holds
from workbench.tui.keynames import REBOUND
from workbench.tui.reach import reachable
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.session import unavailable

OUT_OF_SIGHT = "Its part is not in sight; a wider window shows it."
HERE, EVERYWHERE = "Here", "Everywhere"
PASSED_OVER = ("rows", "focus", "helping", "palette")
"""Groups of ids that only move about, and the palette itself."""


@dataclass(frozen=True)
class Deed:
    """One line of the palette."""

    group: str
    """Where it works: here, everywhere, or a place's name."""
    name: str
    key: str
    """As people write it; empty: none."""
    more: str
    run: Callable[[], Awaitable[None]]
    reason: str = ""
    """Why it does nothing now; empty: it works."""

    @property
    def title(self) -> str:
        """Group, name and key in a line."""
        return f"{self.group}: {self.name}" + (f"  ({self.key})" if self.key else "")


def deeds(screen: Screen[Any]) -> list[Deed]:
    """What can be done on `screen`, then everywhere, then in the other places; each once."""
    found: dict[tuple[str, str], Deed] = {}
    for deed in (*_here(screen), *_elsewhere(screen)):
        found.setdefault((deed.group if deed.group not in (HERE, EVERYWHERE) else "", deed.name), deed)
    return sorted(found.values(), key=lambda deed: (deed.group != HERE, deed.group != EVERYWHERE))


def _here(screen: Screen[Any]) -> Iterator[Deed]:
    for node, binding, enabled, tooltip in reachable(screen):
        if binding.id and binding.description and binding.id.split(".")[0] not in PASSED_OVER:
            group = EVERYWHERE if isinstance(node, App) else HERE
            reason = "" if enabled else unavailable(bench(screen).state)
            yield _deed(group, binding, tooltip, node, reason)


def _elsewhere(screen: Screen[Any]) -> Iterator[Deed]:
    """What is bound to another part of this place, to the app, or in another place."""
    app = screen.app
    for owner, binding in bound():
        if not binding.id or not binding.show or binding.id.split(".")[0] in PASSED_OVER:
            continue
        if issubclass(owner, App):
            reason = "" if standing(app, binding.action) else _why_not(app, binding.action)
            yield _deed(EVERYWHERE, binding, binding.tooltip, app, reason)
            continue
        for place in places(owner):
            yield _placed(screen, place, owner, binding)


def places(owner: Node) -> Iterator[tuple[str, type[WorkbenchScreen]]]:
    """Mode and class of the places that `owner` is, or is part of; none for what is in questions only."""
    if issubclass(owner, ModalScreen):
        return
    kinds: tuple[type[WorkbenchScreen], ...] = (
        screens.EditScreen, screens.LiveScreen, screens.HistoryScreen, screens.CompareScreen, screens.LogScreen
    )  # fmt: skip
    for kind in kinds:
        if holds(kind, owner):
            yield kind.place, kind


def _placed(screen: Screen[Any], place: tuple[str, type[WorkbenchScreen]], owner: Node, binding: Binding) -> Deed:
    mode, kind = place
    here = isinstance(screen, kind)
    node = _find(screen, owner) if here else None
    reason = ""
    if here:
        reason = (
            OUT_OF_SIGHT if node is None else "" if standing(node, binding.action) else _why_not(node, binding.action)
        )

    async def run() -> None:
        await _go(screen.app, mode, owner, binding)

    group = HERE if here else mode.capitalize()
    return Deed(group, binding.description, _key(screen.app, binding), binding.tooltip, run, reason)


def _deed(group: str, binding: Binding, more: str, node: DOMNode, reason: str) -> Deed:
    app = node.app

    async def run() -> None:
        await app.run_action(binding.action, node)

    return Deed(group, binding.description, _key(app, binding), more, run, reason)


async def _go(app: App[Any], mode: str, owner: Node, binding: Binding) -> None:
    """Goes to the place, puts the focus where the key works, and does it, or says why not."""
    await app.switch_mode(mode)
    node = _find(app.screen, owner)
    if isinstance(node, Widget) and node.focusable:
        app.screen.set_focus(node)
    if node is None or not standing(node, binding.action):
        reason = OUT_OF_SIGHT if node is None else _why_not(node, binding.action)
        app.notify(reason, severity="warning", markup=False)
        return
    await app.run_action(binding.action, node)


def _find(screen: Screen[Any], owner: Node) -> DOMNode | None:
    """The node of that class on a screen: itself, else the first in sight."""
    if isinstance(screen, owner):
        return screen
    if not issubclass(owner, Widget) or issubclass(owner, Screen):
        return None
    return next((widget for widget in screen.query(owner).results() if widget.region.area), None)


def standing(node: DOMNode, action: str) -> bool | None:
    """True: it works; None: not while the engine is as it is; False: there is nothing to do it to."""
    namespace, name, parameters = parse(action)
    target = node.app if namespace == "app" else node.screen if namespace == "screen" else node
    return target.check_action(name, parameters)


def _why_not(node: DOMNode, action: str) -> str:
    busy = standing(node, action) is None
    return unavailable(bench(node).state) if busy else "There is nothing to do that with now."


def _key(app: App[Any], binding: Binding) -> str:
    """The key that is bound now, as the bottom line shows it."""
    keys = REBOUND.get().get(binding.id or "", "")
    first = next(iter(Binding.make_bindings([binding])))
    return app.get_key_display(binding.with_key(keys.split(",")[0]) if keys else first)
