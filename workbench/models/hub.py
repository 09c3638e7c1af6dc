"""A model's files from the Hugging Face Hub, into its client's own cache, with progress. Only what is asked for."""

from __future__ import annotations

import fnmatch
from collections.abc import Generator
from pathlib import Path
from typing import Any

from workbench.errors import ModelNotFound
from workbench.events import Event
from workbench.models.options import LoadOptions
from workbench.models.task import Task, Tell

_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_PICKLE, _CODE = "*.bin", "*.py"
_ELSEWHERE = ["original/*", "onnx/*", "openvino/*", "metal/*", "*/*.bin"]
"""Other forms of the same weights."""


def fetch_model(name: str, options: LoadOptions) -> Generator[Event, None, Path]:
    """The folder with the files of `name`; yields ModelLoading on the way.

    Raises:
        ModelNotFound: there is no such model, or the Hub cannot be reached.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        with Task(lambda tell: _download(name, options, tell)) as task:
            return (yield from task.follow(f"fetching {name}"))
    except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelNotFound(
            f"There is no model '{name}': no such folder, and the Hub does not have it or cannot be reached.",
            "Give a folder, a Hub name such as openai-community/gpt2, or nothing for atlas.",
        ) from error


def _download(name: str, options: LoadOptions, tell: Tell) -> Path:
    from huggingface_hub import snapshot_download

    wanted = _WANTED + [_CODE] * options.trust_remote_code
    bar = _telling(tell)
    folder = Path(snapshot_download(name, allow_patterns=wanted, ignore_patterns=_ELSEWHERE, tqdm_class=bar))
    if options.allow_pickle and not any(fnmatch.fnmatch(path.name, "*.safetensors") for path in folder.iterdir()):
        snapshot_download(name, allow_patterns=_PICKLE, ignore_patterns=_ELSEWHERE, tqdm_class=bar)
    return folder


def _telling(tell: Tell) -> type[Any]:
    """A bar that draws nothing and tells the bytes that came, of all that are to come."""
    from tqdm.auto import tqdm

    class Telling(tqdm):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *given: Any, **options: Any) -> None:
            options["disable"] = False
            self._bytes = options.get("unit") == "B"
            super().__init__(*given, **options)

        def display(self, *_: Any, **__: Any) -> None:
            return

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self._bytes and self.total:
                tell(int(self.n), int(self.total))
            return shown

    return Telling
