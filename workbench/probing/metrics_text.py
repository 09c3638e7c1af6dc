"""Measures of what a model writes: n-gram entropy, which falls when it repeats itself, and likeness to references.

Source: ROME, arXiv 2202.05262, section 3.3 (GE and RS), with the weights and the vectors of its code. No torch.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

WEIGHTS = {2: 2 / 3, 3: 4 / 3}
"""Of bigrams and trigrams."""
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
"""A word with its apostrophes, or a mark: near what NLTK's tokenizer, which the papers use, makes of plain prose."""
_TERM = re.compile(r"(?u)\b\w\w+\b")
"""What scikit-learn's vectorizer counts: words of two letters and more."""


def entropy(texts: Sequence[str]) -> float | None:
    """Mean over texts of (2/3 H₂ + 4/3 H₃) / 2, H in bits over a text's own bigrams and trigrams; None of no text.

    A text that has no n-gram has no entropy. The papers' tables give it times 100.
    """
    return math.fsum(map(_entropy_of, texts)) / len(texts) if texts else None


def _entropy_of(text: str) -> float:
    words = _WORD.findall(text)
    return math.fsum(weight * _bits(words, n) for n, weight in WEIGHTS.items()) / len(WEIGHTS)


def _bits(words: Sequence[str], n: int) -> float:
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    total = counts.total()
    return -math.fsum(count / total * math.log2(count / total) for count in counts.values())


@dataclass(frozen=True)
class References:
    """Texts that speak of what a target is said of, by target."""

    texts: Mapping[str, tuple[str, ...]]

    @cached_property
    def _idf(self) -> dict[str, float]:
        """ln((1 + n) / (1 + documents with the term)) + 1, by term, over all texts; what no text has is not counted."""
        documents = [set(_terms(text)) for listed in self.texts.values() for text in listed]
        seen = Counter(term for terms in documents for term in terms)
        return {term: math.log((1 + len(documents)) / (1 + count)) + 1 for term, count in seen.items()}

    def consistency(self, target: str, written: Sequence[str]) -> float | None:
        """Cosine of the TF-IDF vectors of all that was written and of all references; None without references."""
        listed = self.texts.get(target)
        if not listed or not written:
            return None
        return _cosine(self._vector(written), self._vector(listed))

    def _vector(self, texts: Iterable[str]) -> dict[str, float]:
        counts = Counter(term for text in texts for term in _terms(text))
        return {term: count * self._idf.get(term, 0.0) for term, count in counts.items()}


def _terms(text: str) -> list[str]:
    return _TERM.findall(text.lower())


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    sizes = math.hypot(*one.values()) * math.hypot(*other.values())
    return math.fsum(value * other.get(term, 0.0) for term, value in one.items()) / sizes if sizes else 0.0
