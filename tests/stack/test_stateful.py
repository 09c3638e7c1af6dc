"""Whatever a person does to a stack, and whenever the power is cut, it is what a plain list and a number say it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.stack.making import Disk, PowerCutError, base, edit, factors
from workbench.stack import files
from workbench.stack.store import Stack

NOWHERE = 1_000


class StackMachine(RuleBasedStateMachine):
    """Drives a stack beside its model: `line` of ids, `position`, all ids ever saved with their parents, notes."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.stack = Stack.open(self.folder, write=True, base=base())
        self.line: list[str] = []
        self.position = 0
        self.parents: dict[str, str | None] = {}
        self.notes: dict[str, str] = {}
        self.off: set[str] = set()
        self.made = 0

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()
            shutil.rmtree(self.folder)

    @rule(crash=st.integers(0, 12) | st.just(NOWHERE))
    def append(self, crash: int) -> None:
        self.made += 1
        before = set(self.stack._found.edits)
        self.changed(lambda: self.stack.append(edit(f"subject {self.made}"), factors(self.made)), crash)
        saved = set(self.stack._found.edits) - before
        assert len(saved) <= 1
        assert saved or crash != NOWHERE
        for ident in saved:
            self.parents[ident] = self.line[self.position - 1] if self.position else None
            self.line = [*self.line[: self.position], ident]
            self.position += 1

    @precondition(lambda self: self.position > 0)
    @rule(data=st.data(), crash=st.integers(0, 7) | st.just(NOWHERE))
    def undo(self, data: st.DataObject, crash: int) -> None:
        count = data.draw(st.integers(1, self.position))
        self.moved(lambda: self.stack.undo(count), self.position - count, crash)

    @precondition(lambda self: self.position < len(self.line))
    @rule(data=st.data(), crash=st.integers(0, 7) | st.just(NOWHERE))
    def redo(self, data: st.DataObject, crash: int) -> None:
        count = data.draw(st.integers(1, len(self.line) - self.position))
        self.moved(lambda: self.stack.redo(count), self.position + count, crash)

    @precondition(lambda self: self.parents)
    @rule(data=st.data())
    def travel(self, data: st.DataObject) -> None:
        ident = data.draw(st.sampled_from(sorted(self.parents)))
        self.stack.travel(ident[:16])
        ancestry = [ident]
        while (parent := self.parents[ancestry[0]]) is not None:
            ancestry.insert(0, parent)
        if self.line[: len(ancestry)] != ancestry:
            self.line = ancestry
        self.position = len(ancestry)

    @precondition(lambda self: self.parents)
    @rule(data=st.data(), text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    def note(self, data: st.DataObject, text: str) -> None:
        ident = data.draw(st.sampled_from(sorted(self.parents)))
        self.stack.note(ident, text)
        self.notes[ident] = text

    @precondition(lambda self: self.parents)
    @rule(data=st.data(), off=st.booleans())
    def toggle(self, data: st.DataObject, off: bool) -> None:
        ident = data.draw(st.sampled_from(sorted(self.parents)))
        self.stack.toggle(ident, off=off)
        (self.off.add if off else self.off.discard)(ident)

    @rule()
    def reopen(self) -> None:
        self.stack.close()
        self.stack = Stack.open(self.folder, write=True, base=base())

    @precondition(lambda self: self.line)
    @rule()
    def lose_the_index(self) -> None:
        self.stack.close()
        (self.folder / "stack.json").unlink()
        self.stack = Stack.open(self.folder, write=True, base=base())

    def moved(self, change: Callable[[], object], position: int, crash: int) -> None:
        self.changed(change, crash)
        assert self.stack.position in (self.position, position)
        if crash == NOWHERE:
            assert self.stack.position == position
        self.position = self.stack.position

    def changed(self, change: Callable[[], object], crash: int) -> None:
        """Makes a change; with the power cut at call `crash` of it, and then opens the stack again."""
        try:
            with mock.patch.object(files, "os", Disk(crash)):
                change()
        except PowerCutError:
            self.reopen()

    @invariant()
    def the_stack_is_what_the_model_says(self) -> None:
        if not hasattr(self, "stack"):
            return
        assert [one.id for one in self.stack.line] == self.line
        assert self.stack.position == self.position
        assert {one.id for one in self.stack.others} == self.parents.keys() - set(self.line)
        assert {one.id: one.parent for one in (*self.stack.line, *self.stack.others)} == self.parents
        assert [one.id for one in self.stack.active] == [i for i in self.line[: self.position] if i not in self.off]
        assert all(self.stack.find(ident).note == text for ident, text in self.notes.items())
        assert self.stack.broken == {}

    @invariant()
    def a_reader_sees_the_same(self) -> None:
        if hasattr(self, "stack"):
            reader = Stack.open(self.folder)
            assert (reader.line, reader.position, reader.off) == (self.stack.line, self.position, self.stack.off)


TestStack = StackMachine.TestCase
TestStack.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
