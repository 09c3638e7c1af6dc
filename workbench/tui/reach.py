"""Which keys act now. Over a question, the app's own keys that never wait for it act as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from textual.binding import ActiveBinding, Binding
from textual.screen import Screen

from workbench.tui.keynames import REBOUND


def reachable(screen: Screen[Any]) -> Iterator[ActiveBinding]:
    """The bindings of what has the focus, of its screen and of the app, innermost first; a key once."""
    active = screen.active_bindings
    yield from sorted(active.values(), key=_rank(screen)) if REBOUND.get() else active.values()
    if not screen.is_modal:
        return
    app = screen.app
    for namespace, bindings in screen._binding_chain:
        for key, binding in bindings if namespace is app else ():
            works = app.check_action(binding.action, ())
            if works is not False and binding.priority and binding.id and key not in active:
                yield ActiveBinding(app, binding, works is True, binding.tooltip)


def _rank(screen: Screen[Any]) -> Callable[[ActiveBinding], tuple[int, int]]:
    """Where a binding stands among all: a key in another place keeps the rank of the one it replaces."""
    nodes = {node: number for number, (node, _) in enumerate(screen._binding_chain)}

    def rank(active: ActiveBinding) -> tuple[int, int]:
        declared = [
            binding.id
            for kind in type(active.node).__mro__
            for binding in kind.__dict__.get("BINDINGS", ())
            if isinstance(binding, Binding)
        ]
        own = active.binding.id
        return nodes.get(active.node, len(nodes)), declared.index(own) if own in declared else len(declared)

    return rank
