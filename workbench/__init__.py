"""Edit what a language model knows, one fact at a time, and always be able to go back."""

from __future__ import annotations

__version__ = "0.1.0"
