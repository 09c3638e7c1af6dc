"""Plots are text: what they show can be read, whatever the numbers are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.story import ready, run_events, step, told
from workbench import events as ev
from workbench.tui.state import Run, State
from workbench.tui.widgets.braille import Series, draw, legend, table
from workbench.tui.widgets.plot import Figure, drift, loss, target

NAN, INF = float("nan"), float("inf")


def falling(count: int = 12) -> Series:
    return Series("total", [9.1 * math.exp(-i / 5) for i in range(count)], 1)


def test_a_plot_is_read_as_text() -> None:
    assert draw([Series("p", [0.0, 1.0, 2.0, 3.0, 4.0])], 26, 6) == [
        "4 ┤                  ⣀⡠⠔⠒⠉",
        "  │            ⣀⡠⠤⠒⠊⠉",
        "2 ┤     ⣀⡠⠤⠔⠒⠊⠉",
        "  │⣀⠤⠔⠊⠉",
        "0 ┼┬──────────┬──────────┬",
        "   0          2          4",
    ]


def test_labels_are_round_and_the_axis_is_at_zero() -> None:
    lines = draw([falling()], 60, 14, x_max=20, x_name="step")
    assert [line.split("┤")[0].strip() for line in lines if "┤" in line] == ["10", "8", "6", "4", "2"]
    assert lines[-2].startswith(" 0 ┼")
    assert lines[-1].split() == ["5", "10", "15", "step", "20"]


def test_a_plot_that_grows_keeps_its_scale() -> None:
    early, late = draw([falling(3)], 60, 10, x_max=20), draw([falling(19)], 60, 10, x_max=20)
    assert early[-2:] == late[-2:]


def test_a_log_scale_spreads_small_values_and_leaves_out_what_has_no_logarithm() -> None:
    lines = draw([Series("p", [0.0, -1.0, 1e-5, 1e-3, 0.1], 0)], 40, 12, log=True)
    labels = [line.replace("┼", "┤").split("┤")[0].strip() for line in lines if "┤" in line or "┼" in line]
    assert {"0.1", "0.001", "1e-05"} <= set(labels)


@pytest.mark.parametrize(
    ("values", "height", "labels"),
    [
        ([9.1, 1.2, 0.05], 9, ["10", "1", "0.1", "0.01"]),
        ([9.1, 1.2, 0.05], 16, ["10", "5", "2", "1", "0.5", "0.2", "0.1", "0.05"]),
        ([1e-9, 0.9], 9, ["1", "0.001", "1e-06", "1e-09"]),
        ([17.61, 17.63], 9, ["17.63", "17.62", "17.61"]),
        ([8e-4, 9.0], 7, ["100", "0.1", "0.0001"]),
        ([12.0, 20.0], 9, ["20", "15", "10"]),
        ([1e-28, 1e-20], 8, ["1e-19", "1e-22", "1e-25", "1e-28"]),
    ],
)
def test_a_log_scale_is_labelled_with_round_numbers(values: list[float], height: int, labels: list[str]) -> None:
    lines = draw([Series("loss", values)], 40, height, log=True)
    assert [line.split()[0].rstrip("┼┬─") for line in lines if "┤" in line or "┼" in line] == labels


def test_a_log_scale_without_a_positive_value_says_which_key_helps() -> None:
    assert "press l" in draw([Series("p", [0.0, -2.0])], 60, 8, log=True)[0]


def test_curves_are_told_apart_without_colour() -> None:
    solid, dots = (draw([Series("a", [1.0] * 40, 0, mark)], 60, 8) for mark in ("solid", "dots"))
    assert sum(_dots(line) for line in solid) > 2 * sum(_dots(line) for line in dots)
    series = [Series("total", [1.0]), Series("nll", [1.0], 0, "dots"), Series("kl", [1.0], 0, "dashes")]
    assert legend(series, 40) == "── total  ·· nll  -- kl"
    assert legend(series, 20) == "── total  ·· nll"


def _dots(line: str) -> int:
    return sum((ord(c) - 0x2800).bit_count() for c in line if 0x2800 <= ord(c) < 0x2900)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None],
        [NAN],
        [INF, -INF],
        [3.0],
        [0.0],
        [2.0, 2.0, 2.0],
        [-1.0, -5.0],
        [NAN, 1e-300, None, 3e300],
        [1e308, -1e308],
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_no_number_breaks_a_plot(values: list[float | None], log: bool) -> None:
    for width, height in ((0, 0), (5, 2), (12, 4), (60, 12)):
        lines = draw([Series("x", values)], width, height, log=log)
        assert len(lines) <= max(height, 0)
        assert all(len(line) <= width for line in lines)


@given(
    st.lists(st.one_of(st.none(), st.floats()), max_size=30),
    st.integers(0, 90),
    st.integers(0, 30),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 1000)),
)
def test_a_plot_always_fits(values: list[float | None], width: int, height: int, log: bool, x_max: int | None) -> None:
    lines = draw([Series("x", values, 1)], width, height, log=log, x_max=x_max, x_name="step")
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_one_point_is_one_dot() -> None:
    assert sum(_dots(line) for line in draw([Series("x", [3.0])], 40, 8)) == 1


def test_a_gap_is_not_bridged() -> None:
    whole, gap = draw([Series("x", [1.0] * 9)], 40, 8), draw([Series("x", [1.0] * 4 + [None] + [1.0] * 4)], 40, 8)
    assert sum(map(_dots, gap)) < sum(map(_dots, whole))


def test_the_table_has_the_newest_values_last_and_counts_what_does_not_fit() -> None:
    series = [Series(name, [0.5, 0.25, 0.125], 1) for name in ("total", "nll", "kl", "wd")]
    assert table(series[:2], 40, 3, x_name="step") == [
        " step     total       nll",
        "    2      0.25      0.25",
        "    3     0.125     0.125",
    ]
    assert table(series, 30, 9, x_name="step")[0].endswith("+3 more")
    assert table([Series("a", [NAN, None])], 30, 5)[1:] == ["    0         -", "    1         -"]
    assert table([], 30, 5) == []


def test_the_loss_figure_holds_the_steps_of_the_run() -> None:
    state = told(run_events(12))
    figure = loss(state)
    assert [s.name for s in figure.series] == ["total", "nll", "kl", "wd"]
    assert state.run is not None
    assert list(figure.series[0].values) == [s.loss for s in state.run.steps]
    assert (figure.series[0].start, figure.x_max) == (1, 20)


def test_the_target_figure_has_a_curve_for_each_context() -> None:
    figure = target(told(run_events(12)))
    assert [s.name for s in figure.series] == ["mean", *(f"context {i}" for i in range(6))]
    assert figure.y_max == 1.0


def test_drift_starts_at_the_base_and_includes_undone_edits() -> None:
    (series,) = drift(ready()).series
    assert list(series.values) == pytest.approx([0.0, 0.012, 0.024, 0.036, 0.048])


def test_before_the_first_edit_the_next_key_is_said() -> None:
    assert "ctrl+r" in loss(State()).empty
    assert "No edits yet" in drift(ready(applied=0, undone=0)).empty
    assert Figure().empty


def test_the_step_axis_grows_with_the_curve_up_to_the_last_step() -> None:
    started = ev.EditStarted(request={}, recipe={}, module="m")
    ends = [
        loss(State(run=Run(started, steps=tuple(step(i, 40) for i in range(1, last + 1))))).x_max
        for last in (1, 5, 6, 19, 21, 40)
    ]
    assert ends == [5, 5, 10, 20, 40, 40]
