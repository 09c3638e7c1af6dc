"""`workbench tune`: find the layer and the strengths that edit a model best, and write them down as a profile."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench import events as ev
from workbench.cli.apply import recipe_changes
from workbench.cli.interrupt import interruptible
from workbench.cli.layers import layers_of
from workbench.cli.lines import count
from workbench.cli.options import Common, model_options
from workbench.cli.output import Output
from workbench.cli.tune_table import HEADER, show_curve, trial_lines
from workbench.cli.where import named_model

if TYPE_CHECKING:
    from workbench.edits import EditRequest
    from workbench.models.profile_file import Profile

EPILOG = """\b
Examples:
  workbench tune openai-community/gpt2
  workbench tune ./my-model --layers 0-11 --count 20
  workbench tune ./my-model --facts facts.json --trials 12
  workbench tune ./my-model --set second_moment=false --out mine.json
  workbench tune ./my-model --show > mine.json

\b
Every trial edits each fact alone, asks its probes and puts the weights back:
no stack is touched. S is the harmonic mean of efficacy (ES), paraphrase (PS)
and neighbourhood score (NS). Coarse layers come first, then those between
the best ones, then lr, clamp_factor, weight_decay and steps at the best.
Trials are kept: a search that was stopped goes on where it was.

\b
Facts are those that the model itself answers right, out of FILE (any shape
that workbench apply reads, with true targets) or out of those that ship.
A profile is looked for in ~/.config/workbench/profiles, then in the model's
folder (editing_profile.json), then among those that ship. It is JSON: copy it,
change it. All that its "match" states must hold: model_type, layers,
hidden_size, intermediate_size, vocab_size, fingerprint (of the weights), and
name, a list of patterns such as "*gpt2-xl*".
"""


@click.command(short_help="Find the layer and strengths that edit a model best.", epilog=EPILOG)
@click.argument("name", metavar="[MODEL]", required=False)
@click.option(
    "--facts",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Facts to edit, as for apply. [default: those that ship]",
)
@click.option(
    "--count", "number", default=10, metavar="N", type=click.IntRange(2, 1000), help="Facts of a trial. [default: 10]"
)
@click.option("--layers", metavar="RANGES", help="Layers to look at, as in 0-5,8. [default: all]")
@click.option(
    "--trials", metavar="N", type=click.IntRange(1, 10_000), help="At most so many. [default: until it is through]"
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Where the search starts. May be repeated."
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="[default: in your folder of profiles]")
@click.option("--force", is_flag=True, help="Also write over a profile that was made or changed by hand.")
@click.option("--show", is_flag=True, help="Only print the profile in force, and say where it comes from.")
@model_options
def tune(name: str | None, common: Common, *, show: bool, **given: Any) -> int:
    """Search for the layer and hyper-parameters that edit MODEL best, and write them down as its profile.

    One line a trial on stdout, then S by layer, and the best. The best few are compared on other facts as well.
    """
    model = named_model(common, name)
    if show:
        return _show(model, common)
    search = _Search(model, common, given)
    with Output(common.json) as output:
        return search.run(output)


def _show(model: str, common: Common) -> int:
    """Prints the profile in force."""
    with Output(common.json) as output:
        output.loading(model)
        from workbench.models.profiles import described, profile_by_name, profile_text

        profile = profile_by_name(model, common.loading())
        output.tell(described(profile) + (f": {profile.path}" if profile.path else ""))
        if common.json:
            output.event(ev.Finding(topic="profile", verdict="fine", message=profile_text(profile)), "tune")
        for line in profile_text(profile).splitlines():
            output.line(line)
        return output.done(0)


@dataclass
class _Search:
    """One search as the command line asked for it."""

    model: str
    common: Common
    given: dict[str, Any]
    tried: list[ev.TrialResult] = field(default_factory=list)
    found: list[ev.Tuned] = field(default_factory=list)

    def run(self, output: Output) -> int:
        """Searches, shows what is found as it comes, and writes the profile."""
        changes, facts = _changes(self.given["settings"]), self._facts()
        layers = None if self.given["layers"] is None else layers_of(self.given["layers"])
        output.loading(self.model)
        from workbench.engine.tuned_profile import check_free, tuned_path, write_profile
        from workbench.engine.tuning import Wanted, tune
        from workbench.models.families import layer_count
        from workbench.models.load import load_model
        from workbench.models.profiles import profile_of

        loaded = output.follow(
            load_model(self.model, self.common.device, self.common.dtype, self.common.loading()), "load"
        )
        profile = profile_of(loaded, layer_count(loaded.model))
        path = self.given["out"] or tuned_path(loaded.name, loaded.fingerprint)
        if not self.given["force"]:
            check_free(path, loaded.fingerprint)
        output.tell(_where_from(profile))
        wanted = Wanted(facts, self.given["number"], layers, self.given["trials"], changes)
        for event in interruptible(lambda cancelled: tune(loaded, profile, wanted, cancelled)):
            self._take(output, event)
        self._end(output)
        write_profile(self.found[0].profile, path, force=self.given["force"])
        output.tell(f"Written: {path}")
        _say_what_is_in_force(output, profile, path, chosen=bool(self.given["out"]))
        if not self.found[0].profile["recipe"]["second_moment"] and changes.get("second_moment") is not False:
            output.tell(
                f"The profile says C = I. For a measured one: workbench stats {shlex.quote(self.model)} "
                f"--layer {self.found[0].layer}, and then this search with --set second_moment=true."
            )
        return output.done(0, str(path))

    def _facts(self) -> list[EditRequest] | None:
        """The requests of --facts; None without. Raises RequestError."""
        from workbench.requests import read_requests

        return read_requests(self.given["facts"]) if self.given["facts"] else None

    def _take(self, output: Output, event: ev.Event) -> None:
        output.event(event, "tune")
        match event:
            case ev.TuningStarted():
                output.tell(
                    f"{event.facts} of {event.source}, {count(event.trials, 'trial')} at most: "
                    f"{event.facts * event.trials} edits; then the best few on {count(event.checks, 'other fact')}."
                )
                output.tell(f"Trials are kept in {event.record}")
                output.line(HEADER)
            case ev.TrialResult():
                self.tried.append(event)
                for line in trial_lines(event):
                    output.line(line)
            case ev.Tuned():
                self.found.append(event)
            case _:
                pass

    def _end(self, output: Output) -> None:
        """S by layer, and the best."""
        found = self.found[0]
        show_curve(output, [trial for trial in self.tried if trial.stage != "check"], found.layer)
        checked = (
            "" if found.s_check is None else f"; on other facts {found.s_check:.3f} (was {found.s_check_start:.3f})"
        )
        output.line(f"best: layer {found.layer}, S {found.s:.3f} (was {found.s_start:.3f}){checked}")
        if not found.changed:
            output.tell("Nothing that was tried is better than what was in force, on all facts together.")
        kept = sum(trial.kept for trial in self.tried)
        output.tell(f"{count(len(self.tried), 'trial')}, {kept} of them made in an earlier run.")
        if not found.complete:
            output.tell("The budget was used up before the search was through; the same command with more goes on.")


def _where_from(profile: Profile) -> str:
    """What the search starts from, in a sentence."""
    from workbench.models.profiles import described

    if profile.known:
        return f"The search starts from {described(profile)}."
    return f"There is no profile for this model: the search starts from a guess, layer {profile.recipe.layer}."


def _say_what_is_in_force(output: Output, before: Profile, written: Path, *, chosen: bool) -> None:
    """What a person must know to use what was written."""
    if before.origin == "user" and before.path and before.path.resolve() != written.resolve():
        output.tell(f"Your folder of profiles has another that fits: {before.path}. The first by name is in force.")
    elif chosen:
        output.tell(
            "It is in force once it lies in your folder of profiles, or in the model's as editing_profile.json."
        )


def _changes(settings: Sequence[str]) -> dict[str, Any]:
    """What --set changes of the recipe that the search starts from. Raises UsageError."""
    return recipe_changes({"settings": settings, "method": None, "layer": None, "seed": None})
