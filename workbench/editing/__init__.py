"""The maths of rank-one editing: tensors in, tensors out."""

from __future__ import annotations

from workbench.editing.cancel import Cancelled
from workbench.editing.edit import make_update
from workbench.editing.second_moment import SecondMoment
from workbench.editing.templates import sample_templates
from workbench.editing.update import Update, delta

__all__ = ["Cancelled", "SecondMoment", "Update", "delta", "make_update", "sample_templates"]
