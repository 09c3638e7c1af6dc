"""One tree of errors: what went wrong, what to do about it, and the exit code. TUI and CLI render the same object."""

from __future__ import annotations


class WorkbenchError(Exception):
    """Anything a person is told about; `exit_code` is the process's when nobody handles it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        """One plain sentence."""
        self.hint = hint
        """What to do next; may be empty."""


class EditError(WorkbenchError):
    """An edit or a probe failed; no weight has moved."""


class StackBusy(WorkbenchError):  # noqa: N818  says what it is
    """Another process is writing to this stack."""


class StorageError(WorkbenchError):
    """The disk would not take it: full, read-only, not permitted."""


class HubError(WorkbenchError):
    """The Hugging Face Hub cannot be reached, or does not give or take it."""


class UsageError(WorkbenchError):
    """The command or the file given makes no sense."""

    exit_code = 2


class RequestError(UsageError):
    """A request is not one that can be edited in."""


class ModelError(WorkbenchError):
    """The model cannot be found, read or edited."""

    exit_code = 3


class ModelNotFound(ModelError):  # noqa: N818  says what it is
    """No folder and nothing on the Hub has that name."""


class DeviceError(ModelError):
    """The device is not there or has not enough memory."""


class VerificationError(WorkbenchError):
    """All files are intact, but what comes of them (a weight, a fingerprint) is not what they say."""

    exit_code = 4


class BaseMismatch(VerificationError):  # noqa: N818  says what it is
    """A stack or an edit belongs to another base model."""


class AlteredFile(VerificationError):  # noqa: N818  says what it is
    """A file's content is not that of its id: to whoever needs it, it is as damaged as one that cannot be read."""

    exit_code = 5


class StackError(WorkbenchError):
    """A stack's folder or an edit file is damaged."""

    exit_code = 5


class Interrupted(WorkbenchError):  # noqa: N818  says what it is
    """The person stopped it."""

    exit_code = 130
