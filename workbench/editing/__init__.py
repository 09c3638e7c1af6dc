"""The maths of editing, one fact at a time or many at once: tensors in, tensors out."""

from __future__ import annotations

from workbench.editing.batch import Batch, Part, make_batch
from workbench.editing.cancel import Cancelled
from workbench.editing.edit import make_update
from workbench.editing.second_moment import SecondMoment
from workbench.editing.templates import sample_templates
from workbench.editing.update import Update, delta

__all__ = [
    "Batch",
    "Cancelled",
    "Part",
    "SecondMoment",
    "Update",
    "delta",
    "make_batch",
    "make_update",
    "sample_templates",
]
