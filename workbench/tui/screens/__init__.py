"""One file and one style sheet for each place and each question. What is not shown at once is imported when it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.lazily import lazily

if TYPE_CHECKING:
    from workbench.tui.screens.compare import CompareScreen as CompareScreen
    from workbench.tui.screens.confirm import ChoiceScreen as ChoiceScreen
    from workbench.tui.screens.confirm import ConfirmScreen as ConfirmScreen
    from workbench.tui.screens.confirm import QuitScreen as QuitScreen
    from workbench.tui.screens.edit import EditScreen as EditScreen
    from workbench.tui.screens.form import FormScreen as FormScreen
    from workbench.tui.screens.guard import GuardScreen as GuardScreen
    from workbench.tui.screens.guard_limits import GuardLimitsScreen as GuardLimitsScreen
    from workbench.tui.screens.help import HelpPanel as HelpPanel
    from workbench.tui.screens.history import HistoryScreen as HistoryScreen
    from workbench.tui.screens.import_file import ImportScreen as ImportScreen
    from workbench.tui.screens.jump import JumpScreen as JumpScreen
    from workbench.tui.screens.live import LiveScreen as LiveScreen
    from workbench.tui.screens.log import LogScreen as LogScreen
    from workbench.tui.screens.trace import TraceScreen as TraceScreen

HOMES = {
    "workbench.tui.screens.compare": ("CompareScreen",),
    "workbench.tui.screens.confirm": ("ChoiceScreen", "ConfirmScreen", "QuitScreen"),
    "workbench.tui.screens.edit": ("EditScreen",),
    "workbench.tui.screens.form": ("FormScreen",),
    "workbench.tui.screens.guard": ("GuardScreen",),
    "workbench.tui.screens.guard_limits": ("GuardLimitsScreen",),
    "workbench.tui.screens.help": ("HelpPanel",),
    "workbench.tui.screens.history": ("HistoryScreen",),
    "workbench.tui.screens.import_file": ("ImportScreen",),
    "workbench.tui.screens.jump": ("JumpScreen",),
    "workbench.tui.screens.live": ("LiveScreen",),
    "workbench.tui.screens.log": ("LogScreen",),
    "workbench.tui.screens.trace": ("TraceScreen",),
}

if not TYPE_CHECKING:  # else a name that is not there would be of any type
    __getattr__ = lazily(__name__, HOMES)
