"""`workbench keys`: every key of the screen, as a [keys] section that is ready to be changed."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING

import click

from workbench.text import visible

if TYPE_CHECKING:
    from workbench.tui.keymap import Known

EPILOG = """\b
The output is the text of a config. Put the lines you change into the file
that its first line names, under [keys], without the #:
  [keys]
  run = "f9"
  queue.remove = "x,delete"
A key is a letter or mark, or a name: ctrl+x, shift+up, f9, space, enter,
escape, tab, delete, home, pageup, question_mark. Several are separated by
commas. A key that something else in reach has already is refused, and one
that fields to type in need, as ctrl+x; that is said when the screen opens
and here.

\b
Other sections of the same file:
  [theme]
  name = "nord"          the names are in the palette of the screen
  [screen]
  ascii = true           no braille, no box drawing
  [guard]
  perplexity = 0.2       limits as the screen shows them; false: none

\b
Examples:
  workbench keys
  workbench keys --changed
  workbench keys --json
"""


@click.command(short_help="Show the keys of the screen, to change them.", epilog=EPILOG)
@click.option("--changed", is_flag=True, help="Only those that your config changes.")
@click.option("--json", "as_json", is_flag=True, help="One binding a line on stdout, as JSON.")
def keys(changed: bool, as_json: bool) -> int:
    """Print the id, keys and meaning of every binding of the screen, and what your config makes of them.

    Exit code 2: something in the config cannot be used; stderr says what, and where it stands.
    """
    from workbench import settings
    from workbench.models.user import config_root
    from workbench.tui.keymap import known_bindings, planned

    found, plan = settings.read(), planned(settings.read())
    now = {name: text for name, text in plan.keymap.items() if name in found.keys}
    shown = [known for known in known_bindings().values() if not changed or known.id in now]
    lines = _documents(shown, now) if as_json else _section(str(config_root() / settings.CONFIG), shown, now)
    for line in lines:
        click.echo(visible(line))
    for problem in (*found.problems, *plan.problems):
        click.echo(visible(problem), err=True)
    return 2 if found.problems or plan.problems else 0


def _documents(shown: list[Known], now: dict[str, str]) -> list[str]:
    return [
        json.dumps(
            {
                "id": known.id,
                "keys": now.get(known.id, ",".join(known.keys)).split(","),
                "own": list(known.keys),
                "meaning": known.meaning,
            }
        )
        for known in shown
    ]


def _section(path: str, shown: list[Known], now: dict[str, str]) -> list[str]:
    """A [keys] section: what is changed as it is, what is not behind a #."""
    lines = [f"# {path}", "[keys]"]
    width = max((len(_entry(known, now)) for known in shown), default=0)
    for group, members in groupby(sorted(shown, key=lambda known: known.group), key=lambda known: known.group):
        lines += ["", f"# {group or 'everywhere'}"]
        lines += [f"{_entry(known, now):<{width}}  # {known.meaning}" for known in members]
    return lines


def _entry(known: Known, now: dict[str, str]) -> str:
    text = f'{known.id} = "{now.get(known.id, ",".join(known.keys))}"'
    return text if known.id in now else f"# {text}"
