"""`workbench diff`: two states of one stack, or of two stacks on one base, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import events as ev
from workbench.cli.history import opened
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import SHORT_ID, count, rewrite
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack
from workbench.errors import BaseMismatch, UsageError

if TYPE_CHECKING:
    from workbench.engine.engine import Engine
    from workbench.engine.states import State
    from workbench.stack.store import Stack

EPILOG = """\b
Examples:
  workbench diff 3 now
  workbench diff edits/mine main other-branch
  workbench diff edits/mine edits/theirs
  workbench diff edits/mine@3 edits/theirs@reviewed --no-model
  workbench diff 3 7 --probe "The capital of France is => Paris"

\b
A and B: a position, an id or its beginning, a branch, a tag, "base", "now";
or the folder of a stack, where it stands or, after an @, at one of these.
Beside a folder, a state alone is one of that stack.
KL is KL(A || B) of the next token's distribution, in nats.
"""
MOST_PROBES = 200
AT = "@"


@click.command(short_help="Compare two states.", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[STACK] A B")
@click.option(
    "--probe", "asked", multiple=True, metavar="PROMPT", help="Ask this; as PROMPT => ANSWER, with p(ANSWER)."
)
@click.option("--no-model", is_flag=True, help="Only list the edits that differ: fast, without the model.")
@engine_options
def diff(words: tuple[str, ...], asked: tuple[str, ...], no_model: bool, common: Common) -> int:
    """List the edits in A and not in B and the other way round, how far the weights lie apart, and what both answer.

    Without --probe the probes of the edits that differ are asked. Nothing is changed.
    """
    if no_model and asked:
        raise UsageError("Without the model nothing can be asked.", "Leave out --probe or --no-model.")
    first, second = _named(words, common)
    with Output(common.json) as output:
        if no_model:
            with _states(first, second, output, None) as (a, b):
                _list(output, a, b)
            return output.done(0)
        with (
            engine_session(common, first[0], output, write=False) as engine,
            _states(first, second, output, engine) as (a, b),
        ):
            _list(output, a, b)
            _compare(output, engine, a, b, asked)
        return output.done(0)


def _named(words: Sequence[str], common: Common) -> tuple[tuple[Path, str], tuple[Path, str]]:
    """The folder and the state within it that A and B mean. Raises UsageError."""
    if len(words) not in (2, 3):
        raise UsageError(f"Too {'few' if len(words) < 2 else 'many'} arguments.", "Usage: workbench diff [STACK] A B")
    if len(words) == 3:
        folder = existing_stack(common, words[0])
        return (folder, words[1]), (folder, words[2])
    places = [_place(word) for word in words]
    other = next((place[0] for place in places if place), None) or existing_stack(common)
    first, second = (place or (other, word) for place, word in zip(places, words, strict=True))
    return first, second


def _place(word: str) -> tuple[Path, str] | None:
    """The folder and the state that FOLDER or FOLDER@STATE means; None: `word` is a state alone."""
    if Path(word).is_dir():
        return Path(word), "now"
    folder, _, state = word.rpartition(AT)
    return (Path(folder), state) if folder and state and Path(folder).is_dir() else None


@contextmanager
def _states(
    first: tuple[Path, str], second: tuple[Path, str], output: Output, engine: Engine | None
) -> Iterator[tuple[State, State]]:
    """Both states; of a folder that `engine` has open, through it. Raises BaseMismatch for two bases."""
    from workbench.engine.states import state_of

    with ExitStack() as folders:
        open_: dict[Path, Stack] = {first[0].resolve(): engine.stack} if engine else {}
        for folder, _ in (first, second):
            if folder.resolve() not in open_:
                open_[folder.resolve()] = folders.enter_context(opened(folder, output))
        in_a, in_b = (open_[folder.resolve()] for folder, _ in (first, second))
        _check_bases(in_a, in_b)
        yield state_of(in_a, first[1]), state_of(in_b, second[1])


def _check_bases(a: Stack, b: Stack) -> None:
    if a.base and b.base and a.base.fingerprint != b.base.fingerprint:
        raise BaseMismatch(
            f"The stacks belong to two bases, {a.base.name} ({a.base.fingerprint[:12]}) and {b.base.name} "
            f"({b.base.fingerprint[:12]}).",
            "Only stacks on one base can be compared.",
        )


def _list(output: Output, a: State, b: State) -> None:
    """The two states, and the edits that differ."""
    from workbench.engine.states import differences

    for side, state in (("A", a), ("B", b)):
        output.tell(f"{side}  {state.name}  {count(len(state.active), 'active edit')} of {state.stack.folder}")
    found = differences(a, b)
    for event in found:
        output.event(event, "diff")
        output.line(edit_line(event))
    if not found:
        output.tell("No edit is in one and not in the other.")


def _compare(output: Output, engine: Engine, a: State, b: State, asked: Sequence[str]) -> None:
    """The weights and the answers. Raises Interrupted."""
    from workbench.engine.diffing import asked_for, compare_states, probes_of_edits

    watched = [asked_for(text) for text in asked]
    if not watched:
        in_a, in_b = ({edit.id for edit in state.active} for state in (a, b))
        edits = [*(e for e in a.active if e.id not in in_b), *(e for e in b.active if e.id not in in_a)]
        watched, left_out = probes_of_edits(engine.core, edits, MOST_PROBES)
        if left_out:
            output.tell(f"{left_out} further probes of these edits are not asked; --probe asks what you choose.")
    for event in interruptible(lambda stop: compare_states(engine.core, a, b, watched, cancelled=stop)):
        output.event(event, "diff")
        if isinstance(event, ev.WeightsDiffer):
            output.line(weights_line(event))
        if isinstance(event, ev.AnswersDiffer):
            output.line(answers_line(event))


def edit_line(found: ev.EditDiffers) -> str:
    """An edit that is not the same in both: how, where, which."""
    places = [
        f"{number} {ident[:SHORT_ID]}"
        for number, ident in ((found.number_a, found.edit_a), (found.number_b, found.edit_b))
        if number is not None
    ]
    edit = rewrite(found.prompt, found.subject, found.target_new, found.requests)
    return "  ".join(part for part in (f"{found.how:<9}", " / ".join(places), edit, found.detail) if part)


def weights_line(found: ev.WeightsDiffer) -> str:
    """How far one module's weights lie apart."""
    apart = "bit-identical" if found.sha_a == found.sha_b else f"|W_A - W_B| / |W_0| {found.distance:.4g}"
    return f"weight     {found.module}  {apart}"


def answers_line(found: ev.AnswersDiffer) -> str:
    """What both states answer to one probe."""
    said = f"A {_answer(found.answer_a, found.p_answer_a)}  B {_answer(found.answer_b, found.p_answer_b)}"
    shares = [
        f"p({answer.strip() or repr(answer)}) {p_a:.3f} / {p_b:.3f}"
        for answer, p_a, p_b in (
            (found.expected, found.p_expected_a, found.p_expected_b),
            (found.rival, found.p_rival_a, found.p_rival_b),
        )
        if p_a is not None and p_b is not None
    ]
    mark = "=" if found.answer_a == found.answer_b else "≠"
    return "  ".join((mark, f"{found.kind:<13}", found.prompt, said, *shares, f"KL {found.kl:.3g}"))


def _answer(answer: str, p: float) -> str:
    return f"{answer.strip() or repr(answer)} {p:.3f}"
