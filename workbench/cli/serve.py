"""`workbench serve`: the screen in a browser."""

from __future__ import annotations

import ipaddress
import shlex
import sys

import click

from workbench.cli.output import Output
from workbench.errors import UsageError

EPILOG = """\b
Examples:
  workbench serve
  workbench serve openai-community/gpt2 --stack edits/mine
  workbench serve --port 9000

\b
What follows is given to workbench. Each browser window is a workbench of its
own, with a model of its own; only one of them can write to a stack. Everyone
who reaches the port can edit: there is no password. From another machine, use
a tunnel: ssh -L 8000:localhost:8000 HOST.
"""
INSTALL = "pip install 'rome-workbench[serve]'"


@click.command(
    short_help="Show the screen in a browser.",
    epilog=EPILOG,
    context_settings={"ignore_unknown_options": True},
)
@click.option("--host", default="localhost", metavar="HOST", help="Address to listen on. [default: localhost]")
@click.option("--port", default=8000, type=click.IntRange(1, 65535), metavar="PORT", help="[default: 8000]")
@click.argument("words", metavar="[MODEL] [OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def serve(host: str, port: int, words: tuple[str, ...]) -> int:
    """Show the screen in a browser, on http://localhost:8000."""
    try:
        from textual_serve.server import Server
    except ImportError as error:
        raise UsageError("workbench serve needs textual-serve, which is not installed.", INSTALL) from error
    with Output(json=False) as output:
        if not _is_here(host):
            output.tell(f"warning: whoever reaches {host}:{port} can run and edit models as you. There is no password.")
        command = shlex.join([sys.executable, "-m", "workbench", *words])
        Server(command, host=host, port=port, title="workbench").serve()
    return 0


def _is_here(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
