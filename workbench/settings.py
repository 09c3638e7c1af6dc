"""What a person has set for all stacks: `config.toml`, which they write, and `state.json`, which the screen writes.

Both lie in the user's folder beside the editing profiles. Nothing that is wrong in them stops the program: what cannot
be used is left out, and a sentence says which line it is and why. What was chosen on the screen holds until the same
section of `config.toml` is changed: the newest word counts.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any

from workbench.models.user import config_root
from workbench.stack.files import make_folder, write_atomic
from workbench.text import shortened, visible

CONFIG = "config.toml"
STATE = "state.json"
MAX_BYTES = 1024 * 1024

Value = str | bool | float
Section = Mapping[str, Value]

_EMPTY: Section = MappingProxyType({})
_WRITING = Lock()


@dataclass(frozen=True)
class Settings:
    """What is set, each value of the kind its section takes."""

    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys, comma-separated, by the id of a binding."""
    theme: str = ""
    """Name of a theme; empty: the program's own."""
    ascii: bool | None = None
    """Draw with ASCII only; None: where the terminal needs it."""
    guard: Mapping[str, bool | float] = field(default_factory=dict)
    """Limits by their name."""
    problems: tuple[str, ...] = ()
    """What could not be used, a sentence each."""
    _text: str = ""

    def place(self, section: str, name: str = "") -> str:
        """Where a value stands, to begin a sentence with: "config.toml, line 4"."""
        return _place(self._text, section, name)


def read() -> Settings:
    """What is set now. Never raises: what is wrong is in `problems`."""
    folder, problems = config_root(), list[str]()
    text = _read_text(folder / CONFIG, problems)
    config = _sections(text, problems)
    state = _remembered(folder / STATE, problems)
    current = {name: _newest(config.get(name, _EMPTY), state.get(name)) for name in KINDS}
    return Settings(
        keys={name: str(value) for name, value in current["keys"].items()},
        theme=str(current["theme"].get("name", "")),
        ascii=bool(current["screen"]["ascii"]) if "ascii" in current["screen"] else None,
        guard={name: value for name, value in current["guard"].items() if not isinstance(value, str)},
        problems=tuple(problems),
        _text=text,
    )


def remember(section: str, values: Section) -> None:
    """Keeps `values` as what was chosen on the screen, in place of what was kept of `section` before.

    Args:
        section: one of KINDS.
        values: the whole section; empty forgets the choice.

    Raises:
        StorageError: the disk would not take it.
        KeyError: there is no such section. ValueError: a value is not one that the section takes.
    """
    wrong = [name for name, value in values.items() if KINDS[section](name, value)]
    if wrong:
        raise ValueError(f"not a value of [{section}]: {wrong[0]}")
    folder = config_root()
    with _WRITING:
        config = _sections(_read_text(folder / CONFIG, []), [])
        document = {name: dict(entry) for name, entry in _remembered(folder / STATE, []).items() if name != section}
        if values:
            document[section] = {"values": dict(values), "over": dict(config.get(section, _EMPTY))}
        make_folder(folder)
        write_atomic(folder / STATE, json.dumps(document, indent=1, ensure_ascii=True).encode() + b"\n")


Check = Callable[[str, Any], str]
"""What is wrong with a name and its value, to go on after the name; "" if nothing is."""


def _wrong_keys(name: str, value: Any) -> str:
    del name
    return "" if isinstance(value, str) and value.strip() else 'must be a key in quotes, as in "ctrl+x"'


def _wrong_theme(name: str, value: Any) -> str:
    if name != "name":
        return "is not known; a theme has a name"
    return "" if isinstance(value, str) else 'must be a name in quotes, as in "nord"'


def _wrong_screen(name: str, value: Any) -> str:
    if name != "ascii":
        return "is not known; there is ascii"
    return "" if isinstance(value, bool) else "must be true or false"


