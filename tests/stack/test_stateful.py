"""Whatever a person does to a stack, and whenever the power is cut, it is what a few plain lists say it is.

The weights of every state are computed a second time in numpy, one outer product after the other, and compared bit for
bit. `WORKBENCH_SEQUENCES=2000 pytest tests/stack/test_stateful.py` drives as many sequences.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.stack.making import D_IN, D_OUT, MODULE, Disk, PowerCutError, base, edit, factors
from workbench.stack import files
from workbench.stack.materialise import Materialiser
from workbench.stack.record import Edit, Factors
from workbench.stack.store import Stack

NOWHERE = 1_000
CRASH = st.integers(0, 14) | st.just(NOWHERE) | st.just(NOWHERE)
PRISTINE = np.random.default_rng(7).standard_normal((D_IN, D_OUT)).astype(np.float32)
Factored = tuple[Factors, ...]


@dataclass(frozen=True)
class Model:
    """What a stack is, in plain lists."""

    lines: dict[str, list[str]] = field(default_factory=lambda: {"main": []})
    branch: str = "main"
    position: int = 0
    off: frozenset[str] = frozenset()
    notes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> list[str]:
        return self.lines[self.branch]

    @property
    def active(self) -> list[str]:
        return [ident for ident in self.line[: self.position] if ident not in self.off]

    def at(self, position: int) -> Model:
        return dataclasses.replace(self, position=position)

    def over(self, name: str, line: Sequence[str], position: int) -> Model:
        """On branch `name`, which is `line`."""
        return dataclasses.replace(self, branch=name, lines={**self.lines, name: list(line)}, position=position)


def observed(stack: Stack) -> Model:
    return Model(
        lines={one.name: [] if one.tip is None else [e.id for e in stack.line_at(one.tip)] for one in stack.branches},
        branch=stack.branch,
        position=stack.position,
        off=stack.off,
        notes={i: stack.note_of(stack.find(i)) for i in stack._found.edits if stack.note_of(stack.find(i))},
        tags=stack.tags,
    )


class StackMachine(RuleBasedStateMachine):
    """Drives a stack beside its model."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.stack = Stack.open(self.folder, write=True, base=base())
        self.model = Model()
        self.parents: dict[str, str | None] = {}
        """Every edit that was ever on the disk, in the order it came there."""
        self.factors: dict[str, Factored] = {}
        self.made = 0
        self.materialiser = Materialiser()
        self.materialiser.add_module(MODULE, torch.from_numpy(PRISTINE), "in,out")

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()
            shutil.rmtree(self.folder)

    @rule(crash=CRASH)
    def append(self, crash: int) -> None:
        self.made += 1
        update, model = factors(self.made), self.model
        fresh = self.changing(lambda: self.stack.append(edit(f"subject {self.made}"), update), crash)
        assert len(fresh) <= 1
        assert fresh or crash != NOWHERE
        for ident in fresh:
            self.factors[ident] = update
            leaves = model.position < len(model.line)
            name = self.new_branch() if leaves else model.branch
            self.model = model.over(name, [*model.line[: model.position], ident], model.position + 1)

    @precondition(lambda self: self.model.position > 0)
    @rule(data=st.data(), crash=CRASH)
    def undo(self, data: st.DataObject, crash: int) -> None:
        count = data.draw(st.integers(1, self.model.position))
        self.changed(lambda: self.stack.undo(count), self.model.at(self.model.position - count), crash)

    @precondition(lambda self: self.model.position < len(self.model.line))
    @rule(data=st.data(), crash=CRASH)
    def redo(self, data: st.DataObject, crash: int) -> None:
        count = data.draw(st.integers(1, len(self.model.line) - self.model.position))
        self.changed(lambda: self.stack.redo(count), self.model.at(self.model.position + count), crash)

    @precondition(lambda self: self.parents)
    @rule(data=st.data(), crash=CRASH)
    def travel(self, data: st.DataObject, crash: int) -> None:
        ident = data.draw(st.sampled_from([*self.parents]))
        homes = [name for name, line in sorted(self.model.lines.items()) if ident in line]
        if ident in self.model.line:
            after = self.model.at(self.model.line.index(ident) + 1)
        elif homes:
            line = self.model.lines[homes[0]]
            after = self.model.over(homes[0], line, line.index(ident) + 1)
        else:
            ancestry = self.ancestry(ident)
            after = self.model.over(NEW, ancestry, len(ancestry))
        self.changed(lambda: self.stack.travel(ident), after, crash)

    @rule(data=st.data(), crash=CRASH)
    def switch(self, data: st.DataObject, crash: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.lines)))
        line = self.model.lines[name]
        self.changed(lambda: self.stack.switch(name), self.model.over(name, line, len(line)), crash)

    @rule(crash=CRASH)
    def start_a_branch(self, crash: int) -> None:
        self.made += 1
        name, here = f"line/{self.made}", self.model.line[: self.model.position]
        self.changed(lambda: self.stack.start_branch(name), self.model.over(name, here, len(here)), crash)

    @precondition(lambda self: self.parents)
    @rule(data=st.data(), crash=CRASH)
    def start_a_branch_somewhere(self, data: st.DataObject, crash: int) -> None:
        self.made += 1
        name, at = f"line/{self.made}", data.draw(st.sampled_from([*self.parents]))
        line = self.ancestry(at)
        self.changed(lambda: self.stack.start_branch(name, at), self.model.over(name, line, len(line)), crash)

    @precondition(lambda self: len(self.model.lines) > 1)
    @rule(data=st.data(), crash=CRASH)
    def delete_a_branch(self, data: st.DataObject, crash: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.lines.keys() - {self.model.branch})))
        rest = {other: line for other, line in self.model.lines.items() if other != name}
        self.changed(lambda: self.stack.delete_branch(name), dataclasses.replace(self.model, lines=rest), crash)

    @precondition(lambda self: self.parents)
    @rule(data=st.data(), crash=CRASH)
    def tag(self, data: st.DataObject, crash: int) -> None:
        self.made += 1
        name, ident = f"tag-{self.made}", data.draw(st.sampled_from([*self.parents]))
        after = dataclasses.replace(self.model, tags={**self.model.tags, name: ident})
        self.changed(lambda: self.stack.tag(name, ident), after, crash)

    @precondition(lambda self: self.model.tags)
    @rule(data=st.data(), crash=CRASH)
    def untag(self, data: st.DataObject, crash: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.tags)))
        tags = {other: ident for other, ident in self.model.tags.items() if other != name}
        self.changed(lambda: self.stack.untag(name), dataclasses.replace(self.model, tags=tags), crash)

    @precondition(lambda self: self.parents)
    @rule(data=st.data(), text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), crash=CRASH)
    def note(self, data: st.DataObject, text: str, crash: int) -> None:
        ident = data.draw(st.sampled_from([*self.parents]))
        after = dataclasses.replace(self.model, notes={**self.model.notes, ident: text})
        self.changed(lambda: self.stack.note(ident, text), after, crash)

    @precondition(lambda self: self.parents)
    @rule(data=st.data(), off=st.booleans(), crash=CRASH)
    def toggle(self, data: st.DataObject, off: bool, crash: int) -> None:
        ident = data.draw(st.sampled_from([*self.parents]))
        rest = self.model.off - {ident}
        after = dataclasses.replace(self.model, off=rest | {ident} if off else rest)
        self.changed(lambda: self.stack.toggle(ident, off=off), after, crash)

    @precondition(lambda self: self.model.line)
    @rule(data=st.data(), crash=CRASH)
    def reorder_or_remove(self, data: st.DataObject, crash: int) -> None:
        line = self.model.line
        order = data.draw(st.permutations(line))[: data.draw(st.integers(0, len(line)))]
        keep = next((n for n, pair in enumerate(zip(order, line, strict=False)) if pair[0] != pair[1]), len(order))
        self.graft(keep, order[keep:], crash)

    @rule(data=st.data(), count=st.integers(1, 3), crash=CRASH)
    def import_strangers(self, data: st.DataObject, count: int, crash: int) -> None:
        strangers = []
        for _ in range(count):
            self.made += 1
            update = factors(self.made, rank=data.draw(st.integers(1, 2)))
            strangers.append((edit(f"subject {self.made}"), update))
        self.grafted(self.model.position, strangers, crash)

    @rule()
    def reopen(self) -> None:
        self.stack.close()
        self.stack = Stack.open(self.folder, write=True, base=base())

    @precondition(lambda self: self.parents)
    @rule()
    def lose_the_index(self) -> None:
        self.stack.close()
        (self.folder / "stack.json").unlink()
        self.stack = Stack.open(self.folder, write=True, base=base())

    def graft(self, keep: int, idents: Sequence[str], crash: int) -> None:
        copies = [(self.stack.find(ident), self.factors[ident]) for ident in idents]
        self.grafted(keep, copies, crash)

    def grafted(self, keep: int, additions: Sequence[tuple[Edit, Factored]], crash: int) -> None:
        """Grafts, and finds the copies by the parents that they got; a crash leaves all of them or none."""
        model = self.model
        fresh = self.changing(lambda: self.stack.graft(keep, additions, "reorder"), crash)
        for ident in fresh:
            depth = len(self.ancestry(ident)) - 1 - keep
            self.factors[ident] = additions[depth][1]
        name = self.stack.branch
        line = [one.id for one in self.stack.line]
        pairs = zip(line[keep:], additions, strict=False)
        copied = {new: model.notes[old.id] for new, (old, _) in pairs if old.id in model.notes}
        done = dataclasses.replace(
            model.over(name, line, len(line)), off=self.stack.off, notes={**copied, **model.notes}
        )
        happened = observed(self.stack) == done and (line, model.position) != (model.line, len(model.line))
        if crash == NOWHERE or happened:
            assert line[:keep] == model.line[:keep]
            assert len(line) == keep + len(additions)
            assert (name == model.branch) == (keep == len(model.line))
            for ident, (source, update) in zip(line[keep:], additions, strict=True):
                assert np.array_equal(self.factors[ident][0].a, update[0].a)
                assert (ident in self.stack.off) == (source.id in model.off or ident in model.off)
            self.model = done

    def changed(self, change: Callable[[], object], after: Model, crash: int) -> None:
        """Makes a change that saves no edit; after a crash the stack is as before or as after it."""
        before = self.model
        assert self.changing(change, crash) == []
        if NEW in after.lines:
            lines = {self.stack.branch if name == NEW else name: line for name, line in after.lines.items()}
            after = dataclasses.replace(after, lines=lines, branch=self.stack.branch)
        if crash == NOWHERE:
            assert observed(self.stack) == after
        self.model = after if observed(self.stack) == after else before

    def changing(self, change: Callable[[], object], crash: int) -> list[str]:
        """Makes a change, with the power cut at call `crash`; returns the edits that came to the disk."""
        try:
            with mock.patch.object(files, "os", Disk(crash)):
                change()
        except PowerCutError:
            self.reopen()
        found = self.stack._found.edits
        fresh = [ident for ident in found if ident not in self.parents]
        fresh.sort(key=lambda ident: found[ident].number)
        self.parents |= {ident: found[ident].parent for ident in fresh}
        return fresh

    def new_branch(self) -> str:
        assert self.stack.branch not in self.model.lines
        return self.stack.branch

    def ancestry(self, ident: str) -> list[str]:
        line = [ident]
        while (parent := self.parents[line[0]]) is not None:
            line.insert(0, parent)
        return line

    @invariant()
    def the_stack_is_what_the_model_says(self) -> None:
        if hasattr(self, "stack"):
            assert observed(self.stack) == self.model
            assert {one.id: one.parent for one in self.stack._found.edits.values()} == self.parents
            assert {one.id for one in self.stack.others} == self.parents.keys() - set(self.model.line)
            assert [one.id for one in self.stack.active] == self.model.active
            assert self.stack.broken == {}
            assert all(checked.ok for checked in self.stack.verify())

    @invariant()
    def the_weights_are_those_of_the_sum(self) -> None:
        if hasattr(self, "stack"):
            applied = [one for active in self.stack.active for one in self.stack.factors(active)]
            total = PRISTINE.astype(np.float64)
            for ident in self.model.active:
                for one in self.factors[ident]:
                    for rank in range(one.a.shape[0]):
                        total += np.outer(one.a[rank].astype(np.float64), one.b[:, rank].astype(np.float64))
            weight = self.materialiser.weight(MODULE, applied)
            assert weight.numpy().tobytes() == total.astype(np.float32).tobytes()

    @invariant()
    def a_reader_sees_the_same(self) -> None:
        if hasattr(self, "stack"):
            assert observed(Stack.open(self.folder)) == self.model


NEW = "a new branch"

TestStack = StackMachine.TestCase
TestStack.settings = settings(
    max_examples=int(os.environ.get("WORKBENCH_SEQUENCES", "25")),
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize="WORKBENCH_SEQUENCES" not in os.environ,
)
