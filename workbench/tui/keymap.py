"""All keys there are, by the id of their binding, and what a person's own [keys] make of them.

A key that another binding in reach has already is refused, and so is one that no terminal knows, and one that fields to
type in need: the binding keeps its own key, and a sentence says so. Nothing ever loses its key because something else
took it, and no key is dead in a field that works there now.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, KEY_TO_UNICODE_NAME, Keys, key_to_character
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from workbench.settings import Settings
from workbench.text import shortened, visible
from workbench.tui.widgets.line_input import LineInput

PACKAGE = "workbench.tui"
MODIFIERS = ("ctrl", "shift", "alt", "super", "hyper", "meta")
EDITING = {single.key for single in Binding.make_bindings(Input.BINDINGS)} - {"enter"}
"""What a field to type in does something with, beside what it takes as text."""
NAMED = {key.value.rsplit("+", 1)[-1] for key in Keys} | {*KEY_TO_UNICODE_NAME, *KEY_NAME_REPLACEMENTS.values()}
"""Keys that have a name of more than one letter."""

Node = type[DOMNode]


@dataclass(frozen=True)
class Known:
    """One id."""

    id: str
    keys: tuple[str, ...]
    """The program's own, in Textual's names."""
    meaning: str
    nodes: tuple[Node, ...] = field(repr=False)
    """Where it is bound."""
    priority: bool = False
    """It comes before what has the focus."""

    @property
    def group(self) -> str:
        """The part of the id before the dot; empty: everywhere."""
        return self.id.split(".")[0] if "." in self.id else ""


@dataclass(frozen=True)
class Plan:
    """What a person's keys come to."""

    keymap: dict[str, str]
    """For `App.set_keymap`."""
    problems: tuple[str, ...]


def known_bindings() -> dict[str, Known]:
    """Every binding of the screen by its id, in the order of places."""
    found: dict[str, Known] = {}
    for node, binding in bound():
        for single in Binding.make_bindings([binding]):
            if single.id:
                found[single.id] = _with(found.get(single.id), single, node)
    return found


def bound() -> Iterator[tuple[Node, Binding]]:
    """Every binding as it is declared, and what declares it."""
    for node in _nodes():
        for binding in node.__dict__["BINDINGS"]:
            yield node, binding if isinstance(binding, Binding) else Binding(*binding)


def holds(place: Node, node: Node) -> bool:
    """`node` is the screen `place`, or a part of it."""
    return issubclass(place, node) or _holds(sys.modules[place.__module__], node, depth=2)


def planned(settings: Settings) -> Plan:
    """The keymap for what is set, without what cannot be, and why it cannot."""
    known = known_bindings()
    wanted, problems = _sound(settings, known)
    while True:
        clash = _first_clash(known, wanted)
        if clash is None:
            break
        mine, other, key = clash
        problems.append(
            f"{settings.place('keys', mine)}: '{key}' is the key of {other}; "
            f"{mine} keeps '{', '.join(known[mine].keys)}'."
        )
        del wanted[mine]
    moved = {name: keys for name, keys in wanted.items() if keys != known[name].keys}
    return Plan(_whole(known, moved), tuple(problems))


def needed_in_fields(known: Known, keys: tuple[str, ...]) -> str:
    """The first of `keys` that would be dead in a field to type in, or be taken from it; "" if none would.

    What is not bound to work in fields, as a letter, may have any key. What comes before the focus takes none that
    writes: Textual gives a moved key of that kind to the binding and not to the field.
    """
    works_there = known.priority or not any(map(_writes, known.keys))
    if not works_there or not any(_has_fields(node) for node in known.nodes):
        return ""
    parts = any(not issubclass(node, App | Screen) and _has_fields(node) for node in known.nodes)
    letters = known.priority or parts
    return next((key for key in keys if key in EDITING - set(known.keys) or (letters and _writes(key))), "")


def _has_fields(node: Node) -> bool:
    """Fields to type in are in it, or in what it is the app of."""
    return issubclass(node, App) or any(value is LineInput for value in vars(sys.modules[node.__module__]).values())


def _writes(key: str) -> bool:
    """A field takes it as text."""
    character = key_to_character(key)
    return character is not None and character.isprintable()


