"""What the model says now to the prompt that is being typed: asked when typing pauses and the engine is idle."""

from __future__ import annotations

from rich.text import Text
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget

from workbench.edits import SLOT
from workbench.events import Answered
from workbench.text import shortened, visible
from workbench.tui.bench import bench
from workbench.tui.draft import Draft
from workbench.tui.runner import newest_applied
from workbench.tui.state import State

PAUSE = 0.3
"""Seconds without typing before the model is asked."""
TOP = 5
"""Answers asked for."""

Question = tuple[str, str, str]
"""Prompt, target, and id of the newest applied edit: an answer holds for one state of the weights."""


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
        self._timer: Timer | None = None
        self.answer: Answered | None = None
        """What the model says to the present draft, if that is known."""

    def ask(self, draft: Draft) -> None:
        """`draft` is what is typed now."""
        self.draft = draft
        self._look()
        self._wait()

    def show(self, state: State) -> None:
        """Takes in an answer that has come, and asks again when the weights have changed."""
        self._state = state
        self._look()
        if state.engine == "idle" and self._timer is None and self._question() != self._asked:
            self._wait()

    def _question(self) -> Question | None:
        subject, prompt = self.draft.subject.strip(), self.draft.slotted.strip()
        if not subject or prompt.count(SLOT) != 1:
            return None
        tip = newest_applied(self._state)
        return prompt.replace(SLOT, subject), self.draft.target_new.strip(), tip.id if tip else ""

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(PAUSE, self._send)

    def _send(self) -> None:
        self._timer = None
        question = self._question()
        if question is None or question == self._asked or self._state.engine != "idle":
            return
        more = {"target": question[1]} if question[1] else {}
        job = bench(self).send("answer", prompt=question[0], states=["stack"], k=TOP, **more)
        if job:
            self._asked, self._job = question, job

    def _look(self) -> None:
        """An answer holds while prompt and weights are those it was asked for."""
        question, asked, answer = self._question(), self._asked, None
        if question and asked and (question[0], question[2]) == (asked[0], asked[2]):
            answer = next((a for a in reversed(self._state.answers) if a.job == self._job), None)
        if answer != self.answer:
            self.answer = answer
            self.post_message(self.Changed())
        self.refresh()

    @property
    def target_tokens(self) -> int | None:
        """How many tokens the target has, if that is known of the present one."""
        same = self._asked is not None and self._asked[1] == self.draft.target_new.strip()
        return self.answer.target_tokens if self.answer and same else None

    def render(self) -> Text:
        """The line, cut to the width."""
        line = Text(f"{self._label:<8} ", no_wrap=True)
        question = self._question()
        if question is None:
            line.append("what the model says now shows here", "dim")
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


def said(answer: Answered, width: int, *, quote: bool) -> Text:
    """The prompt's end and the answers, as many as fit, likeliest first."""
    answers = [f"{visible(token.strip() or token)} {p:.2f}" for token, p in answer.top]
    shown = ", ".join(answers[:3]) if quote else "   ".join(answers)
    if not quote:
        return Text(shown)
    prompt = visible(answer.prompt)
    room = max(12, width - len(shown) - 6)
    cut = prompt if len(prompt) <= room else "…" + prompt[-(room - 1) :]
    return Text(f'"{cut}" -> ').append(shortened(shown, width), "bold")
