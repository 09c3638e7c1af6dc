"""Keys that a person puts in other places: what is bound, what is refused, and where it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from textual.binding import Binding
from textual.widgets import Input

from tests.tui.conftest import Desk, OpenDesk
from workbench import events as ev
from workbench.cli.keys import keys
from workbench.settings import Settings, read
from workbench.tui.keymap import bound, known_bindings, planned
from workbench.tui.keynames import OWN, key_name, named


@pytest.fixture
def config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("own")
    monkeypatch.setenv("WORKBENCH_CONFIG", str(folder))
    return folder / "config.toml"


def test_every_binding_of_the_screen_has_an_id_and_says_what_it_does() -> None:
    without = [(node.__name__, binding.key) for node, binding in bound() if not (binding.id and binding.description)]
    assert without == []


def test_one_id_has_the_same_keys_wherever_it_is_bound() -> None:
    found: dict[str, dict[str, set[str]]] = {}
    for node, binding in bound():
        for single in Binding.make_bindings([binding]):
            found.setdefault(str(single.id), {}).setdefault(node.__name__, set()).add(single.key)
    assert {name: nodes for name, nodes in found.items() if len({frozenset(k) for k in nodes.values()}) > 1} == {}


def test_no_id_is_a_table_and_a_value_at_once_in_a_config() -> None:
    known = set(known_bindings())
    assert {name for name in known for other in known if other.startswith(f"{name}.")} == set()


def test_what_sentences_name_is_what_is_bound() -> None:
    known = known_bindings()
    assert {name: known[name].keys[0] for name in OWN} == dict(OWN)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"queue.ad": "n"}, "config.toml: there is no binding 'queue.ad'; workbench keys lists them."),
        ({"queue.add": "ctrl-n"}, "config.toml: 'ctrl-n' is not a key; write it as in ctrl+x, f9 or J."),
        ({"queue.add": "d"}, "config.toml: 'd' is the key of queue.remove; queue.add keeps 'a'."),
        ({"queue.add": "j"}, "config.toml: 'j' is the key of rows.down; queue.add keeps 'a'."),
        ({"run": "ctrl+g"}, "config.toml: 'ctrl+g' is the key of stop; run keeps 'ctrl+r'."),
        ({"trace.open": "f4"}, "config.toml: 'f4' is the key of place.history; trace.open keeps 'ctrl+t'."),
        ({"run": "ctrl+x"}, "config.toml: 'ctrl+x' is a key of fields to type in; run keeps 'ctrl+r'."),
        ({"run": "x"}, "config.toml: 'x' is a key of fields to type in; run keeps 'ctrl+r'."),
        ({"stop": "ctrl+k"}, "config.toml: 'ctrl+k' is a key of fields to type in; stop keeps 'ctrl+g'."),
        ({"jump": "J"}, "config.toml: 'J' is a key of fields to type in; jump keeps 'ctrl+o'."),
        ({"form.save": "space"}, "config.toml: 'space' is a key of fields to type in; form.save keeps 'ctrl+s'."),
        (
            {"help": "f12,?"},
            "config.toml: 'question_mark' is a key of fields to type in; help keeps 'f1, question_mark'.",
        ),
        ({"jump": "f9", "stop": "f9"}, "config.toml: 'f9' is the key of jump; stop keeps 'ctrl+g'."),
        ({"queue.add": "\x1b[31m"}, "config.toml: '␛[31m' is not a key; write it as in ctrl+x, f9 or J."),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(entry: dict[str, str], problem: str) -> None:
    plan = planned(Settings(keys=entry))
    assert plan.problems == (problem,)
    assert list(entry)[-1] not in {name for name in plan.keymap if plan.keymap[name] == entry.get(name)}


@pytest.mark.parametrize(
    "entry",
    [
        {"queue.add": "d", "queue.remove": "a"},
        {"queue.add": "?", "help": "f12"},
        {"run": "Ctrl+Y"},
        {"stop": "X"},
        {"queue.remove": "x,delete"},
        {"history.undo": "ctrl+u"},
        {"compare.longer": "*"},
        {"stop": "ctrl++"},
        {"queue.add": "s", "compare.swap": "d", "compare.diff": "s"},
    ],
)
def test_keys_may_be_swapped_and_written_as_people_write_them(entry: dict[str, str]) -> None:
    plan = planned(Settings(keys=entry))
    assert plan.problems == ()
    assert set(entry) <= set(plan.keymap)


async def test_a_key_in_another_place_works_there_and_shows_everywhere(open_desk: OpenDesk, config: Path) -> None:
    config.write_text('[keys]\nrun = "f9"\nqueue.remove = "x"\nplace.log = "f7"\nhelp = "f12"\n')
    async with open_desk(pause_at=3) as desk:
        assert "F7 Log" in desk.lines()[0]
        assert "f9 runs the queue." in desk.text()
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "x")
        await desk.pilot.press("escape")
        await desk.until_said("x Remove")
        line = desk.lines()[-1]
        assert "f9 Run" in line
        assert "f12 Help" in line
        await desk.pilot.press("d", "ctrl+r")
        assert len(desk.app.queue) == 2
        assert not desk.engine.verbs()
        await desk.pilot.press("x")
        assert len(desk.app.queue) == 1
        await desk.pilot.press("f12")
        await desk.until_said("f12 closes")
        assert "f9 starts" in desk.text(), "sentences name it too"
        await desk.pilot.press("f12", "f9")
        await desk.until_said("RUNNING")
        assert "f9 Pause" in desk.lines()[-1]
        await desk.pilot.press("f9")
        await desk.until(lambda: "f9 goes on" in desk.said())
        desk.engine.die("killed")
        await desk.until_said("f9 restart")
        await desk.pilot.press("f9")
        await desk.until(lambda: len(desk.engines) == 2)


def test_what_does_the_same_has_one_id_and_is_listed_once() -> None:
    known = known_bindings()
    places = {name: {node.__name__ for node in known[name].nodes} for name in ("history.undo", "trace.open", "run")}
    assert places == {
        "history.undo": {"HistoryScreen", "StackPane"},
        "trace.open": {"HistoryScreen", "EditScreen"},
        "run": {"WorkbenchApp", "RequestForm", "FormScreen"},
    }
    assert not [name for name in known if name.startswith("stack.")]
    printed = CliRunner().invoke(keys, []).stdout.splitlines()
    assert sum("history.undo" in line for line in printed) == 1


async def test_a_mark_is_still_written_in_a_field_when_a_section_names_it_as_it_is(
    open_desk: OpenDesk, config: Path
) -> None:
    config.write_text('[keys]\nhelp = "f1,question_mark"\nrun = "ctrl+w"\nstop = "f9"\n')
    async with open_desk() as desk:
        assert "'ctrl+w' is a key of fields to type in; run keeps 'ctrl+r'." in desk.said()
        await desk.pilot.press("W", "h", "o", "question_mark")
        assert desk.app.screen.query_one("#subject", Input).value == "Who?"


async def test_what_is_wrong_in_the_config_is_said_and_the_screen_opens(open_desk: OpenDesk, config: Path) -> None:
    config.write_text('[keys]\nrun = 3\nqueue.add = "d"\n[theme]\nname = "no[b]ne"\n')
    async with open_desk() as desk:
        assert "f8: all of it" in desk.said()
        assert not [event for event in desk.app.state.log if isinstance(event, ev.Log)], "it is in the log once"
    async with open_desk((120, 40)) as desk:
        said = desk.said()
        assert 'config.toml, line 2: run must be a key in quotes, as in "ctrl+x".' in said
        assert "config.toml, line 3: 'd' is the key of queue.remove; queue.add keeps 'a'." in said
        assert "There is no theme 'no[b]ne'; ctrl+p lists them." in said
        warned = [event.message for event in desk.app.state.log if isinstance(event, ev.Warning)]
        assert len(warned) == 3, "what is missed can be read in the log"
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", "d")
        assert len(desk.app.queue) == 0


async def test_a_theme_is_taken_and_one_that_is_chosen_is_remembered(open_desk: OpenDesk, config: Path) -> None:
    config.write_text('[theme]\nname = "nord"\n')
    async with open_desk() as desk:
        assert desk.app.theme == "nord"
        desk.app.theme = "gruvbox"
        await desk.until(lambda: read().theme == "gruvbox")
    async with open_desk() as desk:
        assert desk.app.theme == "gruvbox"


async def test_without_changes_sentences_are_as_written(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        assert isinstance(desk, Desk)
        assert key_name("run") == "ctrl+r"
        assert named("ctrl+r runs, F2 opens") == "ctrl+r runs, F2 opens"


def test_the_command_prints_a_section_that_reads_back_as_it_is(config: Path) -> None:
    config.write_text('[keys]\nrun = "f9"\n')
    printed = CliRunner().invoke(keys, []).stdout
    assert '\nrun = "f9" ' in printed
    config.write_text(printed.replace("\n# ", "\n").replace("\neverywhere\n", "\n"))
    lines = [line for line in config.read_text().split("\n") if " = " in line or line == "[keys]"]
    config.write_text("\n".join(lines))
    assert planned(read()).problems == ()
    assert set(read().keys) == set(known_bindings())


def test_the_command_says_what_is_wrong_and_lists_only_what_is_changed(config: Path) -> None:
    config.write_text('[keys]\nrun = "f9"\nqueue.add = "d"\n')
    done = CliRunner().invoke(keys, ["--changed", "--json"], standalone_mode=False)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["keys"] == ["f9"]
    assert "'d' is the key of queue.remove" in done.stderr
    assert done.return_value == 2
