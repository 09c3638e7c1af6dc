"""What the model says now to the prompt that is being typed: asked when typing pauses and the engine is idle.

It is asked as the edit would be made: of a draft in a chat, inside the model's chat template.
"""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget

from workbench import events as ev
from workbench.edits import SLOT
from workbench.text import shortened, visible
from workbench.tui.bench import bench
from workbench.tui.draft import Draft
from workbench.tui.runner import newest_applied
from workbench.tui.state import State
from workbench.tui.widgets.text import fit

PAUSE = 0.3
"""Seconds without typing before the model is asked."""
TOP = 5
"""Answers asked for."""
GO_ON = 6
"""Tokens asked for of how the model goes on."""
WIDE = 84
"""Cells in which a second token has room behind how the model goes on."""
LEAST = 12
"""Cells that the prompt and how the model goes on have at least."""
NO_TEMPLATE = "the model has no chat template"


class Question(NamedTuple):
    """What is asked: an answer holds for one state of the weights."""

    prompt: str
    chat: bool
    weights: tuple[str, float]
    """Id of the newest applied edit, and the drift: an older edit may be left out."""
    target: str
    """Its tokens are counted."""


class AnswerLine(Widget):
    """One line: the prompt and the likeliest next tokens."""

    DEFAULT_CSS = "AnswerLine { height: 1; color: $text-muted; }"

    class Changed(Message):
        """Another answer is known, or none is any more."""

    def __init__(self, label: str = "Now", *, quote: bool = True) -> None:
        super().__init__()
        self._label, self._quote = label, quote
        self.draft = Draft()
        """What is typed."""
        self._state = State()
        self._asked: Question | None = None
        self._job = ""
        self._model: ev.ModelReady | None = None
        self._timer: Timer | None = None
        self.answer: ev.Answered | None = None
        """What the model says to the present draft, if that is known."""

    def ask(self, draft: Draft) -> None:
        """`draft` is what is typed now."""
        self.draft = draft
        self._look()
        self._wait()

    def show(self, state: State) -> None:
        """Takes in an answer that has come, and asks again when the weights have changed."""
        self._state = state
        if state.model is not self._model:
            self._model, self._asked = state.model, None
        self._look()
        if state.engine == "idle" and self._timer is None and self._question() != self._asked:
            self._wait()

    def _question(self) -> Question | None:
        subject, prompt = self.draft.subject.strip(), self.draft.slotted.strip()
        if not subject or prompt.count(SLOT) != 1:
            return None
        stack, tip = self._state.stack, newest_applied(self._state)
        weights = (tip.id if tip else "", stack.drift if stack else 0.0)
        return Question(prompt.replace(SLOT, subject), self.draft.chat, weights, self.draft.target_new.strip())

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(PAUSE, self._send)

    def _send(self) -> None:
        self._timer = None
        question = self._question()
        if question is None or question == self._asked or self._state.engine != "idle" or self._no_template:
            return
        more = {"target": question.target} if question.target else {}
        job = bench(self).send(
            "answer", prompt=question.prompt, states=["stack"], k=TOP, chat=question.chat, go_on=GO_ON, **more
        )
        if job:
            self._asked, self._job = question, job

    def _look(self) -> None:
        """An answer holds while prompt and weights are those it was asked for."""
        question, asked, answer = self._question(), self._asked, None
        if question and asked and question[:3] == asked[:3]:
            answer = next((a for a in reversed(self._state.answers) if a.job == self._job), None)
            if answer is None and self.answer is not None and self.answer.job == self._job:
                self._asked = None
        if answer != self.answer:
            self.answer = answer
            self.post_message(self.Changed())
        self.refresh()

    @property
    def _no_template(self) -> bool:
        """The draft is in a chat, and the model knows none."""
        return self.draft.chat and self._state.model is not None and not self._state.model.chat

    @property
    def target_tokens(self) -> int | None:
        """How many tokens the target has, if that is known of the present one."""
        same = self._asked is not None and self._asked.target == self.draft.target_new.strip()
        return self.answer.target_tokens if self.answer and same else None

    def render(self) -> Text:
        """The line, cut to the width."""
        line = Text(f"{self._label:<8} ", no_wrap=True)
        question = self._question()
        if question is None:
            line.append("what the model says now shows here", "dim")
        elif self._no_template:
            line.append(NO_TEMPLATE, "dim")
        elif self.answer is None:
            line.append(waiting(self._state), "dim")
        else:
            line.append_text(said(self.answer, self.size.width - line.cell_len, quote=self._quote))
        line.truncate(self.size.width, overflow="ellipsis")
        return line


def waiting(state: State) -> str:
    """Why there is no answer yet."""
    if state.where == "recorded":
        return "nothing is asked in a recording"
    if state.engine == "starting":
        return "what the model says shows here when it is loaded"
    if state.engine == "stopped":
        return "the engine has stopped"
    return "asked when the engine is free" if state.engine == "busy" else "asking the model ..."


def said(answer: ev.Answered, width: int, *, quote: bool) -> Text:
    """The prompt's end, how the model goes on, and its likeliest first tokens, as many as fit."""
    answers = [f"{visible(token.strip() or token)} {p:.2f}" for token, p in answer.top]
    more = going_on(answer)
    begun = f"{fit(more, min(cell_len(more), max(LEAST, width // 3)))}   first token " if more else ""
    if not quote:
        return Text(begun + "   ".join(answers))
    most = 3 if not more else 2 if width >= WIDE else 1
    shown = begun + ", ".join(answers[:most])
    prompt = visible(answer.prompt)
    room = max(LEAST, width - len(shown) - 6)
    cut = prompt if len(prompt) <= room else "…" + prompt[-(room - 1) :]
    return Text(f'"{cut}" -> ').append(shortened(shown, width), "bold")


def going_on(answer: ev.Answered) -> str:
    """How the model goes on, where that says more than its likeliest token; else ""."""
    text = visible(answer.goes_on.strip())
    first = visible(answer.top[0][0].strip()) if answer.top else ""
    rest = text.removeprefix(first)
    return text if any(character.isalnum() for character in rest) else ""


def says(answer: ev.Answered, target: str) -> bool:
    """The model says `target` already: its likeliest token, or the words that it goes on with."""
    wanted, text = target.strip(), answer.goes_on.strip()
    if not wanted or not answer.top:
        return False
    behind = text[len(wanted) : len(wanted) + 1]
    return answer.top[0][0].strip() == wanted or (text.startswith(wanted) and not behind.isalnum())
