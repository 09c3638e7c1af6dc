"""Writing the profile that a search found: never over one that a person wrote, or changed, unless told to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from workbench.errors import ModelError, UsageError
from workbench.models.profile_file import parse_profile, read_profile_file
from workbench.models.profiles import profile_text, user_profiles
from workbench.stack.files import make_folder, write_atomic


def tuned_path(model: str, fingerprint: str) -> Path:
    """Where the profile of `model` with that fingerprint goes, in the user's folder."""
    name = re.sub(r"[^a-z0-9.]+", "-", model.rstrip("/").rsplit("/", 1)[-1].lower()).strip("-.")[:60]
    return user_profiles() / f"{name or 'model'}-{fingerprint[:8]}.json"


def check_free(path: Path, fingerprint: str) -> None:
    """Raises UsageError if something stands at `path` that is not this base's tuned profile, untouched."""
    if not path.exists() and not path.is_symlink():
        return
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder.", "Name a file with --out.")
    try:
        there = read_profile_file(path, "user")
    except ModelError:
        there = None
    if there is None or not there.untouched or there.match != {"fingerprint": fingerprint}:
        raise UsageError(
            f"'{path}' was written or changed by hand, or is for another model.",
            "Replace it with --force, or name another file with --out.",
        )


def write_profile(document: dict[str, Any], path: Path, *, force: bool) -> None:
    """Writes the profile that Tuned told of.

    Raises:
        UsageError: as `check_free`, unless `force`.
        StorageError: the disk would not take it.
    """
    profile = parse_profile(document, path, "user")
    if not force:
        check_free(path, str(profile.match.get("fingerprint", "")))
    make_folder(path.parent)
    write_atomic(path, profile_text(profile).encode())