def _nodes() -> Iterator[Node]:
    """All classes of the screen that bind keys: the app, then screens and widgets by name."""
    for place in ("screens", "widgets"):
        package = importlib.import_module(f"{PACKAGE}.{place}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    importlib.import_module(f"{PACKAGE}.app")
    ours = {node for node in _below(DOMNode) if node.__module__.startswith(PACKAGE) and "BINDINGS" in node.__dict__}
    yield from sorted(
        ours, key=lambda node: (not issubclass(node, App), not issubclass(node, Screen), node.__qualname__)
    )


def _below(node: Node) -> Iterator[Node]:
    for child in node.__subclasses__():
        yield child
        yield from _below(child)


def _with(before: Known | None, binding: Binding, node: Node) -> Known:
    key, meaning = binding.key, binding.tooltip or binding.description
    if before is None:
        return Known(binding.id or "", (key,), meaning, (node,), binding.priority)
    keys = before.keys if key in before.keys else (*before.keys, key)
    words = before.meaning if meaning in before.meaning.split(" / ") else f"{before.meaning} / {meaning}"
    nodes = before.nodes if node in before.nodes else (*before.nodes, node)
    return Known(before.id, keys, words, nodes, before.priority or binding.priority)


def _sound(settings: Settings, known: Mapping[str, Known]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The keys of ids that there are, where they are keys; and what is wrong with the others."""
    wanted: dict[str, tuple[str, ...]] = {}
    problems = []
    for name, text in settings.keys.items():
        place, keys = settings.place("keys", name), tuple(_normal(part) for part in text.split(","))
        wrong = next((part.strip() for part, key in zip(text.split(","), keys, strict=True) if not key), None)
        if name not in known:
            problems.append(f"{place}: there is no binding '{_shown(name)}'; workbench keys lists them.")
        elif wrong is not None:
            problems.append(f"{place}: '{_shown(wrong)}' is not a key; write it as in ctrl+x, f9 or J.")
        elif keys != known[name].keys and (key := needed_in_fields(known[name], keys)):
            own = ", ".join(known[name].keys)
            problems.append(f"{place}: '{key}' is a key of fields to type in; {name} keeps '{own}'.")
        else:
            wanted[name] = keys
    return wanted, problems


def _normal(text: str) -> str:
    """A key in Textual's names; "" if it is none."""
    before, _, key = text.strip().rpartition("+")
    if not key:  # the plus key itself, alone or as in ctrl++
        before, key = before.removesuffix("+"), "+"
    modifiers = [modifier.strip().lower() for modifier in before.split("+") if before]
    if not key or any(modifier not in MODIFIERS for modifier in modifiers):
        return ""
    if len(key) == 1:
        key = next(iter(Binding.make_bindings([Binding(key, "")]))).key if key.isprintable() and key != " " else ""
    else:
        key = key.lower() if key.lower() in NAMED else ""
    return "+".join((*modifiers, key)) if key else ""


def _first_clash(known: Mapping[str, Known], wanted: Mapping[str, tuple[str, ...]]) -> tuple[str, str, str] | None:
    """A changed id, last ones first, another within its reach that has the same key, and the key."""
    for mine in reversed(list(wanted)):
        for other in known.values():
            shared = set(wanted[mine]) & set(wanted.get(other.id, other.keys))
            if other.id == mine or not shared or set(known[mine].keys) & set(other.keys):
                continue  # those that share a key from the start never work at the same time
            if _meet(known[mine], other):
                return mine, other.id, sorted(shared)[0]
    return None


def _meet(one: Known, other: Known) -> bool:
    """Both can work at the same time."""
    return any(_reach(a, b) or _reach(b, a) for a in one.nodes for b in other.nodes)


def _reach(outer: Node, inner: Node) -> bool:
    if issubclass(inner, outer):
        return True
    if issubclass(outer, App):
        return not issubclass(inner, ModalScreen)
    return issubclass(outer, Screen) and not issubclass(inner, Screen) and holds(outer, inner)


def _holds(module: ModuleType, node: Node, depth: int) -> bool:
    """`module`, or one of ours that it takes its widgets from, speaks of `node`."""
    values = list(vars(module).values())
    if any(value is node for value in values):
        return True
    classes = [v for v in values if isinstance(v, type) and issubclass(v, DOMNode) and v.__module__.startswith(PACKAGE)]
    others = {sys.modules[c.__module__] for c in classes if not issubclass(c, Screen)} - {module}
    return depth > 0 and any(_holds(other, node, depth - 1) for other in others)


def _whole(known: Mapping[str, Known], wanted: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """`wanted`, and what shares a key with it, at its own: Textual frees a moved key of all that is bound to it."""
    keymap = {name: ",".join(keys) for name, keys in wanted.items()}
    freed = {key for name in wanted for key in known[name].keys} | {key for keys in wanted.values() for key in keys}
    for other in known.values():
        if other.id not in keymap and freed & set(other.keys):
            keymap[other.id] = ",".join(other.keys)
    return keymap


def _shown(text: str) -> str:
    return shortened(visible(text), 40)
