"""What an error that nobody expected means: memory that ran out, which can be lived with, or the end of the engine."""

from __future__ import annotations

from workbench.text import shortened

LONGEST = 300
"""Characters of a reason."""


def reason_of(error: BaseException) -> str:
    """Why the engine has to end, in words: a device's error by its first line, which names it, else what was raised.

    The lines after the first of a CUDA error are advice to programmers.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else ""
    if is_of_the_device(error):
        return shortened(first, LONGEST)
    return shortened(f"a fault of the engine: {type(error).__name__}: {first}".rstrip(": "), LONGEST)


def is_of_the_device(error: BaseException) -> bool:
    """Whether `error` is an accelerator's, after which nothing works in this process any more."""
    words = ("CUDA error", "CUDA driver error", "cuBLAS error", "CUBLAS_STATUS", "cuDNN error", "HIP error", "MPS ")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
