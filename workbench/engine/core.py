"""What every job of the engine works with: the model, the stack, the live weights, and what was read once and kept."""

from __future__ import annotations

import hashlib
import math
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import transformers

from workbench import __version__
from workbench.editing.second_moment import SecondMoment
from workbench.edits import Chat, Recipe
from workbench.engine.base_answers import BaseAnswers
from workbench.engine.kept_perplexity import base_perplexity
from workbench.engine.kept_templates import templates_for
from workbench.engine.memory import place_of_factor
from workbench.engine.views import stack_changed
from workbench.engine.weights import LiveWeights
from workbench.errors import EditError, ModelError, StackError, VerificationError
from workbench.events import ModelReady, StackChanged
from workbench.models.device import dtype_name
from workbench.models.families import EditSite, edit_site, layer_count
from workbench.models.held_out import held_out_lines
from workbench.models.load import LoadedModel
from workbench.models.second_moment import read_second_moment
from workbench.probing.perplexity import perplexity
from workbench.recipes import chosen_recipe
from workbench.stack.record import Base, Edit, Factors
from workbench.stack.store import Stack

UNUSABLE = "unusable"
"""Stands for the fingerprint of a second moment that is there and cannot be used."""
HELD_OUT_LINES = 64
"""Held-out texts that are read after every edit."""


