"""The screen in a browser: where it listens, what it says, and that a browser gets the screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench.cli.serve import _is_here

RUN = Path(__file__).parents[1] / "tui" / "recordings" / "atlas.jsonl"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("::", False),
        ("192.168.0.2", False),
        ("box", False),
    ],
)
def test_only_this_machines_own_addresses_need_no_warning(host: str, here: bool) -> None:
    assert _is_here(host) is here


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['textual_serve'] = None; "
        "from workbench.cli.main import run; sys.exit(run(['serve', '--port', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'rome-workbench[serve]'" in done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(folder: Path, port: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`workbench serve` of a recording, which needs no model."""
    command = [sys.executable, "-m", "workbench", "serve", "--port", str(port), *words, "play", str(RUN), "--no-wait"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()


@pytest.mark.skipif(os.name != "posix", reason="signals")
async def test_a_browser_gets_the_screen(tmp_path: Path) -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="the extra 'serve' is not installed")
    pytest.importorskip("textual_serve", reason="the extra 'serve' is not installed")
    port = free_port()
    with served(tmp_path, port):
        async with aiohttp.ClientSession() as session:
            page = await _page(session, f"http://localhost:{port}/")
            assert "workbench" in page
            async with session.ws_connect(f"http://localhost:{port}/ws?width=100&height=30") as browser:
                seen = b""
                async with asyncio.timeout(30):
                    while b"RECORDING" not in seen:
                        message = await browser.receive()
                        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
                        seen += message.data if isinstance(message.data, bytes) else message.data.encode()


async def _page(session: object, address: str) -> str:
    """The page, once the server is up."""
    import aiohttp

    assert isinstance(session, aiohttp.ClientSession)
    for _ in range(200):
        try:
            async with session.get(address) as answer:
                assert answer.status == 200
                return await answer.text()
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)
    raise AssertionError("nobody listens")