def _wrong_guard(name: str, value: Any) -> str:
    del name
    number = isinstance(value, (int, float)) and -1e300 < value < 1e300
    return "" if number else "must be a number, or false for no limit"


KINDS: Mapping[str, Check] = MappingProxyType(
    {"keys": _wrong_keys, "theme": _wrong_theme, "guard": _wrong_guard, "screen": _wrong_screen}
)
"""The sections there are, and what checks the values of each."""


def _read_text(path: Path, problems: list[str]) -> str:
    """The file's text; "" if there is none, or it cannot be read. A link is followed: people keep such files linked."""
    try:
        if not path.exists():
            return ""
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            problems.append(f"{path.name} is not a file of at most {MAX_BYTES} bytes; it is left out.")
            return ""
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {(error.strerror or str(error)).lower()}.")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        problems.append(f"{path.name}, line {line}: the text is not UTF-8; the file is left out.")
    return ""


def _sections(text: str, problems: list[str]) -> dict[str, Section]:
    """The sections of a config, without what cannot be used."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problems.append(_toml_problem(text, error))
        return {}
    found = {}
    for name, section in document.items():
        place = _place(text, name)
        if name not in KINDS:
            problems.append(f"{place}: there is no section [{_shown(name)}]; known are {', '.join(KINDS)}.")
        elif not isinstance(section, dict):
            problems.append(f"{place}: {name} must be a section, written [{name}].")
        else:
            found[name] = _usable(text, name, section, problems)
    return found


def _usable(text: str, section: str, values: Mapping[str, Any], problems: list[str]) -> Section:
    usable = {}
    for name, value in _flat(values):
        wrong = KINDS[section](name, value)
        if wrong:
            problems.append(f"{_place(text, section, name)}: {_shown(name)} {wrong}.")
        else:
            usable[name] = value
    return usable


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """`a.b = 1`, which TOML reads as tables in tables, as ("a.b", 1): binding ids have dots."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, dict) and value else [(before + name, value)]
    return found


def _remembered(path: Path, problems: list[str]) -> dict[str, Mapping[str, Section]]:
    """What the screen has kept, by section: the values, and what the config said then."""
    text = _read_text(path, problems)
    if not text:
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        problems.append(f"{path.name} cannot be understood; what was chosen on the screen is forgotten.")
        return {}
    return {name: entry for name, entry in document.items() if name in KINDS and _is_entry(name, entry)}


def _is_entry(section: str, entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"values", "over"}:
        return False
    if not all(isinstance(part, dict) for part in entry.values()):
        return False
    return not any(KINDS[section](name, value) for name, value in entry["values"].items())


def _newest(config: Section, remembered: Mapping[str, Section] | None) -> Section:
    """What was chosen on the screen over the config, unless the config was changed since."""
    if remembered is None or dict(remembered["over"]) != dict(config):
        return config
    return {**config, **remembered["values"]}


def _toml_problem(text: str, error: Exception) -> str:
    """The sentence for a file that is not TOML: line first."""
    found = re.search(r"(.*?)\s*\(at (?:line (\d+), column \d+|end of document)\)", str(error))
    reason = found[1] if found else "it is nested too deeply"
    line = int(found[2]) if found and found[2] else text.count("\n") + 1
    return f"{CONFIG}, line {line}: {_shown(reason[:1].lower() + reason[1:])}; the file is left out."


def _place(text: str, section: str, name: str = "") -> str:
    line = _line_of(text, section, name)
    return f"{CONFIG}, line {line}" if line else CONFIG


def _line_of(text: str, section: str, name: str = "") -> int:
    """The line, from 1, of a section's header, or of a name in it; 0 where it is not found."""
    inside, header = False, 0
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if bare.startswith("["):
            inside = bare.split("]")[0].strip("[ \"'") == section
            header = number if inside and not header else header
        elif inside and name and "=" in bare and bare.split("=")[0].strip(" \"'").replace('"', "") == name:
            return number
    return header


def _shown(text: str) -> str:
    return shortened(visible(text), 80)