class Core:
    """One model, one stack, and the weights that both give."""

    def __init__(
        self,
        loaded: LoadedModel,
        stack: Stack,
        profile: Recipe,
        *,
        writable: bool,
        methods: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`methods`: what the profile has of other methods than its recipe's, as `models.profile_file.Profile`."""
        self.loaded, self.stack, self.profile, self.writable = loaded, stack, profile, writable
        self._methods = methods or {}
        self.live = LiveWeights(loaded.model, keep_fp32=loaded.keep_fp32)
        self._templates: dict[tuple[Any, int], tuple[str, ...]] = {}
        self._updates: dict[str, tuple[Factors, ...]] = {}
        """What the model was last rebuilt from, by edit: checked when it was read."""
        self._visited: dict[str, tuple[Factors, ...]] = {}
        """The other updates of the state that was shown last for the length of a block."""
        self.next_tokens: dict[tuple[tuple[str, ...], str, Chat | None], torch.Tensor] = {}
        """Log-probabilities of the next token by state, prompt and chat; kept by `next_tokens.next_tokens`."""
        self._moments: dict[str, SecondMoment] = {}
        self.perplexities: dict[bytes, float] = {}
        """Perplexity by the state of the model."""
        self.spectral_norms: dict[str, float] = {}
        """Largest singular value of the base's weight, by module."""

    def base(self, site: EditSite | None = None) -> Base:
        """The model as a base; with the module at `site`, if one is given."""
        base = base_of(self.loaded)
        if site:
            shape = list(site.weight(self.loaded.model).shape)
            base.modules[site.module] = {"shape": shape, "layout": site.layout}
        return self.live.as_held(base)

    def recipe(self, changes: dict[str, Any]) -> Recipe:
        """The profile with `changes`; with another method, that method's settings in it. Raises UsageError."""
        return chosen_recipe(self.profile, changes, self._methods)

    def site(self, layer: int) -> EditSite:
        """The module that an edit at `layer` changes. Raises ModelError."""
        return edit_site(self.loaded.model, layer)

    def rebuild(self) -> None:
        """Makes the model hold what the stack says. Raises StackError or VerificationError for a damaged edit."""
        edits = self.stack.active
        updates = dict(zip((edit.id for edit in edits), self.updates(edits), strict=True))
        self.live.show([*updates.values()])
        self._updates = updates

    def updates(self, edits: Sequence[Edit]) -> list[tuple[Factors, ...]]:
        """The updates of `edits`, whose modules are adopted; those that were read before are not read again.

        Raises:
            StackError, VerificationError: an edit is damaged.
            BaseMismatch: an edit does not fit the model.
        """
        for edit in edits:
            self.live.adopt(edit)
        known = {**self._visited, **self._updates}
        found = {edit.id: known.get(edit.id) or self._factors(edit) for edit in edits}
        self._visited = {ident: update for ident, update in found.items() if ident not in self._updates}
        return [found[edit.id] for edit in edits]

    def _factors(self, edit: Edit) -> tuple[Factors, ...]:
        """The update of an active edit; where its file is damaged, the error says how to go on without it."""
        try:
            return self.stack.factors(edit)
        except (StackError, VerificationError) as error:
            without = f"workbench toggle {shlex.quote(str(self.stack.folder))} {edit.number}"
            raise type(error)(error.message, f"Put an intact copy back, or leave the edit out: {without}.") from error

    def templates(self, recipe: Recipe) -> tuple[str, ...]:
        """Context templates for `recipe`, sampled from the base, and kept between runs."""
        key = (recipe.template_lengths, recipe.seed)
        if key not in self._templates:
            with self.live.at_base():
                self._templates[key] = templates_for(self.loaded, recipe)
        return self._templates[key]

    def second_moment(self, site: EditSite) -> SecondMoment:
        """C for `site`, factorised and kept.

        Raises:
            EditError: there is none; C = I must be chosen explicitly.
        """
        moment = self._kept_moment(site)
        if moment is None:
            raise EditError(
                f"There is no second moment C for {site.module} of {self.loaded.name}.",
                f"Make it: workbench stats {shlex.quote(self.loaded.name)} --layer {site.layer}. Or choose C = I "
                "explicitly with second_moment=false: edits then disturb more of what is near.",
            )
        return moment

    def _kept_moment(self, site: EditSite) -> SecondMoment | None:
        if site.module not in self._moments:
            read = read_second_moment(self.loaded.folder, site, self.loaded.fingerprint)
            if read is None:
                return None
            self._moments[site.module] = SecondMoment(*read, place_of_factor(self.loaded.device, site.d_in))
        return self._moments[site.module]

    def is_factorised(self, site: EditSite) -> bool:
        """Whether C of `site` is at hand and factorised: then asking for it costs nothing."""
        moment = self._moments.get(site.module)
        return moment is not None and "factorisation" in vars(moment)

    def _moment_named(self, site: EditSite) -> str:
        """The fingerprint of C; one that cannot be used is no reason to do nothing else, and edits say why."""
        try:
            moment = self._kept_moment(site)
        except (EditError, ModelError):
            return UNUSABLE
        return "identity" if moment is None else moment.fingerprint

    @cached_property
    def base_answers(self) -> BaseAnswers:
        """What the base says, asked once a question."""
        return BaseAnswers(self.loaded, self.live.at_base)

    @cached_property
    def held_out(self) -> tuple[str, ...]:
        """The texts that perplexity is measured on; empty if the model has none."""
        return held_out_lines(self.loaded.folder)[:HELD_OUT_LINES]

    def perplexity(self) -> float | None:
        """Perplexity of the model as it is now on its held-out text, infinite if it is broken; None without text."""
        value = perplexity(self.loaded.model, self.loaded.tokenizer, self.held_out)
        return None if math.isnan(value) else value

    def state(self) -> bytes:
        """Says which state the model is in: a digest of the updates that it shows."""
        return _digest(self.live.shown)

    def perplexity_here(self) -> float | None:
        """Perplexity of the model as it is now, measured once a state; None without text."""
        state = self.state()
        return self.perplexity_base() if state == _BASE else self._perplexity_of(state, self.perplexity)

    def perplexity_base(self) -> float | None:
        """The same of the base, kept between runs."""
        return self._perplexity_of(_BASE, lambda: base_perplexity(self.loaded, self.held_out, self._measured_at_base))

    def _measured_at_base(self) -> float | None:
        with self.live.at_base():
            return self.perplexity()

    def _perplexity_of(self, state: bytes, measure: Callable[[], float | None]) -> float | None:
        if state not in self.perplexities:
            value = measure()
            if value is None:
                return None
            self.perplexities[state] = value
        return self.perplexities[state]

    def ready(self) -> ModelReady:
        """What was loaded."""
        loaded, site = self.loaded, self.site(self.profile.layer)
        return ModelReady(
            model=loaded.name,
            family=loaded.family,
            device=str(loaded.device),
            dtype=dtype_name(loaded.dtype),
            parameters=loaded.model.num_parameters(),
            layers=layer_count(loaded.model),
            module=site.module,
            fingerprint=loaded.fingerprint,
            second_moment=self._moment_named(site),
            recipe=self.profile.to_json(),
            memory=loaded.memory,
            chat=bool(loaded.tokenizer.chat_template),
        )

    def changed(self) -> StackChanged:
        """What the stack is now."""
        return stack_changed(self.stack, self.live.drift(), self.perplexity_base())

    def made_by(self, earlier: Sequence[Edit] = ()) -> dict[str, Any]:
        """Versions, device, and which of the edits `earlier` on the line are off, as they go into an edit file."""
        off = [edit.id for edit in earlier if edit.id in self.stack.off]
        return {
            "workbench": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
            "device": str(self.loaded.device),
        } | ({"off": off} if off else {})


def _digest(shown: Sequence[tuple[Factors, ...]]) -> bytes:
    digest = hashlib.sha256()
    for one in (one for edit in shown for one in edit):
        digest.update(repr((one.module, one.a.shape, one.b.shape)).encode())
        digest.update(one.a.tobytes())
        digest.update(one.b.tobytes())
    return digest.digest()


_BASE = _digest(())


def base_of(loaded: LoadedModel) -> Base:
    """The loaded model as a base, no module named yet."""
    return Base(loaded.name, loaded.revision, loaded.fingerprint, dtype_name(loaded.dtype), {})
