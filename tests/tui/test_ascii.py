"""The screen on terminals that have no Unicode, no colour, or no animation."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tests.tui.conftest import OpenDesk
from tests.tui.story import rows
from workbench.tui.ascii import needs_ascii, stand_in, terminal_encoding


@pytest.mark.parametrize(
    ("environ", "encoding", "needed"),
    [
        ({}, "utf-8", False),
        ({"LANG": "de_DE.UTF-8", "TERM": "xterm-256color"}, "UTF-8", False),
        ({"LANG": "C.utf8"}, "utf-8", False),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, "utf-8", True),
        ({"LANG": "de_DE.ISO-8859-1"}, "iso8859-1", True),
        ({"TERM": "dumb"}, "utf-8", True),
        ({"TERM": "vt100", "LANG": "C.UTF-8"}, "utf-8", True),
        ({}, "ascii", True),
    ],
)
def test_ascii_is_drawn_where_the_terminal_needs_it(environ: dict[str, str], encoding: str, needed: bool) -> None:
    assert needs_ascii(environ, encoding) is needed


@pytest.mark.parametrize(
    ("environ", "shows"),
    [
        ({"LC_ALL": "C"}, "ascii"),
        ({"LANG": "de_DE.ISO-8859-1@euro"}, "ISO-8859-1"),
        ({"LANG": "C.UTF-8"}, "utf-8"),
        ({}, "utf-8"),
    ],
)
def test_a_locale_says_what_the_terminal_can_show(environ: dict[str, str], shows: str) -> None:
    assert terminal_encoding(environ, "utf-8") == shows


@pytest.mark.parametrize("character", "●▶↶✗✓…╭│⡇⠤█▁é北한🙂\u0301\u200dяÿ▓⟨")
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_stand_in_has_as_many_cells_and_the_encoding_has_it(character: str, encoding: str) -> None:
    drawn = stand_in(character, encoding)
    assert cell_len(drawn) == cell_len(character)
    drawn.encode(encoding)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_every_place_is_drawn_in_ascii_where_it_is_set(
    open_desk: OpenDesk,
    size: tuple[int, int],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("own")
    (folder / "config.toml").write_text("[screen]\nascii = true\n")
    monkeypatch.setenv("WORKBENCH_CONFIG", str(folder))
    async with open_desk(size, pause_at=12, rows=rows(4), position=3) as desk:
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("RUNNING")
        for key in ("f2", "f3", "f4", "f5", "f8", "f1", "ctrl+o"):
            await desk.pilot.press(key)
            await desk.pilot.pause(0.2)
            odd = {c for c in desk.text() if not c.isascii()}
            assert odd == set(), key
            assert all(cell_len(line) == size[0] for line in desk.lines())
        assert "* RUNNING" in desk.text()


async def test_states_are_readable_without_colour(open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_desk((140, 40), pause_at=4, rows=rows(4), position=3) as desk:
        assert desk.app.no_color
        await desk.add("Held", "{} is", "x")
        await desk.pilot.press("escape", "space")
        await desk.add("Broken", "is", "x")
        await desk.pilot.press("ctrl+s")
        await desk.pilot.press("escape")
        for name in ("Now", "Later"):
            await desk.add(name, "{} is", "x")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("RUNNING")
        for words in ("● RUNNING", "‖ held", "✗ invalid", "· queued", "▶", "↶", "●"):
            assert words in desk.text()
