"""Editing profiles: the layer and hyper-parameters for a model, as a JSON file that lies in the model's folder."""

from __future__ import annotations

import json
from pathlib import Path

from workbench.edits import Recipe
from workbench.errors import ModelError, WorkbenchError

PROFILE = "editing_profile.json"


def read_profile(folder: Path, layers: int) -> tuple[Recipe, bool]:
    """The profile of the model in `folder`, and whether there was one.

    Without one: the papers' hyper-parameters at a third of the depth, where published profiles cluster.

    Raises:
        ModelError: the profile cannot be read.
    """
    path = folder / PROFILE
    if not path.is_file():
        return Recipe(layer=max(0, round(layers / 3) - 1)), False
    try:
        return Recipe.from_json(json.loads(path.read_text(encoding="utf-8"))), True
    except (OSError, ValueError, RecursionError, WorkbenchError) as error:
        raise ModelError(
            f"The editing profile '{path.name}' cannot be used: {error}", "Correct or remove it."
        ) from error
