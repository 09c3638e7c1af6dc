"""Panels say what the events said, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from rich.text import Text
from textual.app import App, ComposeResult

from tests.tui.story import MODULE, PROBES, finish_events, ready, row, run_events, stack, told
from workbench import events as ev
from workbench.tui.state import Run, State
from workbench.tui.widgets.event_lines import described, event_line
from workbench.tui.widgets.live_strip import outcome, title
from workbench.tui.widgets.norms import NormsPanel, norm_lines, short_module
from workbench.tui.widgets.now import NowPanel, now_lines
from workbench.tui.widgets.panel import Panel, Rows
from workbench.tui.widgets.probe_table import Asked, ProbeTable
from workbench.tui.widgets.probes import ProbesPanel, probe_lines, recorded_lines
from workbench.tui.widgets.shell import ShellPanel, shell_commands, verdict
from workbench.tui.widgets.stack_table import StackTable
from workbench.tui.widgets.stages import request_line, stage_line

HOSTILE = "\x1b]0;x\x07[red]\u202e"


def run_of(state: State) -> Run:
    assert state.run is not None
    return state.run


def test_the_running_step_is_shown_with_how_it_moved() -> None:
    run = run_of(told(run_events(12)))
    last, before = run.steps[-1], run.steps[-2]
    lines = now_lines(run, 40)
    assert lines[0].split() == ["loss", f"{last.loss:.3f}", "▼", f"{before.loss - last.loss:.3f}"]
    assert lines[4].split()[:3] == ["p(target)", f"{last.p_target:.3f}", "▲"]
    assert "7.20 of 12.4" in lines[5]
    assert lines[-1].split() == ["left", "0.4", "s"]


def test_the_first_step_has_moved_from_nowhere_and_the_last_says_why_it_stopped() -> None:
    assert now_lines(run_of(told(run_events(1))), 40)[0].split() == [
        "loss",
        f"{run_of(told(run_events(1))).steps[0].loss:.3f}",
    ]
    run = run_of(told(run_events(3)))
    ended = replace(run, steps=(*run.steps[:-1], replace(run.steps[-1], stopped="nll")))
    assert now_lines(ended, 40)[-1] == "stopped: rewriting NLL below its limit"


def test_stages_say_where_the_edit_is_and_how_it_ended() -> None:
    state = told(run_events(12), ready())
    assert stage_line(run_of(state), 78).split()[:4] == ["templates", "✓", "keys", "✓"]
    assert "▶ optimise" in stage_line(run_of(state), 78)
    assert "12/20" in stage_line(run_of(state), 78)
    done = run_of(told(finish_events(), state))
    assert "save ✓  saved in 2.1 s" in stage_line(done, 78)
    cancelled = run_of(told([ev.EditCancelled(position=3, step=12)], state))
    assert "✗ stopped at step 12; every weight is as before" in stage_line(cancelled, 78)
    failed = run_of(told([ev.EditFailed(message="The loss is not finite.")], state))
    assert "✗ failed: The loss is not finite." in stage_line(failed, 78)
    assert len(request_line(done, 78)) == 78


def test_norms_are_those_of_the_report_and_drift_that_of_the_stack() -> None:
    state = told(finish_events(), told(run_events(), ready()))
    run = run_of(state)
    lines = "\n".join(norm_lines(run.key, run.norms, state.stack, 76))
    for shown in (MODULE, "112.40", "2.31", "0.0206", "0.7300", "88.10", "0.930", "100.0%", "0.0360", "1.84"):
        assert shown in lines
    assert norm_lines(None, None, None, 76) == []
    assert short_module(MODULE, 18) == "…" + MODULE[-17:]


def test_probes_are_counted_by_kind_and_the_sample_is_shown() -> None:
    run = run_of(told(finish_events(), told(run_events(), ready())))
    lines = probe_lines(run.probes, 76, 6)
    text = " ".join(lines)
    for shown in (
        "efficacy Berlin 0.96 ✓",
        "paraphrase 1/1",
        "neighbour 1/2",
        "ppl 17.61 -> 17.63 ✓",
        "in Berlin, and its",
    ):
        assert shown in text
    assert len(probe_lines(run.probes, 30, 2)) == 2
    assert recorded_lines(row(3), 17.61, 76) == [
        "efficacy football ✓   paraphrase 2/2   neighbour 2/3   ppl 17.61 -> 17.66"
    ]


def test_a_measure_that_was_not_taken_is_a_dash() -> None:
    bare = row(1, efficacy=None, paraphrases=None, neighbours=None, perplexity=None, ratio=None)
    assert recorded_lines(bare, None, 76) == ["efficacy Rome -   paraphrase -   neighbour -"]


@pytest.mark.parametrize("kind", sorted(ev.types()))
def test_every_event_is_one_line_and_no_text_in_it_is_obeyed(kind: str) -> None:
    event = _hostile(ev.types()[kind])
    line = event_line(event, 120)
    assert "\n" not in line
    assert "\x1b" not in line
    assert "\u202e" not in line
    assert len(line) <= 120


def _hostile(cls: type[ev.Event]) -> ev.Event:
    """An event of `cls` with an escape sequence wherever a text may be."""
    filled = {
        "str": HOSTILE,
        "int": 1,
        "float": 0.5,
        "bool": True,
        "dict[str, Any]": {"subject": HOSTILE, "prompt": HOSTILE, "target_new": HOSTILE},
        "tuple[str, ...]": (HOSTILE, HOSTILE),
        "tuple[float, ...]": (0.5,),
        "tuple[tuple[str, float], ...]": ((HOSTILE, 0.5),),
        "Stage": "keys",
        "Kind": "state",
        "RowState": "applied",
        "float | None": 0.5,
        "int | None": 1,
        "tuple[int, ...]": (0,),
        "tuple[int, int]": (1, 2),
        "tuple[int, int] | None": (1, 2),
        "tuple[EditRow, ...]": (row(1, subject=HOSTILE),),
        "StackChanged": stack(folder=HOSTILE),
        "tuple[tuple[float, ...], ...]": ((0.5,),),
        "dict[str, dict[str, float | None]]": {HOSTILE: {HOSTILE: 0.5}},
    }
    values: dict[str, Any] = {}
    for name, field in cls.__dataclass_fields__.items():
        if str(field.type) in filled:
            values[name] = filled[str(field.type)]
        elif str(field.type).startswith("Literal"):
            values[name] = re.split("[\"']", str(field.type))[1]
    return cls(**values)


def test_warnings_and_failures_are_marked_by_a_sign() -> None:
    assert "! warning" in event_line(ev.Warning(message="few samples", hint="take more"), 80)
    assert "✗ failed" in event_line(ev.JobDone(ok=False, message="no such edit"), 80)
    assert described(ev.GuardTripped(measure="ratio", value=0.3, limit=0.25)).weight == "warning"
    assert (
        described(ev.Verified(position=1, edit="a", expected="x", actual="y", outcome="different")).weight == "failure"
    )


def test_commands_for_a_shell_survive_any_folder_name() -> None:
    found = shell_commands(stack(folder="my edits/$a"), row(2))
    assert all(command.line.split(" ", 2)[2].startswith("'my edits/$a'") for command in found)
    assert {"workbench show 'my edits/$a' 2", "workbench export 'my edits/$a' -o a.zip"} <= {c.line for c in found}
    assert shell_commands(None) == ()


def test_a_command_that_is_too_long_to_show_keeps_its_verb_and_number_in_sight() -> None:
    panel = ShellPanel()
    panel._stack = stack(folder="/a/very/long/way/from/here/to/the/stack")
    panel._commands = shell_commands(panel._stack, row(2))
    assert panel.row(2, 40).plain.strip() == "workbench travel …/stack 2"
    assert panel._commands[2].line == "workbench travel /a/very/long/way/from/here/to/the/stack 2"


def test_the_strip_says_how_many_requests_are_one_edit() -> None:
    run = told(run_events(3)).run
    assert run is not None
    assert title(replace(run, started=replace(run.started, requests=3))).endswith(" and 2 more -> Berlin")


def test_a_verdict_says_bit_identical_only_of_what_was_compared() -> None:
    same = ev.Verified(position=1, edit="a", expected="x", actual="x", outcome="bit-identical")
    assert verdict(()).startswith("Not verified yet")
    assert verdict((same, same)) == "✓ 2 of 2 positions bit-identical"
    assert verdict((same, replace(same, position=2, outcome="different"))).endswith("✗ different at 2")
    assert "1 not comparable" in verdict((same, replace(same, outcome="not comparable")))


class Holder(App[None]):
    def __init__(self, *panels: Panel) -> None:
        super().__init__()
        self.panels = panels

    def compose(self) -> ComposeResult:
        yield from self.panels


class Numbers(Rows):
    def count(self) -> int:
        return 100

    def row(self, index: int, width: int) -> Text:
        return Text(str(index)[:width])


def text_of(panel: Panel) -> list[str]:
    return [line.plain for line in panel.lines(*panel.content_size)]


async def test_the_cursor_of_a_list_is_always_in_sight() -> None:
    rows = Numbers()
    app = Holder(rows)
    async with app.run_test(size=(40, 12)) as pilot:
        rows.focus()
        assert text_of(rows)[0] == "> 0" + " " * 33
        await pilot.press("end")
        assert text_of(rows)[-1].startswith("> 99")
        await pilot.press("pageup", "up", "k")
        assert any(line.startswith(f"> {rows.cursor}") for line in text_of(rows))
        await pilot.press("home", "up", "down", "j")
        assert rows.cursor == 2
        await pilot.click(rows, offset=(5, 5))
        assert rows.cursor == 4


async def test_panels_say_what_will_be_there_before_there_is_anything() -> None:
    panels = (StackTable(), NowPanel(), NormsPanel(), ProbesPanel(), ProbeTable())
    app = Holder(*panels)
    async with app.run_test(size=(80, 60)):
        assert all("".join(text_of(panel)).strip() for panel in panels)


async def test_the_stack_is_newest_first_with_a_sign_and_a_word_for_each_state() -> None:
    table = StackTable()
    app = Holder(table)
    edits = (row(1), row(2, state="off"), row(3, state="broken"), row(4, state="undone"))
    async with app.run_test(size=(80, 24)):
        table.show(told([stack(edits=edits, position=2)]))
        lines = text_of(table)
        words = [line[2:].split()[:3] for line in lines[1:]]
        assert words[:4] == [["↶", "undone", "4"], ["✗", "broken", "3"], ["◌", "off", "2"], ["●", "applied", "1"]]
        assert words[4][:2] == ["◦", "base"]
        assert table.position == 2
        assert lines[3].startswith(">")


async def test_the_cursor_stays_on_its_edit_and_goes_along_with_a_new_one_from_the_newest_applied() -> None:
    table = StackTable()
    app = Holder(table)
    async with app.run_test(size=(80, 24)) as pilot:
        table.show(told([stack(3, 0)]))
        table.focus()
        await pilot.press("down")
        assert table.position == 2
        table.show(told([stack(1, 2)]))
        assert table.position == 2
        table.show(told([stack(4, 0)]))
        assert table.position == 2
        await pilot.press("home")
        table.show(told([stack(5, 0)]))
        assert table.position == 5


async def test_a_filter_keeps_the_edits_that_match() -> None:
    table = StackTable()
    app = Holder(table)
    async with app.run_test(size=(80, 24)):
        table.show(told([stack(3, 1)]))
        table.narrow("JOBS")
        assert table.count() == 2
        table.narrow("")
        assert table.count() == 5


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
async def test_columns_fit_every_width(width: int) -> None:
    table, probes = StackTable(), ProbeTable()
    app = Holder(table, probes)
    async with app.run_test(size=(width, 30)):
        nasty = row(3, subject=HOSTILE * 9, prompt="{}" + "北京" * 40, target_new=HOSTILE, created="", note=HOSTILE)
        table.show(told([stack(edits=(row(1), nasty), position=2)]))
        probes.show(told([replace(one, side="stack") for one in PROBES]), Asked(("base", "stack"), ("base", HOSTILE)))
        for panel in (table, probes):
            assert all(line.cell_len <= panel.content_size.width for line in panel.lines(*panel.content_size))
            assert not any("\x1b" in line for line in text_of(panel))


@pytest.mark.parametrize(
    ("passed", "said"), [(True, "✓ edit 1 made in 1.2 s"), (False, "✗ edit 1 made, but its target")]
)
def test_an_edit_whose_target_is_not_on_top_is_no_success(passed: bool, said: str) -> None:
    run = Run(
        ev.EditStarted(request={}, recipe={}, module=MODULE),
        probes=(ev.ProbeResult(kind="efficacy", prompt="Lily had a", answer="boat", passed=passed),),
        committed=ev.EditCommitted(edit="7be1", file="f", position=1, weight_sha256="a", bytes=1, seconds=1.2),
    )
    assert outcome(run).startswith(said)
